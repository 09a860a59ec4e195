"""The training losses against values computed by hand or by another library."""

import numpy as np
import pytest
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering.losses import (
    depth_loss,
    normal_consistency_loss,
    normals_of_depth,
    photometric_loss,
    ssim_map,
)

CAMERA = PinholeCamera(48, 36, 40.0, 44.0, 23.0, 19.0)


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(40, 50, 3, generator=generator, dtype=torch.float64)
    return first, (first + 0.2 * torch.randn(40, 50, 3, generator=generator, dtype=torch.float64)).clamp(0, 1)


def test_ssim_is_that_of_skimage():
    from skimage.metrics import structural_similarity

    image, target = images()
    _, expected = structural_similarity(
        image.numpy(), target.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=1.0, channel_axis=2, full=True,
    )  # fmt: skip
    inner = slice(5, -5)  # borders are padded differently
    got = ssim_map(image, target).numpy()
    assert np.allclose(got[inner, inner], expected[inner, inner], atol=1e-9)
    assert torch.allclose(ssim_map(image, image), torch.ones_like(image))


def test_photometric_loss_of_two_constants():
    image, target = (torch.full((30, 30, 3), v, dtype=torch.float64) for v in (0.5, 0.75))
    assert float(photometric_loss(image, target, ssim_weight=0.0)) == pytest.approx(0.25)
    # Interior SSIM of two constants is (2ab + c1) / (a² + b² + c1).
    expected = (2 * 0.375 + 1e-4) / (0.25 + 0.5625 + 1e-4)
    assert float(ssim_map(image, target)[15, 15, 0]) == pytest.approx(expected, rel=1e-5)


def test_invalid_pixels_do_not_count():
    image, target = images()
    valid = torch.ones(40, 50, dtype=torch.bool)
    valid[:, 25:] = False
    spoiled = target.clone()
    spoiled[:, 35:] = 0  # farther than SSIM's window from any valid pixel
    clean = photometric_loss(image, target, valid=valid)
    assert torch.allclose(clean, photometric_loss(image, spoiled, valid=valid))
    assert not torch.allclose(clean, photometric_loss(image, spoiled))


def plane_depth(normal: list[float], offset: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(depth [H, W], unit normal [3] toward the camera) of the plane n·x = offset."""
    normal = torch.tensor(normal, dtype=torch.float64)
    normal = normal / normal.norm()
    rays = torch.from_numpy(CAMERA.rays.copy()).double()
    return offset / (rays @ normal), normal


def test_normals_of_a_plane():
    depth, normal = plane_depth([0.3, -0.5, -1.0], -2.0)
    found = normals_of_depth(depth, CAMERA)
    assert torch.allclose(found[1:-1, 1:-1], normal.expand(34, 46, 3), atol=1e-6)
    assert (found[0] == 0).all() and (found[:, -1] == 0).all()


def test_normal_consistency_vanishes_on_its_own_plane_and_grows_with_the_angle():
    depth, normal = plane_depth([0.0, 0.4, -1.0], -1.0)
    alpha = torch.full((36, 48), 0.8, dtype=torch.float64)
    inside = 34 * 46 / (36 * 48)
    right = normal_consistency_loss(alpha[..., None] * normal, depth, alpha, CAMERA)
    assert float(right) == pytest.approx(0, abs=1e-6)
    full = torch.ones_like(alpha)
    tilted = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand(36, 48, 3)
    cosine = 1 / np.sqrt(1 + 0.16)
    assert float(normal_consistency_loss(tilted, depth, full, CAMERA)) == pytest.approx(
        (1 - cosine) * inside, rel=1e-5
    )


def test_depth_loss_is_robust_and_ignores_missing_pixels():
    measured = torch.full((10, 10), 2.0)
    measured[:5] = 0
    depth = torch.full((10, 10), 2.1, requires_grad=True)
    weight = torch.ones(10, 10)
    loss = depth_loss(depth, measured, weight, tolerance=0.02)
    size = np.sqrt(0.05**2 + 1e-6) - 1e-3
    assert loss.item() == pytest.approx(0.5 * size / (size + 0.02), rel=1e-4)
    loss.backward()
    assert (depth.grad[:5] == 0).all() and (depth.grad[5:] > 0).all()
    assert torch.isfinite(depth.grad).all()
    # An outlier pulls less than a small error.
    far = torch.full((10, 10), 4.0, requires_grad=True)
    depth_loss(far, measured, weight).backward()
    assert far.grad[9, 9] < 0.05 * depth.grad[9, 9]
    # Relative to the depth: the same scene in other units gives the same loss.
    assert torch.allclose(loss, depth_loss(depth * 1000, measured * 1000, weight))


def test_masked_mean_is_over_the_valid_pixels():
    image, target = images()
    valid = torch.zeros(40, 50, dtype=torch.bool)
    valid[3:9, 4:30] = True
    per_pixel = 0.8 * (image - target).abs() + 0.2 * (1 - ssim_map(image, target))
    assert torch.allclose(photometric_loss(image, target, valid=valid), per_pixel[3:9, 4:30].mean())


def test_gradient():
    image, target = images()
    image = image[:5, :6, :1].clone().requires_grad_()
    loss = lambda i: photometric_loss(i, target[:5, :6, :1])  # noqa: E731
    assert torch.autograd.gradcheck(loss, image, eps=1e-6, atol=1e-6)
