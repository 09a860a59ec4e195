"""The fused losses, Adam and the training pass against torch."""

import numpy as np
import pytest
import torch
from rendering_scenes import PARAMETERS, deviation, random_scene

from instascene_core import transforms
from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import fused, library, losses, rasterize
from instascene_core.rendering.training_pass import TrainingPass


@pytest.fixture(params=library.runnable_instruction_sets(), autouse=True)
def instruction_set(request, monkeypatch):
    monkeypatch.setenv(library.ISA_VARIABLE, request.param)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def blurred(*shape, seed=0):
    """Image-like: smooth, so that SSIM is not near zero everywhere."""
    image = random(*shape, seed=seed).numpy()
    for axis in (0, 1):
        for _ in range(3):
            image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
    return torch.from_numpy(image).float()


def photometric_twin(image, target, weight, valid):
    ssim = losses.ssim_map(image, target)
    mask = torch.ones(image.shape[:2]) if valid is None else valid
    mask = mask.to(image.dtype)[..., None].expand_as(image)
    l1 = ((image - target).abs() * mask).sum() / mask.sum()
    return (1 - weight) * l1 + weight * ((1 - ssim) * mask).sum() / mask.sum()


@pytest.mark.parametrize("shape", [(50, 37, 3), (91, 16, 3), (7, 9, 3), (1, 1, 1), (44, 30, 1), (41, 20, 5)])
@pytest.mark.parametrize("masked", [False, True])
def test_photometric_loss(shape, masked):
    image, target = blurred(*shape), blurred(*shape, seed=1)
    target = 0.7 * image + 0.3 * target
    valid = random(*shape[:2], seed=2) > 0.3 if masked and shape[0] > 1 else None
    mine, twin = image.clone().requires_grad_(), image.double().requires_grad_()
    value = fused.photometric_loss(mine, target, 0.3, valid)
    truth = photometric_twin(twin, target.double(), 0.3, valid)
    assert value.item() == pytest.approx(truth.item(), rel=1e-5)
    (3 * value).backward()
    (3 * truth).backward()
    assert deviation(mine.grad, twin.grad) < 1e-4  # var = E[x²] − E[x]² costs digits


def test_photometric_loss_of_equal_images_is_zero():
    image = blurred(40, 30, 3).requires_grad_()
    value = fused.photometric_loss(image, image.detach())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6) and image.grad.abs().max() < 1e-6


@pytest.mark.parametrize("size", [(40, 33), (17, 70), (3, 3), (2, 5)])
def test_normal_consistency_loss(size):
    height, width = size
    camera = PinholeCamera(width, height, 50.0, 60.0, 0.4 * width, 0.6 * height)
    pose = transforms.look_at([0.3, 0.2, 0.1], [1.0, 2.0, 0.5])
    depth = 1 + blurred(height, width) + 0.02 * random(height, width, seed=3)
    depth[random(height, width, seed=4) < 0.05] = 0
    values = [torch.randn(height, width, 3, generator=torch.Generator().manual_seed(5)), depth]
    values.append(random(height, width, seed=6))
    mine = [v.clone().requires_grad_() for v in values]
    twin = [v.double().requires_grad_() for v in values]
    value = fused.normal_consistency_loss(*mine, camera, pose)
    truth = losses.normal_consistency_loss(*twin, camera, pose)
    assert value.item() == pytest.approx(truth.item(), rel=1e-4, abs=1e-7)
    value.backward()
    truth.backward()
    for a, b in zip(mine, twin):
        assert deviation(a.grad, b.grad) < 1e-4


def test_depth_loss():
    depth, measured, trust = 1 + random(31, 45), 1 + random(31, 45, seed=1), random(31, 45, seed=2)
    measured[random(31, 45, seed=3) < 0.2] = 0
    measured = torch.where(random(31, 45, seed=4) < 0.3, depth + 0.002, measured)
    mine, twin = depth.clone().requires_grad_(), depth.double().requires_grad_()
    value = fused.depth_loss(mine, measured, trust)
    truth = losses.depth_loss(twin, measured.double(), trust.double())
    assert value.item() == pytest.approx(truth.item(), rel=1e-5)
    value.backward()
    truth.backward()
    assert deviation(mine.grad, twin.grad) < 1e-4


@pytest.mark.parametrize("shape", [(1000, 3), (17,), (300, 16, 3), (5, 4)])
def test_adam_is_torchs(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine, mean, square = start.clone(), torch.zeros(shape), torch.zeros(shape)
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.02, eps=1e-15)
    for step in range(1, 8):
        theirs.grad = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        optimiser.step()
        fused.adam_step(mine, theirs.grad, mean, square, step, 0.02)
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_adam_on_chosen_rows_leaves_the_others():
    tensors = [random(50, 3, seed=k) for k in range(4)]
    chosen = random(50, seed=9) > 0.5
    before, whole = [t.clone() for t in tensors], [t.clone() for t in tensors]
    fused.adam_step(*whole, 3, 0.1)
    fused.adam_step(*tensors, 3, 0.1, chosen=chosen)
    for now, old, all_rows in zip(tensors, before, whole):
        assert torch.equal(now[~chosen], old[~chosen]) and torch.equal(now[chosen], all_rows[chosen])


def test_training_pass_is_rasterize_without_autograd():
    scene = random_scene(200, 50, 40, seed=21, sh_count=9)
    camera, pose = scene.camera, scene.pose
    target, passes = blurred(40, 50, 3), TrainingPass()
    for degree in (1, None):  # the second round reuses the buffers
        leaves = {k: getattr(scene.gaussians, k).clone().requires_grad_() for k in PARAMETERS}
        matrix = torch.from_numpy(pose).float().requires_grad_()
        result = rasterize(GaussianModel(**leaves), camera, matrix, sh_degree=degree)
        loss = fused.photometric_loss(result.color, target)
        consistency = fused.normal_consistency_loss(
            result.normal, result.depth, result.alpha, camera, matrix.detach()
        )
        total = loss + 0.05 * consistency + 10 * result.distortion.mean() + result.median_depth.mean()
        total.backward()

        images = passes.render(scene.gaussians, camera, pose, sh_degree=degree)
        given = passes.image_gradients
        mine = fused.write_photometric(images.color, target, given.color)
        mine += fused.add_normal_consistency(images, camera, torch.from_numpy(pose), 0.05, given)
        given.distortion.fill_(10 / given.distortion.numel())
        given.median_depth.fill_(1 / given.median_depth.numel())
        mine += 10 * images.distortion.mean().item() + images.median_depth.mean().item()
        gradients = passes.backward(median_depth=True, distortion=True)
        assert mine == pytest.approx(total.item(), rel=1e-5)
        assert torch.equal(images.color, result.color.detach())
        assert torch.equal(passes.visible, result.visible)
        for name, leaf in leaves.items():
            assert deviation(getattr(gradients, name), leaf.grad) < 1e-5
        assert deviation(gradients.world_from_camera, matrix.grad) < 1e-5
        assert deviation(gradients.screen, result.screen_gradients) < 1e-5


def test_cameras_in_turn_are_separate_calls(monkeypatch):
    """One pass, hence one workspace, for views of changing size, place and number of Gaussians: same bits."""
    views = [
        random_scene(200, 50, 40, seed=31),
        random_scene(90, 37, 61, seed=32),
        random_scene(200, 50, 40, seed=33),
    ]

    def results(passes, scene):
        images = passes.render(scene.gaussians, scene.camera, scene.pose, background=scene.background)
        for name, tensor in vars(passes.image_gradients).items():
            tensor.copy_(torch.sin(getattr(images, name) * 50))
        gradients = passes.backward(median_depth=True, distortion=True)
        return {k: v.clone() for k, v in (*vars(images).items(), *vars(gradients).items())}

    alone = []
    for scene in views:
        monkeypatch.setattr(library.Workspace, "_pool", {})  # no workspace that has seen another view
        alone.append(results(TrainingPass(), scene))
    kept = TrainingPass()
    for index in (0, 1, 0, 2, 2, 1, 0):
        for name, value in results(kept, views[index]).items():
            assert torch.equal(value, alone[index][name]), name


def test_same_bits_for_one_and_two_threads():
    camera = PinholeCamera(70, 100, 60.0, 60.0, 35.0, 50.0)
    image, target, depth = blurred(100, 70, 3), blurred(100, 70, 3, seed=1), 1 + blurred(100, 70)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = [t.clone().requires_grad_() for t in (image, image, depth, depth)]
            total = fused.photometric_loss(leaves[0], target)
            total = total + fused.normal_consistency_loss(leaves[1], leaves[2], leaves[3], camera)
            total.backward()
            results.append([total.detach(), *(t.grad for t in leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="target must have shape"):
        fused.photometric_loss(torch.zeros(4, 5, 3), torch.zeros(4, 5, 1))
    with pytest.raises(InputError, match="valid must have shape"):
        fused.photometric_loss(torch.zeros(4, 5, 3), torch.zeros(4, 5, 3), valid=torch.ones(5, 4))
    with pytest.raises(InputError, match="contiguous float32"):
        fused.adam_step(*[torch.zeros(3, 2).T for _ in range(4)], 1, 0.1)
