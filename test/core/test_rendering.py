"""The kernel against its float64 twin: values and gradients, every instruction set as built for release."""

from functools import cache

import numpy as np
import pytest
import torch
from rendering_scenes import IMAGES, crossing_scene, deviation, gradients, random_scene, render, scenes

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import evaluate_sh, library, rasterize, trace
from instascene_core.rendering.rasterizer import forward
from instascene_core.rendering.reference import sh_reference
from instascene_core.rendering.view import RasterImages, RasterView

SCENES = scenes()
TOLERANCE = 1e-4  # relative


@pytest.fixture(params=library.runnable_instruction_sets())
def instruction_set(request, monkeypatch):
    monkeypatch.setenv(library.ISA_VARIABLE, request.param)
    assert library.kernel().isk_instruction_set().decode() == request.param
    return request.param


@cache
def twin_of(name):
    """The twin's rendering, once for all instruction sets."""
    return render(SCENES[name], twin=True)


@cache
def truth_of(name, which):
    """Random upstream gradients of the images `which`, and the twin's gradients for them."""
    twin = twin_of(name)
    generator, upstream = torch.Generator().manual_seed(7), {}
    for image in which:
        mask = twin.decided if twin.images[image].ndim == 2 else twin.decided[..., None]
        upstream[image] = torch.randn(twin.images[image].shape, generator=generator) * mask
    return upstream, gradients(twin, upstream)


def compare(name, which):
    """Largest deviation of values and gradients, by name."""
    kernel, twin = render(SCENES[name], twin=False), twin_of(name)
    upstream, truth = truth_of(name, which)
    found = {
        image: deviation(kernel.images[image].detach() * (g != 0), twin.images[image].detach() * (g != 0))
        for image, g in upstream.items()
    }
    for leaf, value in gradients(kernel, upstream).items():
        found[f"d {'+'.join(which)} / d {leaf}"] = deviation(value, truth[leaf])
    return found


@pytest.mark.parametrize("name", SCENES)
def test_values_and_gradients_agree_with_the_twin(name, instruction_set):
    assert twin_of(name).decided.float().mean() > 0.9  # else the comparison would say little
    found = compare(name, IMAGES)
    wrong = {k: v for k, v in found.items() if not v < TOLERANCE}
    assert not wrong, wrong


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", ["plain", "grazing", "huge"])
def test_gradients_of_each_image_alone(name, image, instruction_set):
    found = compare(name, (image,))
    wrong = {k: v for k, v in found.items() if not v < TOLERANCE}
    assert not wrong, wrong


def facing_disk(opacity=0.8, scale=0.05, z=2.0):
    """One disk on the optical axis, facing the camera at the origin that looks along +z."""
    logit = float(np.log(opacity / (1 - opacity)))
    return GaussianModel(
        means=torch.tensor([[0.0, 0.0, z]]),
        quaternions=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 2), float(np.log(scale))),
        logit_opacities=torch.tensor([logit]),
        sh=torch.zeros((1, 1, 3)),
    )


def test_one_disk_by_hand(instruction_set):
    camera = PinholeCamera(41, 41, 100.0, 100.0, 20.5, 20.5)
    colors = torch.tensor([[2.0, 0.5]])
    result = rasterize(facing_disk(), camera, np.eye(4), colors=colors, background=torch.tensor([0.0, 1.0]))
    # 2.5 pixels standard deviation; pixel (20, 20) sees the centre, (20, 25) two standard deviations.
    alpha_side = 0.8 * np.exp(-0.5 * 2.0**2)
    assert result.alpha[20, 20] == pytest.approx(0.8, abs=1e-6)
    assert result.alpha[20, 25] == pytest.approx(alpha_side, abs=1e-6)
    assert result.alpha[0, 0] == 0 and result.depth[0, 0] == 0 and result.median_depth[0, 0] == 0
    assert result.color[20, 20].tolist() == pytest.approx([1.6, 0.4 + 0.2], abs=1e-6)
    assert result.depth[20, 25] == pytest.approx(2.0, abs=1e-6)
    assert result.median_depth[20, 20] == pytest.approx(2.0, abs=1e-6)
    assert result.median_depth[20, 25] == 0  # transmittance stays above one half
    assert result.normal[20, 20].tolist() == pytest.approx([0, 0, -0.8], abs=1e-6)
    assert result.visible.tolist() == [True]


def test_depth_of_a_tilted_plane_is_its_intersection():
    angle = np.radians(60)
    disk = facing_disk(scale=1.0)
    disk.quaternions = torch.tensor([[np.cos(angle / 2), np.sin(angle / 2), 0, 0]], dtype=torch.float32)
    camera = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
    result = rasterize(disk, camera, np.eye(4))
    normal = np.array([0, -np.sin(angle), np.cos(angle)])
    truth = (normal @ [0, 0, 2.0]) / (camera.rays @ normal)
    shown = result.alpha.numpy() > 0
    assert shown.mean() > 0.5
    np.testing.assert_allclose(result.depth.numpy()[shown], truth[shown], rtol=1e-5)


def test_two_disks_blend_front_to_back(instruction_set):
    near, far = facing_disk(0.6, z=1.0), facing_disk(0.9, scale=0.2, z=3.0)
    both = GaussianModel(
        **{k: torch.cat([getattr(far, k), getattr(near, k)]) for k in
           ("means", "quaternions", "log_scales", "logit_opacities", "sh")}
    )  # fmt: skip
    camera = PinholeCamera(5, 5, 100.0, 100.0, 2.5, 2.5)
    result = rasterize(both, camera, np.eye(4), colors=torch.tensor([[0.0], [1.0]]))
    assert result.color[2, 2, 0] == pytest.approx(0.6, abs=1e-6)
    assert result.alpha[2, 2] == pytest.approx(1 - 0.4 * 0.1, abs=1e-6)
    weights, m = np.array([0.6, 0.4 * 0.9]), 1 - 0.2 / np.array([1.0, 3.0])
    assert result.distortion[2, 2] == pytest.approx(weights.prod() * (m[0] - m[1]) ** 2, rel=1e-5)
    assert result.depth[2, 2] == pytest.approx((weights @ [1, 3]) / weights.sum(), rel=1e-6)
    assert result.median_depth[2, 2] == pytest.approx(1.0, abs=1e-6)


def test_disks_through_the_camera_plane_are_listed_where_they_appear(instruction_set):
    scene = crossing_scene(200)
    found = trace(scene.gaussians, scene.camera, scene.pose, weight_min=0.0)
    row, column = np.divmod(found.pixels, scene.camera.width)
    reached = len(np.unique(np.stack([found.indices, row // 16, column // 16], 1), axis=0))  # with a tile
    g, workspace = scene.gaussians, library.Workspace()
    colors = torch.rand(len(g), 3)
    view = RasterView(
        g.means,
        g.quaternions,
        g.log_scales,
        g.logit_opacities,
        colors,
        torch.from_numpy(scene.pose),
        scene.camera,
    )
    forward(view, RasterImages.empty(scene.camera, 3), workspace)
    assert reached > 200  # else there would be nothing to list
    assert reached <= workspace.pairs < 1.3 * reached


def test_same_bits_for_one_and_two_threads_and_again(instruction_set):
    scene = random_scene(3000, 200, 150, seed=30, sh_count=16)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            rendering = render(scene, twin=False)
            upstream = {k: torch.ones_like(v) for k, v in rendering.images.items()}
            results.append({**rendering.images, **gradients(rendering, upstream)})
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(value, other[name]), name


def test_a_second_backward_pass_gives_the_same():
    rendering = render(random_scene(seed=12), twin=False)
    upstream = {"color": torch.ones_like(rendering.images["color"])}
    first, second = gradients(rendering, upstream), gradients(rendering, upstream)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_views_do_not_share_buffers():
    scenes_ = [random_scene(seed=13), random_scene(200, 60, 20, seed=14)]
    alone = []
    for scene in scenes_:
        rendering = render(scene, twin=False)
        alone.append(gradients(rendering, {"depth": torch.ones_like(rendering.images["depth"])}))
    renderings = [render(scene, twin=False) for scene in scenes_]  # both forward, then both backward
    for rendering, expected in zip(renderings, alone):
        found = gradients(rendering, {"depth": torch.ones_like(rendering.images["depth"])})
        assert all(torch.equal(found[k], expected[k]) for k in found)


def test_broken_gaussians_are_left_out(instruction_set):
    scene = random_scene(seed=15)
    good = rasterize(scene.gaussians, scene.camera, scene.pose)
    extra = scene.gaussians.select(torch.arange(4)).detached()
    extra.means[0, 1], extra.log_scales[1, 0] = torch.nan, torch.inf
    extra.quaternions[2, 2], extra.logit_opacities[3] = torch.nan, torch.nan
    both = GaussianModel(
        **{k: torch.cat([getattr(scene.gaussians, k), getattr(extra, k)]) for k in
           ("means", "quaternions", "log_scales", "logit_opacities", "sh")}
    )  # fmt: skip
    found = rasterize(both, scene.camera, scene.pose)
    for name in IMAGES:
        assert torch.isfinite(getattr(found, name)).all()
        assert torch.equal(getattr(found, name), getattr(good, name))
    assert not found.visible[-4:].any()


def test_screen_gradients_are_those_of_the_projected_mean():
    scene = random_scene(40, seed=16)
    model = scene.gaussians.detached()
    for name in ("means", "quaternions", "log_scales", "logit_opacities", "sh"):
        getattr(model, name).requires_grad_()
    result = rasterize(model, scene.camera, scene.pose)
    assert result.screen_gradients.shape == (40,) and not result.screen_gradients.any()
    result.color.square().sum().backward()
    assert (result.screen_gradients[result.visible] > 0).any()
    assert not result.screen_gradients[~result.visible].any()


def test_spherical_harmonics_agree_with_the_twin(instruction_set):
    generator = torch.Generator().manual_seed(0)
    for count, degree in ((1, None), (4, None), (9, None), (16, None), (16, 1), (9, 0)):
        means = torch.randn(37, 3, generator=generator)
        sh = 2.0 * torch.randn(37, count, 3, generator=generator)
        position = torch.tensor([0.2, -0.1, 0.4])
        weights = torch.randn(37, 3, generator=generator)
        results = []
        for function, dtype in ((evaluate_sh, torch.float32), (sh_reference, torch.float64)):
            leaves = [t.to(dtype).requires_grad_() for t in (means, sh, position)]
            colors = function(*leaves, degree)
            grads = torch.autograd.grad(colors, leaves, weights.to(dtype), allow_unused=True)
            results.append(
                [colors.detach(), *(torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads))]
            )
        assert (results[1][0] == 0).any()  # the clamp is exercised
        for ours, truth in zip(*results):
            assert deviation(ours, truth) < 1e-5


def test_bad_input_is_refused_in_words(monkeypatch, tmp_path):
    scene = random_scene(5)
    args = (scene.gaussians, scene.camera)
    with pytest.raises(InputError, match="4×4"):
        rasterize(*args, np.eye(3))
    with pytest.raises(InputError, match="NaN"):
        rasterize(*args, np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="colors must have shape"):
        rasterize(*args, scene.pose, colors=torch.zeros(4, 3))
    with pytest.raises(InputError, match="background must have shape"):
        rasterize(*args, scene.pose, background=torch.zeros(4))
    with pytest.raises(InputError, match="degree 3"):
        rasterize(*args, scene.pose, sh_degree=3)
    monkeypatch.setenv(library.ISA_VARIABLE, "mmx")
    with pytest.raises(InputError, match="mmx"):
        rasterize(*args, scene.pose)
    library.load_instruction_set.cache_clear()
    monkeypatch.setattr(library, "LIBRARY_FOLDER", tmp_path)
    with pytest.raises(MissingDependencyError, match="make setup"):
        library.load_instruction_set("baseline")
    library.load_instruction_set.cache_clear()
