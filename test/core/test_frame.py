"""Frames and their cameras at another size, or cut to a rectangle: against numbers worked out by hand."""

import dataclasses

import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame

WIDTH, HEIGHT = 8, 6


def full_frame() -> Frame:
    """A frame with a different value in every pixel of every image."""
    rng = np.random.default_rng(0)
    number = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    normals = rng.normal(size=(HEIGHT, WIDTH, 3))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    return Frame(
        name="full",
        stamp=4.0,
        camera=PinholeCamera(WIDTH, HEIGHT, 10.0, 20.0, 4.5, 2.5),
        world_from_camera=pose,
        rgb=np.stack([number, 2 * number, 255 - number], axis=2).astype(np.uint8),
        depth=(1 + number).astype(np.float32),
        labels=(1 + number).astype(np.int32),
        valid=number % 3 > 0,
        normals=normals.astype(np.float32),
        estimated_depth=(2 + number).astype(np.float32),
    )


def images_of(frame: Frame) -> dict[str, np.ndarray]:
    """Every field of a frame that is not among the four of the frame as a whole; none may be None."""
    whole = {"name", "stamp", "camera", "world_from_camera"}
    found = {f.name: getattr(frame, f.name) for f in dataclasses.fields(Frame) if f.name not in whole}
    lacking = [name for name, image in found.items() if image is None]
    assert not lacking, f"full_frame() has to give a new field a value: {lacking}"
    return found


@pytest.mark.parametrize(("width", "height"), [(4, 3), (5, 4), (16, 12)])
def test_every_image_of_a_frame_is_resized(width, height):
    frame = full_frame()
    resized = frame.resized(width, height)
    assert (resized.camera.width, resized.camera.height) == (width, height)
    for name, image in images_of(resized).items():
        assert image.shape[:2] == (height, width), name
        assert image.dtype == getattr(frame, name).dtype, name
    assert (resized.name, resized.stamp) == ("full", 4.0)
    np.testing.assert_array_equal(resized.world_from_camera, frame.world_from_camera)


def test_every_image_of_a_frame_is_cropped():
    frame = full_frame()
    cropped = frame.cropped(2, 1, 7, 4)
    assert (cropped.camera.width, cropped.camera.height) == (5, 3)
    for name, image in images_of(cropped).items():
        np.testing.assert_array_equal(image, getattr(frame, name)[1:4, 2:7], err_msg=name)
    np.testing.assert_array_equal(cropped.camera.rays, frame.camera.rays[1:4, 2:7])


def test_pixels_that_do_not_count_any_more_say_nothing():
    frame, gone = full_frame(), np.zeros((HEIGHT, WIDTH), dtype=bool)
    gone[2:4, 3:6] = True
    rest = frame.without(gone)
    for name, nothing in {"depth": 0, "estimated_depth": 0, "labels": UNLABELLED, "valid": False}.items():
        image, before = getattr(rest, name), getattr(frame, name)
        assert image.dtype == before.dtype and (image[gone] == nothing).all(), name
        np.testing.assert_array_equal(image[~gone], before[~gone], err_msg=name)
    bare = Frame("bare", 0.0, frame.camera, frame.world_from_camera, frame.rgb).without(gone)
    np.testing.assert_array_equal(bare.valid, ~gone)
    assert bare.depth is None and bare.estimated_depth is None and bare.labels is None


def test_half_the_size_averages_colours_and_picks_the_rest():
    frame = full_frame()
    half = frame.resized(4, 3)
    assert half.camera == PinholeCamera(4, 3, 5.0, 10.0, 2.25, 1.25)
    means = frame.rgb.reshape(3, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(half.rgb - means).max() <= 0.5  # rounded
    # Four pixels are equally near; it is the lower right one.
    for name in ("depth", "labels", "valid", "normals", "estimated_depth"):
        np.testing.assert_array_equal(getattr(half, name), getattr(frame, name)[1::2, 1::2], err_msg=name)


def test_normals_stay_unit():
    length = np.linalg.norm(full_frame().resized(5, 4).normals, axis=2)
    np.testing.assert_allclose(length, 1, atol=1e-6)


def test_what_a_frame_lacks_stays_absent():
    frame = full_frame().with_(depth=None, labels=None, valid=None, normals=None)
    for changed in (frame.resized(4, 3), frame.cropped(0, 0, 4, 3)):
        assert changed.depth is changed.labels is changed.valid is changed.normals is None


@pytest.mark.parametrize("rectangle", [(0, 0, 9, 6), (-1, 0, 4, 3), (3, 2, 3, 4), (0, 4, 8, 2)])
def test_rectangles_beyond_the_image_are_refused(rectangle):
    with pytest.raises(InputError, match="is empty or not inside the image of 8×6 pixels"):
        full_frame().cropped(*rectangle)
    with pytest.raises(InputError, match="is empty or not inside the image of 8×6 pixels"):
        full_frame().camera.cropped(*rectangle)
