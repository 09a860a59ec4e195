"""Small clouds and scenes for the tests of the network on points."""

import numpy as np
import torch

from instascene_core.config.points import DecoderConfig, PointsNetworkConfig
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.outputs import Predictions, SuperpointScene
from instascene_core.segmentation.points_network.superpoints import find_superpoints
from instascene_core.training.points.prepared import PreparedScene

SPACING = 0.004


def box_surface(low, high, spacing: float = SPACING) -> tuple[np.ndarray, np.ndarray]:
    """(positions, outward normals) on the five upper faces of a box."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    positions, normals = [], []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        grid = np.stack(
            np.meshgrid(np.arange(low[u], high[u], spacing), np.arange(low[v], high[v], spacing)), -1
        ).reshape(-1, 2)
        for side, at in ((-1, low[axis]), (1, high[axis])):
            if axis == 2 and side < 0:
                continue
            face = np.zeros((len(grid), 3))
            face[:, axis], face[:, u], face[:, v] = at, grid[:, 0], grid[:, 1]
            positions.append(face)
            normals.append(np.tile(np.eye(3)[axis] * side, (len(grid), 1)))
    return np.concatenate(positions), np.concatenate(normals)


def tabletop(seed: int, boxes: int = 3) -> PreparedScene:
    """Boxes of one colour each on a table, apart from one another."""
    rng = np.random.default_rng(seed)
    places = rng.permutation([(x, y) for x in (-0.12, 0.0, 0.12) for y in (-0.12, 0.0, 0.12)])[:boxes]
    positions, normals, colors, instance = [], [], [], []
    for number, place in enumerate(places, 1):
        size = rng.uniform(0.03, 0.07, 3)
        low = np.r_[place - size[:2] / 2, 0.0]
        found, outward = box_surface(low, low + size)
        positions.append(found)
        normals.append(outward)
        colors.append(np.tile(rng.uniform(0.1, 0.9, 3), (len(found), 1)))
        instance.append(np.full(len(found), number))
    x, y = np.meshgrid(np.arange(-0.2, 0.2, 0.006), np.arange(-0.2, 0.2, 0.006))
    table = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    positions.append(table)
    normals.append(np.tile([0.0, 0.0, 1.0], (len(table), 1)))
    colors.append(np.full((len(table), 3), 0.5))
    instance.append(np.zeros(len(table)))
    cloud = PointCloud.of_surface(*(np.concatenate(c) for c in (positions, normals, colors)), SPACING)
    superpoint = find_superpoints(cloud)
    ids = np.concatenate(instance).astype(np.int32)
    return PreparedScene(cloud, superpoint.astype(np.int32), ids, np.zeros(len(cloud), np.int16))


def tiny_network(architecture: str = "transformer", start: str = "learned") -> PointsNetworkConfig:
    decoder = DecoderConfig(
        queries=6, width=12, heads=2, hidden=16, layers=2, start=start, kernel_inputs=4, kernel_hidden=5
    )
    return PointsNetworkConfig(architecture=architecture, widths=(8, 12, 16), channels=10, decoder=decoder)


def random_scene(superpoints: int = 9, channels: int = 10, seed: int = 0) -> SuperpointScene:
    """float64, with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    centres = leaf(superpoints, 3).detach() * 0.2
    return SuperpointScene(leaf(superpoints, channels), centres, leaf(superpoints), leaf(superpoints, 3))


def random_predictions(queries: int, superpoints: int, classes: int = 1, seed: int = 1) -> Predictions:
    """float64, with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    return Predictions(
        leaf(queries, classes + 1),
        leaf(queries),
        leaf(queries, 3),
        leaf(queries, superpoints),
        leaf(queries, 7),
    )


def assert_same_with_gradients(ours, theirs, leaves):
    """Two results of the same leaves: equal, and equal in what a random weighting of them pulls."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    pull = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(5))
    one = torch.autograd.grad((ours * pull).sum(), leaves, retain_graph=True)
    two = torch.autograd.grad((theirs * pull).sum(), leaves, retain_graph=True)
    for a, b in zip(one, two, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
