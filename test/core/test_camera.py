"""Pinhole projection, resizing and undistortion against numbers worked out by hand."""

import numpy as np
import pytest

from instascene_core.camera import LensModel, PinholeCamera, _rays
from instascene_core.errors import InputError

CAMERA = PinholeCamera(8, 6, 10.0, 20.0, 4.5, 2.5)


def test_matrix():
    np.testing.assert_array_equal(CAMERA.matrix, [[10, 0, 4.5], [0, 20, 2.5], [0, 0, 1]])


def test_projection_of_known_points():
    points = np.array([[0.0, 0.0, 2.0], [1.0, -1.0, 4.0], [0.0, 0.0, -1.0], [1.0, 1.0, 0.0]])
    pixels, depth = CAMERA.project(points)
    np.testing.assert_allclose(pixels[:2], [[4.5, 2.5], [7.0, -2.5]])
    assert np.isnan(pixels[2:]).all()
    np.testing.assert_array_equal(depth, points[:, 2])


def test_which_pixels_lie_in_the_image():
    """At its borders: the upper and left ones are inside; nowhere is outside."""
    pixels = np.array([[0.0, 0.0], [7.9, 5.9], [8.0, 3.0], [3.0, 6.0], [-0.1, 3.0], [3.0, np.nan]])
    np.testing.assert_array_equal(CAMERA.shows(pixels), [True, True, False, False, False, False])


def test_the_pixels_that_show_known_points():
    """In the image; left of it; behind the camera; at its right border, which is outside."""
    points = np.array([[0.0, 0.0, 2.0], [-1.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.7, 0.0, 2.0]])
    at = CAMERA.locate(points)
    assert at.inside.tolist() == [True, False, False, False]
    assert (at.row.tolist(), at.column.tolist()) == ([2, 0, 0, 0], [4, 0, 0, 0])
    np.testing.assert_array_equal(at.z, points[:, 2])


def test_rays_go_through_pixel_centres():
    assert CAMERA.rays.shape == (6, 8, 3) and CAMERA.rays.dtype == np.float32
    np.testing.assert_allclose(CAMERA.rays[2, 4], [0, 0, 1])  # the centre of pixel (4, 2) is (4.5, 2.5)
    np.testing.assert_allclose(CAMERA.rays[0, 0], [-0.4, -0.1, 1])


def test_back_projection_and_projection_cancel():
    depth = np.random.default_rng(0).uniform(0.5, 3, (6, 8)).astype(np.float32)
    pixels, z = CAMERA.project(CAMERA.back_project(depth).astype(np.float64))
    np.testing.assert_allclose(z, depth)
    rows, columns = np.mgrid[:6, :8] + 0.5
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=-1), atol=1e-5)


def test_scaled_keeps_the_field_of_view():
    half = CAMERA.scaled(0.5)
    assert half == PinholeCamera(4, 3, 5.0, 10.0, 2.25, 1.25)
    odd = PinholeCamera(5, 5, 10.0, 10.0, 2.5, 2.5).scaled(0.5)  # 2.5 px rounds to 2
    assert (odd.width, odd.fx, odd.cx) == (2, 4.0, 1.0)
    assert CAMERA.scaled(1e-6).width == 1


def test_resized_and_cropped_keep_the_rays():
    assert CAMERA.resized(4, 12) == PinholeCamera(4, 12, 5.0, 40.0, 2.25, 5.0)
    part = CAMERA.cropped(2, 1, 7, 5)
    assert part == PinholeCamera(5, 4, 10.0, 20.0, 2.5, 1.5)
    np.testing.assert_array_equal(part.rays, CAMERA.rays[1:5, 2:7])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 6, 1, 1, 1, 1), "image size 0×6 is empty"),
        ((8, 6, 0, 1, 1, 1), r"fx fy cx cy = \(0, 1, 1, 1\) are not usable"),
        ((8, 6, 1, -1, 1, 1), r"\(1, -1, 1, 1\) are not usable"),
        ((8, 6, 1, 1, np.nan, 1), r"\(1, 1, nan, 1\) are not usable"),
    ],
)
def test_unusable_cameras_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        PinholeCamera(*values)


# --- lenses ---


@pytest.mark.parametrize(
    ("model", "coefficients", "words"),
    [
        ("double_sphere", (0.1,), "Unknown distortion model"),
        ("plumb_bob", (0.1,), "takes"),
        ("fisheye", (0.1,) * 5, "takes"),
        ("plumb_bob", (np.nan, 0, 0, 0), "NaN"),
    ],
)
def test_unusable_lenses_are_refused(model, coefficients, words):
    with pytest.raises(InputError, match=words):
        LensModel(CAMERA, model, coefficients)


def test_ros_name_of_fisheye_and_empty_name():
    assert LensModel(CAMERA, "equidistant", (0.0,) * 4).model == "fisheye"
    assert LensModel(CAMERA, "").model == "none"


def test_which_lenses_distort():
    assert not LensModel(CAMERA).is_distorted
    assert not LensModel(CAMERA, "plumb_bob", (0.0,) * 5).is_distorted
    assert LensModel(CAMERA, "plumb_bob", (0.1, 0, 0, 0)).is_distorted
    assert LensModel(CAMERA, "fisheye", (0.0,) * 4).is_distorted  # angle, not tangent


def wide(model, coefficients):
    return LensModel(PinholeCamera(101, 81, 60.0, 60.0, 50.5, 40.5), model, coefficients)


def test_an_ideal_lens_returns_the_image_itself():
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert LensModel(CAMERA).undistort(image) is image
    assert LensModel(CAMERA).valid_pixels().all()


@pytest.mark.parametrize(
    ("model", "coefficients", "seen_at"),
    [
        # The pinhole pixel (80, 40) has x = 30/60 = 0.5.
        ("plumb_bob", (0.2, 0.0, 0.0, 0.0), 0.5 * (1 + 0.2 * 0.25)),
        ("plumb_bob", (0.2, 0.4, 0.0, 0.0, 0.8), 0.5 * (1 + 0.2 * 0.25 + 0.4 * 0.25**2 + 0.8 * 0.25**3)),
        ("plumb_bob", (0.0, 0.0, 0.0, 0.1), 0.5 + 0.1 * (0.25 + 2 * 0.25)),  # p2 (r² + 2x²)
        ("rational_polynomial", (0.2, 0, 0, 0, 0, 0.4, 0, 0), 0.5 * (1 + 0.2 * 0.25) / (1 + 0.4 * 0.25)),
        ("fisheye", (0.0, 0.0, 0.0, 0.0), np.arctan(0.5)),
        ("fisheye", (0.3, 0.0, 0.0, 0.0), np.arctan(0.5) * (1 + 0.3 * np.arctan(0.5) ** 2)),
    ],
)
def test_undistortion_looks_where_the_model_says(model, coefficients, seen_at):
    """A horizontal ramp shows, at a pinhole pixel, the column at which it is seen."""
    ramp = np.broadcast_to(np.arange(101, dtype=np.float32), (81, 101)).copy()
    result = wide(model, coefficients).undistort(ramp)
    assert result[40, 80] == pytest.approx(50 + 60 * seen_at, abs=0.05)
    assert result[40, 50] == pytest.approx(50, abs=0.05)  # the principal point stays


def test_nearest_keeps_values_and_types():
    lens = wide("plumb_bob", (-0.3, 0.1, 0.01, 0.0))
    labels = np.random.default_rng(0).choice(np.array([0, 7, 60000, 2**30], np.int32), (81, 101))
    result = lens.undistort(labels, interpolate=False)
    assert result.dtype == np.int32 and set(np.unique(result)) <= set(np.unique(labels))


def test_pixels_from_outside_are_zero_and_marked_and_the_border_is_not_mixed_with_black():
    lens = wide("plumb_bob", (0.5, 0.0, 0.0, 0.0))
    valid = lens.valid_pixels()
    assert not valid[0, 0] and valid[40, 50] and 0.3 < valid.mean() < 1
    result = lens.undistort(np.full((81, 101, 3), 200, np.uint8))
    assert (result[valid] == 200).all() and (result[~valid] == 0).all()


def test_equal_cameras_have_the_same_rays_whatever_their_numbers_are():
    """The rays are cached by camera: a float and numpy's float64 are equal, and compute differently."""
    plain = PinholeCamera(41, 31, 33.3, 33.3, 20.1, 15.7)
    first = plain.rays.copy()
    _rays.cache_clear()
    other = PinholeCamera(41, 31, np.float64(33.3), np.float64(33.3), np.float64(20.1), np.float64(15.7))
    np.testing.assert_array_equal(other.rays, first)


@pytest.mark.parametrize(
    ("intrinsics", "words"),
    [
        ((4.7, 4.7, 320, 240), "focal length of 4.7, 4.7 pixels"),  # millimetres
        ((1e18, 500, 320, 240), "focal length"),
        ((500, 500, 1e9, 240), "principal point at 1e\\+09, 240 pixels"),
    ],
)
def test_intrinsics_that_no_camera_has_are_refused(intrinsics, words):
    with pytest.raises(InputError, match=f"No camera whose images are 640×480 has a {words}"):
        LensModel(PinholeCamera(640, 480, *intrinsics))


def test_a_lens_that_would_show_nothing_is_refused():
    lens = LensModel(PinholeCamera(64, 48, 50.0, 50.0, 32.0, 24.0), "plumb_bob", (1e12, 0.0, 1e9, 1e9))
    with pytest.raises(InputError, match="would show nothing at all"):
        lens.valid_pixels()
