"""When an image counts as blurred."""

import numpy as np
import pytest

from instascene_ros.blur_watch import FIRST, NEWEST, BlurWatch

cv2 = pytest.importorskip("cv2")


def picture(seed: int, blur: float = 0.0) -> np.ndarray:
    """[120, 160, 3] uint8 of its own content."""
    noise = np.random.default_rng(seed).normal(size=(120, 160))
    octaves = sum(2**k * cv2.GaussianBlur(noise, (0, 0), 2.0**k) for k in range(4))
    if blur:
        octaves = cv2.GaussianBlur(octaves, (0, 0), blur)
    return np.stack([np.clip(120 + 40 * octaves, 0, 255).astype(np.uint8)] * 3, axis=-1)


def test_content_does_not_matter_and_blur_does():
    watch = BlurWatch(0.8)
    assert not any(watch.is_blurred(picture(seed), "left") for seed in range(20))
    assert watch.is_blurred(picture(20, blur=2.0), "left")
    assert not watch.is_blurred(picture(21), "left")


def test_each_camera_is_measured_by_itself():
    watch = BlurWatch(0.8)
    for seed in range(NEWEST):
        watch.is_blurred(picture(seed), "left")
        assert not watch.is_blurred(picture(seed, blur=2.0), "right")  # a softer lens


def test_the_first_ones_and_those_after_a_long_fast_move_pass():
    watch = BlurWatch(0.8)
    assert [watch.is_blurred(picture(k, blur=2.0 * (k == 1)), "") for k in range(FIRST)] == [False] * FIRST
    results = [watch.is_blurred(picture(k, blur=2.0), "") for k in range(100, 100 + NEWEST)]
    assert results[0] and not results[-1]


def test_nothing_is_left_out_where_it_is_switched_off_or_cleared():
    watch = BlurWatch(0.0)
    assert not any(watch.is_blurred(picture(k, blur=3.0 * (k > 5)), "") for k in range(8))
    watch = BlurWatch(0.8)
    for seed in range(NEWEST):
        watch.is_blurred(picture(seed), "")
    watch.clear()
    assert not watch.is_blurred(picture(50, blur=2.0), "")


def test_an_image_of_one_colour_is_no_matter_of_blur():
    watch = BlurWatch(0.8)
    assert not any(watch.is_blurred(np.full((48, 64, 3), 120, np.uint8), "") for _ in range(5))
