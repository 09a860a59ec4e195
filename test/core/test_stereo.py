"""Depth by slanted patches: the kernel against its slow twin, planes that are known, what must not matter."""

import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.rendering import library
from instascene_core.stereo.agreement import agreed_depth
from instascene_core.stereo.patches import DepthPlanes, finer, planes_of_depth, refine
from instascene_core.stereo.reference import patch_costs
from instascene_core.stereo.views import OUTSIDE, StereoView, pyramid

CAMERA = PinholeCamera(48, 40, 60.0, 62.0, 23.0, 21.0)
SLOPES = np.array([0.25, -0.4, 1.25])  # of the plane's inverse depth along a ray's x and y; in the middle


def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grey values 0 … 255 of a print that is fine, smooth and nowhere the same."""
    waves = np.sin(41 * x + 3 * np.sin(9 * y)) + np.sin(37 * y - 23 * x) + np.sin(67 * (x + 0.7 * y) + 1)
    return (127 + 40 * waves).astype(np.float32)


def view_from(shift: tuple[float, float, float]) -> StereoView:
    """The plane of SLOPES, in the world's axes, from a camera moved by `shift`."""
    pose = np.eye(4)
    pose[:3, 3] = shift
    rays = CAMERA.rays.astype(np.float64)
    # 1/z = a·x + b·y + c of the unmoved camera's rays is n · P = 1 with n = (a, b, c).
    depth = (1 - SLOPES @ np.array(shift)) / (rays @ SLOPES)
    points = rays * depth[..., None] + np.array(shift)
    return StereoView(CAMERA, pose, texture(points[..., 0], points[..., 1]))


@pytest.fixture(scope="module")
def views() -> list[StereoView]:
    return [view_from(shift) for shift in ((0, 0, 0), (0.06, 0, 0), (-0.02, 0.06, 0), (-0.05, -0.04, 0.01))]


def true_planes() -> np.ndarray:
    """[3, H, W] of the unmoved camera."""
    inverse = CAMERA.rays.astype(np.float64) @ SLOPES
    slopes = (np.full_like(inverse, SLOPES[0] / CAMERA.fx), np.full_like(inverse, SLOPES[1] / CAMERA.fy))
    return np.stack([inverse, *slopes]).astype(np.float32)


def start(inverse: np.ndarray) -> DepthPlanes:
    return DepthPlanes(CAMERA, inverse.astype(np.float32), np.ones(inverse.shape[1:], np.float32))


LIMITS = 0.4, 4.0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_kernel_has_the_costs_of_its_twin(views, count, monkeypatch):
    rng = np.random.default_rng(count)
    inverse = true_planes() * (1 + 0.02 * rng.standard_normal((3, 40, 48)).astype(np.float32))
    sources = list(views[1 : 1 + count])
    dark = views[1].grey.copy()
    dark[:, :9] = OUTSIDE
    sources[0] = StereoView(CAMERA, views[1].world_from_camera, dark)
    expected = patch_costs(views[0], sources, inverse)
    assert (expected == 1).any() and (expected < 0.5).mean() > 0.2
    for name in library.runnable_instruction_sets():
        monkeypatch.setenv(library.ISA_VARIABLE, name)
        found = refine(views[0], sources, start(inverse), LIMITS, iterations=0)
        # A tap that lies on the border itself may fall on either side of it.
        assert np.mean(np.abs(found.cost - expected) > 2e-4) < 0.005, name
        np.testing.assert_array_equal(found.inverse, inverse.astype(np.float32))


def test_a_slanted_plane_is_found_from_one_that_faces_the_camera(views):
    flat = np.zeros((3, 40, 48))
    flat[0] = 1.25
    found = refine(views[0], views[1:], start(flat), LIMITS, iterations=8)
    truth = true_planes()
    inner = (slice(None), slice(4, -4), slice(4, -4))
    error = np.abs(found.inverse - truth)[inner]
    assert np.median(error[0] / truth[0][4:-4, 4:-4]) < 0.002
    assert np.quantile(error[0] / truth[0][4:-4, 4:-4], 0.9) < 0.01
    assert np.median(error[1]) * CAMERA.fx < 0.15 and np.median(error[2]) * CAMERA.fy < 0.15
    before = refine(views[0], views[1:], start(flat), LIMITS, iterations=0)
    assert (found.cost <= before.cost).all()


def test_the_number_of_threads_changes_no_bit(views):
    flat = np.zeros((3, 40, 48))
    flat[0] = 1.25
    one, two = (
        refine(views[0], views[1:], start(flat), LIMITS, iterations=3, num_threads=threads)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one.inverse, two.inverse)
    np.testing.assert_array_equal(one.cost, two.cost)


def test_nothing_to_match_is_said(views):
    plain = StereoView(CAMERA, np.eye(4), np.full((40, 48), 90, np.float32))
    found = refine(plain, views[1:], start(true_planes()), LIMITS, iterations=2)
    assert (found.cost == 1).all()
    np.testing.assert_array_equal(found.inverse, true_planes())


def test_planes_of_a_depth_image_and_of_a_larger_image():
    truth = true_planes()
    planes = planes_of_depth(1 / truth[0], CAMERA, otherwise=0.4)
    inner = (slice(None), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(planes.inverse[inner], truth[inner], rtol=2e-3, atol=1e-4)
    holes = (1 / truth[0]).copy()
    holes[10, 10] = 0
    assert planes_of_depth(holes, CAMERA, otherwise=0.4).inverse[0, 10, 10] == np.float32(0.4)
    large = CAMERA.resized(101, 83)
    fine = finer(start(truth), large)
    expected = large.rays.astype(np.float64) @ SLOPES
    np.testing.assert_allclose(fine.inverse[0], expected, rtol=1e-5)
    np.testing.assert_allclose(fine.inverse[1], SLOPES[0] / large.fx, rtol=1e-5)
    assert finer(fine, large) is fine


def test_depth_that_several_views_agree_on(views):
    planes = {}
    for index, view in enumerate(views):
        shift = view.world_from_camera[:3, 3]
        rays = CAMERA.rays.astype(np.float64)
        inverse = np.zeros((3, 40, 48), np.float32)
        inverse[0] = (rays @ SLOPES) / (1 - SLOPES @ shift)
        planes[index] = DepthPlanes(CAMERA, inverse, np.full((40, 48), 0.1, np.float32))
    wrong = planes[0].inverse.copy()
    wrong[0, 20, 20] *= 1.1  # nobody agrees
    planes[0] = DepthPlanes(CAMERA, wrong, planes[0].cost)
    depth = agreed_depth(views, planes, 0, [1, 2, 3])
    truth = 1 / true_planes()[0]
    assert depth[20, 20] == 0
    assert (depth[8:-8, 8:-8] > 0).mean() > 0.98
    np.testing.assert_allclose(depth[depth > 0], truth[depth > 0], rtol=4e-3)
    planes[0].cost[20, 24] = 0.9  # matches nothing
    assert agreed_depth(views, planes, 0, [1, 2, 3])[20, 24] == 0


def test_images_shrink_by_halves_down_to_where_small_things_still_show():
    rgb = np.zeros((480, 640, 3), np.uint8)
    frame = Frame("a", 0.0, PinholeCamera(640, 480, 500.0, 500.0, 320.0, 240.0), np.eye(4), rgb)
    assert [view.grey.shape for view in pyramid(frame)] == [(120, 160), (240, 320), (480, 640)]
    small = Frame("b", 0.0, CAMERA, np.eye(4), rgb[:40, :48])
    assert [view.grey.shape for view in pyramid(small)] == [(40, 48)]
