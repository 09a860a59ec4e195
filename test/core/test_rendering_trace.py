"""The tracer: the same blending as the renderer's, listed."""

from functools import cache

import numpy as np
import pytest
import torch
from rendering_scenes import huge_scene, random_scene, scenes

from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import library, rasterize, trace
from instascene_core.rendering.reference import rasterize_reference

SCENES = scenes()


@pytest.fixture(params=library.runnable_instruction_sets(), autouse=True)
def instruction_set(request, monkeypatch):
    monkeypatch.setenv(library.ISA_VARIABLE, request.param)


@pytest.mark.parametrize("make", [random_scene, huge_scene, lambda: random_scene(400, 130, 70, seed=2)])
def test_trace_times_colors_is_the_rendered_image(make):
    scene = make()
    n, camera = len(scene.gaussians), scene.camera
    colors = torch.rand(n, 5, generator=torch.Generator().manual_seed(0))
    rendered = rasterize(scene.gaussians, camera, scene.pose, colors=colors)
    traced = trace(scene.gaussians, camera, scene.pose, weight_min=0.0)
    matrix = traced.matrix(n)
    assert matrix.shape == (camera.height * camera.width, n)
    image = (matrix @ colors.numpy()).reshape(camera.height, camera.width, 5)
    np.testing.assert_allclose(image, rendered.color.numpy(), atol=2e-6)
    np.testing.assert_allclose(matrix.sum(1).A1.reshape(rendered.alpha.shape), rendered.alpha, atol=2e-6)


def test_entries_are_in_depth_order_with_their_transmittance():
    scene = random_scene(seed=1)
    traced = trace(scene.gaussians, scene.camera, scene.pose, weight_min=0.0)
    local = (scene.gaussians.means.numpy() - scene.pose[:3, 3]) @ scene.pose[:3, :3]
    depth = local[traced.indices, 2]
    same_pixel = np.diff(traced.pixels) == 0
    assert (np.diff(depth)[same_pixel] > -1e-5).all()
    first = np.flatnonzero(np.diff(traced.pixels, prepend=-1))
    assert (traced.transmittance[first] == 1).all()
    after = traced.transmittance - traced.weights
    np.testing.assert_allclose(after[:-1][same_pixel], traced.transmittance[1:][same_pixel], atol=1e-6)
    assert traced.offsets.dtype == np.int64 and traced.indices.dtype == np.int32
    assert traced.weights.dtype == traced.transmittance.dtype == np.float32


@pytest.mark.parametrize("limits", [(0.5, 1 / 255), (0.0, 0.05), (0.9, 0.2)])
def test_limits_choose_among_all_entries(limits):
    scene = random_scene(300, 60, 50, seed=3)
    every = trace(scene.gaussians, scene.camera, scene.pose, weight_min=0.0)
    some = trace(scene.gaussians, scene.camera, scene.pose, transmittance_min=limits[0], weight_min=limits[1])
    kept = (every.transmittance > limits[0]) & (every.weights > limits[1])
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(some.indices, every.indices[kept])
    np.testing.assert_array_equal(some.weights, every.weights[kept])
    np.testing.assert_array_equal(np.diff(some.offsets), np.bincount(every.pixels[kept], minlength=3000))


@cache
def twins_weights(name):
    """(weights [pixels, N], decided [pixels] bool) of the twin, from one-hot colours."""
    scene = SCENES[name]
    pose = torch.from_numpy(scene.pose.astype(np.float32)).double()
    twin = rasterize_reference(scene.gaussians, scene.camera, pose, colors=torch.eye(len(scene.gaussians)))
    pixels = twin.alpha.numel()
    return twin.color.reshape(pixels, -1).numpy(), (twin.margin > 1e-4).flatten().numpy()


@pytest.mark.parametrize("name", SCENES)
def test_every_weight_agrees_with_the_twin(name):
    scene, (weights, decided) = SCENES[name], twins_weights(name)
    traced = trace(scene.gaussians, scene.camera, scene.pose, weight_min=0.0)
    found = traced.matrix(len(scene.gaussians)).toarray()
    np.testing.assert_allclose(found[decided], weights[decided], rtol=1e-4, atol=2e-6)
    assert ((found > 0) == (weights > 0))[decided].all()


def test_by_hand_and_empty():
    disk = GaussianModel(
        torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0]]),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2, 4),
        torch.full((2, 2), -2.0),
        torch.zeros(2),
        torch.zeros(2, 1, 3),
    )
    camera = PinholeCamera(3, 1, 1000.0, 1000.0, 1.5, 0.5)
    traced = trace(disk, camera, np.eye(4))
    middle = slice(traced.offsets[1], traced.offsets[2])
    assert traced.indices[middle].tolist() == [1, 0]
    assert traced.weights[middle].tolist() == pytest.approx([0.5, 0.25])
    assert traced.transmittance[middle].tolist() == pytest.approx([1.0, 0.5])
    nothing = trace(disk.select(torch.zeros(2, dtype=torch.bool)), camera, np.eye(4))
    assert nothing.offsets.tolist() == [0, 0, 0, 0] and len(nothing.indices) == 0
    assert nothing.matrix(0).shape == (3, 0)
