"""The CUDA backend: its torch parts on the CPU with a stand-in for gsplat, and the whole of it on a GPU."""

import importlib.metadata
import importlib.util
import json
import logging
from functools import cache
from pathlib import Path

import gsplat_stand_in
import numpy as np
import pytest
import torch
from pretended_gpu import GpuTensor, PretendedGpu, gsplat_on_gpu
from rendering_scenes import (
    IMAGES,
    PARAMETERS,
    Rendering,
    Scene,
    by_rigid_motion,
    deviation,
    gradients,
    random_scene,
    render,
    scenes,
)

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import (
    TrainingPass,
    cuda,
    fused,
    fused_torch,
    rasterize,
    rasterizer,
    trace,
)
from instascene_core.rendering.cuda_training_pass import CudaTrainingPass
from instascene_core.rendering.sh import sh_colors
from instascene_core.rendering.splats import pixel_hits, project
from instascene_core.rendering.trace import _by_cuda as trace_by_backend
from instascene_core.rendering.view import RasterView

logger = logging.getLogger(__name__)  # `pytest -o log_cli_level=INFO` shows the quantiles on a GPU
SCENES = scenes()


@pytest.fixture
def stand_in(monkeypatch):
    """gsplat's four functions, on the CPU."""
    monkeypatch.setattr(cuda, "gsplat", lambda: gsplat_stand_in)


def leaf(tensor, dtype=torch.float64):
    return tensor.detach().clone().to(dtype).requires_grad_()


def view_of(scene: Scene, dtype=torch.float64) -> tuple[RasterView, dict[str, torch.Tensor]]:
    """The scene as `rasterize` hands it to the backend, and its leaves by name."""
    leaves = {name: leaf(getattr(scene.gaussians, name), dtype) for name in PARAMETERS}
    pose = leaves["pose"] = leaf(torch.from_numpy(scene.pose.astype(np.float32)), dtype)
    for name in ("background", "colors"):
        if getattr(scene, name) is not None:
            leaves[name] = leaf(getattr(scene, name), dtype)
    degree = round(leaves["sh"].shape[1] ** 0.5) - 1
    colors = leaves.get("colors", sh_colors(leaves["means"], leaves["sh"], pose[:3, 3], degree))
    four = [leaves[name] for name in PARAMETERS[:4]]
    return RasterView(*four, colors, pose, scene.camera, leaves.get("background")), leaves


def render_by_backend(scene: Scene, dtype=torch.float64) -> Rendering:
    view, leaves = view_of(scene, dtype)
    result = rasterizer._by_cuda(view, distortion=True)
    return Rendering({name: getattr(result, name) for name in IMAGES}, leaves, None)


@cache
def twin_of(name):
    """(rendering by the float64 twin, random upstream gradients at decided pixels, the twin's gradients)."""
    twin = render(SCENES[name], twin=True)
    generator, upstream = torch.Generator().manual_seed(7), {}
    for image in IMAGES:
        mask = twin.decided if twin.images[image].ndim == 2 else twin.decided[..., None]
        upstream[image] = torch.randn(twin.images[image].shape, generator=generator) * mask
    return twin, upstream, gradients(twin, upstream)


def deviations(name: str, found: Rendering) -> dict[str, float]:
    """Largest deviation from the twin of values and gradients, by name."""
    twin, upstream, truth = twin_of(name)
    result = {
        image: deviation(
            found.images[image].detach().cpu() * (g != 0), twin.images[image].detach() * (g != 0)
        )
        for image, g in upstream.items()
    }
    where = found.images["alpha"].device
    mine = gradients(found, {image: g.to(where) for image, g in upstream.items()})
    result.update({f"d {leaf}": deviation(value.cpu(), truth[leaf]) for leaf, value in mine.items()})
    return result


# ── the torch parts, on the CPU ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SCENES)
def test_values_and_gradients_agree_with_the_twin(name, stand_in):
    found = deviations(name, render_by_backend(SCENES[name]))
    wrong = {k: v for k, v in found.items() if not v < 1e-4}
    assert not wrong, wrong


def test_disks_through_the_near_plane_are_blended_from_lists(stand_in, monkeypatch):
    """gsplat would show them where their planes are hit behind the camera; all others it blends."""
    calls = []
    monkeypatch.setattr(
        cuda, "_sums_of_lists", lambda *a, real=cuda._sums_of_lists: calls.append(1) or real(*a)
    )
    for name, expected in (("huge", 1), ("large disks", 1), ("tiny disks", 0), ("one row", 0)):
        calls.clear()
        found = rasterizer._by_cuda(view_of(SCENES[name])[0], distortion=False)
        assert len(calls) == expected and found.distortion is None
    view, _ = view_of(SCENES["huge"])
    splats, pixels = project(view), view.camera.width * view.camera.height
    assert 0 < splats.crossing.sum() < len(splats.ids)
    # Where only those reach that do not cross, every plane is hit in front of the camera.
    index = torch.nonzero(~splats.crossing).flatten()
    every = torch.arange(pixels).repeat(len(index))
    index = index.repeat_interleave(pixels)
    splats.q = -splats.q  # the other half of each ray
    mirrored = pixel_hits(splats, index, every, view.camera, 1e-6)
    center = torch.stack([every % view.camera.width, every // view.camera.width], dim=-1) + 0.5
    circle = 2 * ((center - splats.mean[index]) ** 2).sum(-1)
    by_screen = (splats.opacity[index] * torch.exp(-circle / 2)).clamp(max=0.999)
    assert (mirrored.alpha <= torch.where(by_screen >= 1 / 255, by_screen, 0) + 1e-9).all()


def test_the_projection_is_gsplats(tmp_path):
    """Ray transforms, depths and normals against gsplat's own torch code, which runs without a GPU."""
    if importlib.util.find_spec("gsplat") is None:
        pytest.skip("gsplat is not installed")
    from gsplat.cuda._torch_impl_2dgs import _fully_fused_projection_2dgs

    scene = random_scene(200, seed=3)
    view, _ = view_of(scene, torch.float32)
    splats, camera = project(view), scene.camera
    scales = torch.cat([view.log_scales.exp(), torch.ones(200, 1)], dim=1)
    intrinsics = torch.tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    radii, _, depths, transforms, normals = _fully_fused_projection_2dgs(
        view.means, view.quaternions, scales, torch.linalg.inv(view.world_from_camera)[None],
        intrinsics[None].float(), camera.width, camera.height,
    )  # fmt: skip
    ids = splats.ids
    assert deviation(splats.matrix, transforms[0, ids].double()) < 1e-5
    assert deviation(splats.depth, depths[0, ids].double()) < 1e-5
    assert deviation(-splats.normal, normals[0, ids].double()) < 1e-4  # theirs look at the camera
    drawn = (radii[0] > 0).all(-1) & (view.logit_opacities.sigmoid() >= 1 / 255)
    missed = set(torch.nonzero(drawn).flatten().tolist()) - set(ids.tolist())
    assert not missed  # our boxes hold what theirs do


@pytest.mark.parametrize("count", [1, 3, 4, 31, 32, 33, 70])
@pytest.mark.parametrize("with_index", [False, True])
def test_channels_are_padded_with_zeros(count, with_index):
    features = torch.rand(5, count)
    parts = cuda.padded_parts(features, with_index)
    assert torch.equal(torch.cat([p.channels[:, : p.used] for p in parts], dim=1), features)
    for i, part in enumerate(parts):
        filler = part.channels[:, part.used :]
        assert part.channels.shape[1] in gsplat_stand_in.CHANNELS and part.channels.shape[1] <= 32
        if with_index and i == 0:
            assert filler[:, -1].tolist() == [0, 1, 2, 3, 4]
            filler = filler[:, :-1]
        assert not filler.any()


@pytest.mark.parametrize("limits", [(0.0, 0.0), (0.0, 1 / 255), (0.5, 1 / 255), (0.9, 0.2)])
@pytest.mark.parametrize("name", ["plain", "opaque", "grazing", "one pixel", "no Gaussians", "behind"])
def test_tracing_is_the_kernels(name, limits, stand_in):
    scene = SCENES[name]
    arguments = {"transmittance_min": limits[0], "weight_min": limits[1]}
    ours = trace(scene.gaussians, scene.camera, scene.pose, **arguments)
    view, _ = view_of(scene)
    with torch.no_grad():
        found = trace_by_backend(view, *limits)
    count = len(scene.gaussians)
    difference = (found.matrix(count) - ours.matrix(count)).toarray()
    undecided = np.abs(difference).max(1, initial=0) > 1e-4  # a limit fell to the other side
    assert undecided.mean() < 0.01
    same = ~np.repeat(undecided, np.diff(ours.offsets)), ~np.repeat(undecided, np.diff(found.offsets))
    np.testing.assert_array_equal(ours.indices[same[0]], found.indices[same[1]])
    np.testing.assert_allclose(ours.transmittance[same[0]], found.transmittance[same[1]], atol=1e-4)
    for field in ("offsets", "indices", "weights", "transmittance"):
        assert getattr(found, field).dtype == getattr(ours, field).dtype


def test_screen_gradients_and_visible_are_the_kernels(stand_in):
    scene = random_scene(40, seed=16)
    model = GaussianModel(
        **{name: leaf(getattr(scene.gaussians, name), torch.float32) for name in PARAMETERS}
    )
    ours = rasterize(model, scene.camera, scene.pose)
    (ours.color.square().sum() + ours.distortion.sum() + ours.median_depth.sum()).backward()
    view, _ = view_of(scene)
    view.background = None
    found = rasterizer._by_cuda(view, distortion=True)
    assert not found.screen_gradients.any()
    (found.color.square().sum() + found.distortion.sum() + found.median_depth.sum()).backward()
    assert deviation(ours.screen_gradients, found.screen_gradients) < 1e-4
    assert found.visible.dtype == torch.bool and not (ours.visible & ~found.visible).any()
    assert found.visible.sum() <= ours.visible.sum() + 2


def test_broken_gaussians_are_left_out(stand_in):
    scene = random_scene(30, seed=15)
    good = render_by_backend(scene)
    extra = scene.gaussians.select(torch.arange(4)).detached()
    extra.means[0, 1], extra.log_scales[1, 0] = torch.nan, torch.inf
    extra.quaternions[2, 2], extra.logit_opacities[3] = torch.nan, torch.nan
    rows = {k: torch.cat([getattr(scene.gaussians, k), getattr(extra, k)]) for k in PARAMETERS}
    found = render_by_backend(Scene(GaussianModel(**rows), scene.camera, scene.pose, scene.background))
    for name in IMAGES:
        assert torch.equal(found.images[name], good.images[name])
    upstream = {name: torch.ones_like(image) for name, image in found.images.items()}
    for name, gradient in gradients(found, upstream).items():
        assert torch.isfinite(gradient).all(), name


def test_the_training_pass_is_the_kernels(stand_in):
    scene = random_scene(150, 50, 40, seed=21, sh_count=9)
    camera, pose, background = scene.camera, scene.pose, scene.background
    target = torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(1))
    results = []
    for passes in (TrainingPass(), CudaTrainingPass()):
        for degree in (1, None):  # the second round reuses what there is
            images = passes.render(scene.gaussians, camera, pose, sh_degree=degree, background=background)
            given = passes.image_gradients
            assert all(not tensor.any() for tensor in vars(given).values())
            fused.write_photometric(images.color, target, given.color)
            fused.add_normal_consistency(images, camera, torch.from_numpy(pose), 0.05, given)
            given.distortion.fill_(0.01)
            given.median_depth.fill_(0.001)
            found = passes.backward(median_depth=True, distortion=True)
            found.world_from_camera = by_rigid_motion(torch.from_numpy(pose).float(), found.world_from_camera)
            kept = [{k: v.clone() for k, v in vars(x).items() if v is not None} for x in (images, found)]
            results.append((*kept, passes.visible))
    for (images, ours, visible), (others, theirs, also_visible) in zip(results[:2], results[2:]):
        assert others.keys() == {"color", "alpha", "depth", "normal"}
        for name, image in others.items():
            assert deviation(image, images[name].double()) < 1e-3
        for name, gradient in ours.items():
            assert deviation(theirs[name], gradient.double()) < 2e-3, name
        assert not (visible & ~also_visible).any()


def test_torch_losses_are_the_fused_ones():
    generator = torch.Generator().manual_seed(0)
    height, width = 40, 33
    camera = PinholeCamera(width, height, 50.0, 60.0, 14.0, 22.0)
    pose = torch.from_numpy(random_scene(1).pose)
    target, depth = (
        torch.rand(height, width, 3, generator=generator),
        torch.rand(height, width, generator=generator),
    )
    image = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    valid = torch.rand(height, width, generator=generator) > 0.2
    for mask in (None, valid):
        ours, theirs = torch.empty_like(image), torch.empty_like(image)
        value = fused.write_photometric(image, target, ours, 0.3, mask)
        assert fused_torch.write_photometric(image, target, theirs, 0.3, mask) == pytest.approx(
            value, rel=1e-4
        )
        assert deviation(theirs, ours.double()) < 1e-3
        assert fused_torch.write_photometric(image, target, None, 0.3, mask) == pytest.approx(value, rel=1e-4)
    images = rasterizer.RasterImages(
        image, torch.rand(height, width), 1 + 0.1 * depth, None, torch.randn(height, width, 3), None
    )
    values, sums = [], []
    for module in (fused, fused_torch):
        given = rasterizer.RasterImages.empty(camera, 3)
        for tensor in vars(given).values():
            tensor.fill_(0.5)  # both add
        measured = torch.where(valid, 1.05 + 0 * depth, 0.0)
        found = [module.add_normal_consistency(images, camera, pose, 0.7, given)]
        found.append(module.add_depth_loss(images.depth, measured, depth, 2.0, given.depth, 0.02))
        values.append(found)
        sums.append(torch.cat([given.normal.flatten(), given.depth.flatten(), given.alpha.flatten()]))
    assert values[1] == pytest.approx(values[0], rel=1e-4)
    assert deviation(sums[1], sums[0].double()) < 1e-3


@pytest.mark.parametrize("chosen", [None, torch.arange(50) % 3 == 0])
def test_torch_adam_is_the_fused_one(chosen):
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(50, 4, generator=generator), torch.zeros(50, 4), torch.zeros(50, 4)]
    theirs = [tensor.clone() for tensor in ours]
    for step in range(1, 6):
        gradient = torch.randn(50, 4, generator=generator)
        fused.adam_step(ours[0], gradient, *ours[1:], step, 0.02, chosen=chosen)
        fused_torch.adam_step(theirs[0], gradient, *theirs[1:], step, 0.02, (0.9, 0.999), 1e-15, chosen)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["plain", "tiny disks", "33 channels", "no Gaussians"])
def test_nothing_is_left_on_the_cpu(name, monkeypatch):
    """The public functions on tensors that refuse to mix with those on the CPU."""
    scene = SCENES[name]
    monkeypatch.setattr(cuda, "gsplat", gsplat_on_gpu)
    with PretendedGpu():
        model = scene.gaussians.to("cuda")
        for parameter in PARAMETERS:
            getattr(model, parameter).requires_grad_()
        keywords = {"colors": scene.colors, "background": scene.background}
        keywords = {k: v.to("cuda") for k, v in keywords.items() if v is not None}
        result = rasterize(model, scene.camera, scene.pose, **keywords)
        assert all(isinstance(image, GpuTensor) for image in vars(result).values())
        sum(getattr(result, image).sum() for image in IMAGES).backward()
        assert isinstance(model.means.grad, GpuTensor)
        assert rasterize(model, scene.camera, scene.pose, distortion=False, **keywords).distortion is None
        traced = trace(model, scene.camera, scene.pose)
        keywords["background"] = scene.background
        with pytest.raises(InputError, match="cannot be rendered with a tensor on cpu"):
            rasterize(model, scene.camera, scene.pose, **keywords)
    assert abs(len(traced.indices) - len(trace(scene.gaussians, scene.camera, scene.pose).indices)) < 20


# ── stored numbers ────────────────────────────────────────────────────────────────────────────────────────

STORED = Path(__file__).resolve().parents[1] / "resources" / "rendering_reference.json"


def stored_scene() -> Scene:
    """Made of sines rather than random numbers: the same wherever and whenever."""
    k = torch.arange(1.0, 41.0, dtype=torch.float64)
    camera = PinholeCamera(48, 32, 44.0, 52.0, 22.5, 17.25)
    z = 2 + torch.sin(1.3 * k)
    u, v = 24 + 22 * torch.sin(2.1 * k), 16 + 14 * torch.sin(3.7 * k + 1)
    means = torch.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], dim=1)
    waves = torch.sin(torch.outer(k, torch.arange(1.0, 60.0, dtype=torch.float64)))
    gaussians = GaussianModel(
        means.float(),
        (waves[:, :4] + torch.tensor([2.0, 0, 0, 0])).float(),
        (torch.log(4 / camera.fx * z)[:, None] + 0.5 * waves[:, 4:6]).float(),
        (1 + 1.5 * waves[:, 6]).float(),
        (0.3 * waves[:, 7:19]).reshape(-1, 4, 3).float(),
    )
    return Scene(gaussians, camera, np.eye(4), torch.tensor([0.1, 0.5, 0.9]))


def sampled(rendering: Rendering) -> dict[str, list[float]]:
    """Some pixels of every image, and the gradients of the images' sums by the first Gaussians."""
    where = rendering.images["alpha"].device
    weight = torch.sin(torch.arange(48 * 32, dtype=torch.float64)).reshape(32, 48).to(where)
    upstream = {k: weight if v.ndim == 2 else weight[..., None] + 0 * v for k, v in rendering.images.items()}
    values = {k: v.detach()[3::7, 2::9] for k, v in rendering.images.items()}
    values |= {f"d {k}": v[:4] for k, v in gradients(rendering, upstream).items()}
    return {k: v.double().flatten().cpu().tolist() for k, v in values.items()}


def compare_with_stored(found: dict[str, list[float]], tolerance: float):
    stored = json.loads(STORED.read_text())
    assert stored.keys() == found.keys()
    wrong = {k: deviation(torch.tensor(found[k]), torch.tensor(v).double()) for k, v in stored.items()}
    wrong = {k: v for k, v in wrong.items() if not v < tolerance}
    assert not wrong, wrong


def test_the_stored_numbers_are_the_twins_and_the_kernels(stand_in):
    """Stored by `write_json(STORED, sampled(render(stored_scene(), twin=True)))`."""
    scene = stored_scene()
    twin = render(scene, twin=True)
    assert twin.decided.float().mean() > 0.97
    compare_with_stored(sampled(twin), 1e-9)
    compare_with_stored(sampled(render(scene, twin=False)), 1e-4)
    compare_with_stored(sampled(render_by_backend(scene)), 1e-4)


# ── on a GPU ──────────────────────────────────────────────────────────────────────────────────────────────


PROBLEM = cuda.cuda_problem()
real = pytest.param("real", marks=pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM)))


@pytest.fixture(params=["pretended", real])
def gpu(request, monkeypatch):
    """A GPU; where there is none, at least the same float32 tensors take the same way, past a stand-in."""
    if request.param == "real":
        yield
        return
    monkeypatch.setattr(cuda, "gsplat", gsplat_on_gpu)
    with PretendedGpu():
        yield


def to_gpu(model: GaussianModel) -> GaussianModel:
    return GaussianModel(**{name: getattr(model, name).cuda() for name in PARAMETERS})


def render_on_gpu(scene: Scene) -> Rendering:
    leaves = {name: leaf(getattr(scene.gaussians, name).cuda(), torch.float32) for name in PARAMETERS}
    model = GaussianModel(**leaves)
    pose = leaves["pose"] = leaf(torch.from_numpy(scene.pose.astype(np.float32)).cuda(), torch.float32)
    keywords = {}
    for name in ("background", "colors"):
        if getattr(scene, name) is not None:
            leaves[name] = keywords[name] = leaf(getattr(scene, name).cuda(), torch.float32)
    result = rasterize(model, scene.camera, pose, **keywords)
    return Rendering({name: getattr(result, name) for name in IMAGES}, leaves, None)


@pytest.mark.parametrize("name", SCENES)
def test_gpu_values_and_gradients_are_the_kernels(name, gpu):
    scene = SCENES[name]
    found, ours = render_on_gpu(scene), render(scene, twin=False)
    for image in IMAGES:
        difference = (found.images[image].cpu() - ours.images[image]).detach().abs()
        quantiles = np.quantile(difference.numpy(), [0.5, 0.9, 0.99, 1]) if difference.numel() else []
        logger.info("%s %s 50, 90, 99, 100 %%: %s", name, image, " ".join(f"{q:.1e}" for q in quantiles))
    largest = deviations(name, found)
    logger.info("%s largest: %s", name, {k: f"{v:.1e}" for k, v in largest.items()})
    wrong = {k: v for k, v in largest.items() if not v < 5e-3}
    assert not wrong, wrong


@pytest.mark.parametrize("name", ["plain", "opaque", "one pixel", "no Gaussians", "behind"])
def test_gpu_tracing_is_the_kernels(name, gpu):
    scene, count = SCENES[name], len(SCENES[name].gaussians)
    ours = trace(scene.gaussians, scene.camera, scene.pose).matrix(count)
    found = trace(to_gpu(scene.gaussians), scene.camera, scene.pose).matrix(count)
    difference = abs(found - ours).max(axis=1).toarray() if count else np.zeros(1)
    assert (difference < 1e-3).mean() > 0.98


def test_gpu_numbers_are_those_stored(gpu):
    """Fails where a version of gsplat, or of its compiler, changes what comes out."""
    compare_with_stored(sampled(render_on_gpu(stored_scene())), 5e-3)
