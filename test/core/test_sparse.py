"""Sparse convolutions against dense ones (conv3d, float64), values and gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from points_cases import assert_same_with_gradients

from instascene_core.errors import InputError
from instascene_core.sparse import (
    CoarserConv,
    FinerConv,
    Pyramid,
    SparseUNet,
    SubmanifoldConv,
    convolution,
    convolve,
    voxelize,
)
from instascene_core.sparse.voxels import Voxels

SIDE = 8  # cells of the dense grid


def some_voxels(seed: int = 0, scenes: int = 2, share: float = 0.2) -> Voxels:
    rng = np.random.default_rng(seed)
    batch, *cells = np.nonzero(rng.uniform(size=(scenes, SIDE, SIDE, SIDE)) < share)
    coordinates = torch.from_numpy(np.stack(cells, axis=1).astype(np.int32))
    return Voxels(coordinates, torch.from_numpy(batch.astype(np.int32)))


def place(voxels: Voxels) -> tuple[torch.Tensor, ...]:
    return (voxels.batch.long(), *voxels.coordinates.long().T)


def dense(features: torch.Tensor, voxels: Voxels, side: int) -> torch.Tensor:
    """[B, C, side, side, side], zero where nothing is."""
    grid = features.new_zeros(int(voxels.batch.max()) + 1, side, side, side, features.shape[1])
    return grid.index_put(place(voxels), features).permute(0, 4, 1, 2, 3)


def taken(grid: torch.Tensor, voxels: Voxels) -> torch.Tensor:
    return grid.permute(0, 2, 3, 4, 1)[place(voxels)]


def dense_kernel(weight: torch.Tensor) -> torch.Tensor:
    """[D, C, n, n, n] of [n³, C, D]."""
    side = round(len(weight) ** (1 / 3))
    return weight.reshape(side, side, side, *weight.shape[1:]).permute(4, 3, 0, 1, 2)


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


@pytest.fixture(params=["a place after the other", "at once"], autouse=True)
def way(request, monkeypatch):
    """Both ways of reckoning: that of CPUs and that of GPUs."""
    if request.param == "at once":
        monkeypatch.setattr(convolution, "at_once", lambda rows: True)


def test_submanifold_is_conv3d_at_the_occupied_cells():
    voxels = some_voxels()
    x, w = leaf(len(voxels), 3).requires_grad_(), leaf(27, 3, 4).requires_grad_()
    ours = convolve(x, w, Pyramid(voxels, 1).neighbours[0])
    theirs = taken(F.conv3d(dense(x, voxels, SIDE), dense_kernel(w), padding=1), voxels)
    assert_same_with_gradients(ours, theirs, (x, w))


def test_coarser_is_conv3d_of_stride_two():
    voxels = some_voxels()
    pyramid = Pyramid(voxels, 2)
    x, w = leaf(len(voxels), 3).requires_grad_(), leaf(8, 3, 4).requires_grad_()
    ours = convolve(x, w, pyramid.down[0])
    theirs = F.conv3d(dense(x, voxels, SIDE), dense_kernel(w), stride=2)
    assert_same_with_gradients(ours, taken(theirs, pyramid.voxels[1]), (x, w))


def test_finer_is_conv_transpose3d_at_the_occupied_cells():
    voxels = some_voxels()
    pyramid = Pyramid(voxels, 2)
    x, w = leaf(len(pyramid.voxels[1]), 3).requires_grad_(), leaf(8, 3, 4).requires_grad_()
    ours = convolve(x, w, pyramid.up[0])
    kernel = dense_kernel(w).transpose(0, 1)
    theirs = F.conv_transpose3d(dense(x, pyramid.voxels[1], SIDE // 2), kernel, stride=2)
    assert_same_with_gradients(ours, taken(theirs, voxels), (x, w))


def test_three_levels_by_hand():
    """Two scenes with one voxel each and equal features give equal rows, whatever lies in the other."""
    coordinates = torch.tensor([[0, 0, 0], [5, -3, 2]], dtype=torch.int32)
    pyramid = Pyramid(Voxels(coordinates, torch.tensor([0, 1], dtype=torch.int32)), 3)
    assert [len(v) for v in pyramid.voxels] == [2, 2, 2]
    assert pyramid.voxels[1].coordinates.tolist() == [[0, 0, 0], [2, -2, 1]]
    assert pyramid.voxels[2].coordinates.tolist() == [[0, 0, 0], [1, -1, 0]]
    # (5, -3, 2) is the child (1, 1, 0) of its parent: place 6.
    assert [len(p) for p in pyramid.down[0].inputs] == [1, 0, 0, 0, 0, 0, 1, 0]
    assert all(len(p) == 0 for k, p in enumerate(pyramid.neighbours[0].inputs) if k != 13)


def test_scenes_of_a_batch_do_not_touch():
    """Same cells in two scenes: each row as if its scene were alone."""
    one = some_voxels(scenes=1)
    two = Voxels(torch.cat([one.coordinates] * 2), torch.cat([one.batch, one.batch + 1]))
    w = leaf(27, 3, 4)
    x = leaf(len(two), 3)
    together = convolve(x, w, Pyramid(two, 1).neighbours[0])
    alone = convolve(x[len(one) :], w, Pyramid(one, 1).neighbours[0])
    torch.testing.assert_close(together[len(one) :], alone)


def test_the_unet_sees_far_and_keeps_rows():
    torch.manual_seed(0)
    voxels = some_voxels(share=0.3)
    network = SparseUNet(3, (4, 6, 8), 5).double().eval()
    assert network.num_levels == 3
    pyramid = Pyramid(voxels, 3)
    x = leaf(len(voxels), 3)
    out = network(x, pyramid)
    assert out.shape == (len(voxels), 5)
    moved = x.clone()
    first = torch.nonzero(voxels.batch == 0)[0, 0]
    moved[first] += 1.0
    changed = (network(moved, pyramid) - out).abs().sum(dim=1) > 0
    assert changed[voxels.batch == 0].float().mean() > 0.9  # the whole scene, 8 cells across
    assert not changed[voxels.batch == 1].any()


def test_the_unet_learns_what_only_neighbours_tell():
    """Whether a voxel has more than four neighbours: nothing in its own features says it."""
    torch.manual_seed(0)
    voxels = some_voxels(3)
    pyramid = Pyramid(voxels, 2)
    count = torch.zeros(len(voxels))
    for rows in pyramid.neighbours[0].outputs:
        count[rows] += 1
    wanted = (count > count.median()).float()
    network = SparseUNet(1, (8, 8), 1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    x = torch.ones(len(voxels), 1)
    for _ in range(40):
        loss = F.binary_cross_entropy_with_logits(network(x, pyramid)[:, 0], wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((network(x, pyramid)[:, 0] > 0) == (wanted > 0)).float().mean() > 0.95


def test_layers_start_at_the_size_of_their_inputs():
    torch.manual_seed(0)
    voxels = some_voxels(share=0.33)
    pyramid = Pyramid(voxels, 2)
    x = torch.randn(len(voxels), 16)
    with torch.inference_mode():
        same = SubmanifoldConv(16, 16)(x, pyramid.neighbours[0])
        coarse = CoarserConv(16, 16)(x, pyramid.down[0])
        fine = FinerConv(16, 16)(torch.randn_like(coarse), pyramid.up[0])
    assert all(0.5 < float(y.std()) < 2.5 for y in (same, coarse, fine))


def test_points_into_voxels():
    positions = torch.tensor([[0.05, 0.0, 0.0], [-0.01, 0.0, 0.0], [0.09, 0.05, 0.0], [0.05, 0.0, 0.0]])
    batch = torch.tensor([0, 0, 0, 1])
    found = voxelize(positions, 0.1, batch)
    assert found.voxels.coordinates.tolist() == [[-1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found.voxels.coordinates.dtype == torch.int32
    assert found.voxels.batch.tolist() == [0, 0, 1]
    assert found.voxel_of_point.tolist() == [1, 0, 1, 2]
    assert found.points_of_voxel.tolist() == [1, 2, 1]
    mean = found.mean(torch.tensor([[1.0], [2.0], [4.0], [8.0]]))
    assert mean.tolist() == [[2.0], [2.5], [8.0]]


@pytest.mark.parametrize(
    ("positions", "says"),
    [
        (torch.zeros(0, 3), "no points"),
        (torch.zeros(4, 2), "shape"),
        (torch.tensor([[0.0, float("nan"), 0.0]]), "NaN"),
        (torch.tensor([[1e9, 0.0, 0.0]]), "too far"),
        (torch.tensor([[2e6, 2e6, 2e6], [-2e6, -2e6, -2e6]]), "span"),
    ],
)
def test_points_that_cannot_be_voxels(positions, says):
    with pytest.raises(InputError, match=says):
        voxelize(positions, 0.1)


def test_same_bits_for_any_number_of_threads():
    voxels = some_voxels(share=0.4, scenes=4)
    pairs = Pyramid(voxels, 1).neighbours[0]
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(len(voxels), 16, generator=generator), torch.randn(27, 16, 16, generator=generator)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(convolve(x, w, pairs))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
