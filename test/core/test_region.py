"""The region of interest: which of the things found are wanted."""

from dataclasses import replace

import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.config import Config
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.scene.region import box_of_region, kinds_in_region
from instascene_core.segmentation.support import Extent, Support
from instascene_core.transforms import look_at

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
EYES = [np.array([np.cos(a), np.sin(a), 0.6]) for a in np.linspace(-0.6, 0.6, 5)]
TABLE = Support(
    Plane(np.array([0.0, 0.0, 1.0]), 0.0),
    Extent(np.eye(3)[:2], np.array([-0.5, -0.5]), 0.05, np.ones((20, 20), dtype=bool)),
    (Plane(np.array([1.0, 0.0, 0.0]), -0.5),),
    0.005,
    0.001,
)


def blob(centre, size=0.02, seed=0) -> np.ndarray:
    return np.asarray(centre) + np.random.default_rng(seed).uniform(-size, size, (60, 3))


def scene(things: dict[int, np.ndarray]):
    """(gaussian labels, means, views that look at the origin, their label images) of things [60, 3]."""
    means = np.concatenate(list(things.values()))
    labels = np.repeat(list(things), [len(p) for p in things.values()]).astype(np.int32)
    views, images = [], {}
    for number, eye in enumerate(EYES):
        pose = look_at(eye, np.zeros(3))
        image = np.full((48, 64), -1, dtype=np.int32)
        camera_points = (means - pose[:3, 3]) @ pose[:3, :3]
        pixels, _ = CAMERA.project(camera_points)
        for (x, y), label, z in zip(pixels, labels, camera_points[:, 2], strict=True):
            if z > 0:
                rows, columns = round(float(y)), round(float(x))
                image[max(rows - 2, 0) : max(rows + 3, 0), max(columns - 2, 0) : max(columns + 3, 0)] = label
        frame = Frame(
            str(number), 0.0, CAMERA, pose, np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32)
        )
        views.append(frame)
        images[frame.name] = image
    return labels, means, views, images


def kinds(things, region="auto", support=TABLE):
    labels, means, views, images = scene(things)
    config = replace(Config(), region=region)
    return kinds_in_region(list(things), labels, means, views, images, support, config)


def test_on_the_table_at_the_wall_and_far_behind():
    found = kinds(
        {1: blob((0.0, 0, 0.03)), 2: blob((-0.49, 0.0, 0.15), 0.008), 3: blob((-3.0, 0.2, 0.03), 0.2)}
    )
    assert found == {1: "object", 2: "fixture", 3: "outside"}


def test_all_and_a_box():
    things = {1: blob((0.0, 0, 0.03)), 3: blob((-3.0, 0.2, 0.03), 0.2)}
    assert set(kinds(things, "all").values()) == {"object"}
    assert kinds(things, "-4 -1 -1 -2 1 1") == {1: "outside", 3: "object"}
    assert kinds(things, "-0.2,-0.2,0,0.2,0.2,0.2") == {1: "object", 3: "outside"}


def test_what_the_images_border_cuts_in_most_views_is_outside():
    found = kinds({1: blob((0.0, 0, 0.03)), 2: blob((0.1, 0.0, 0.42), 0.1)}, support=None)
    assert found == {1: "object", 2: "outside"}


def test_a_region_without_anything_is_no_region(caplog):
    assert kinds({3: blob((-3.0, 0.2, 0.03), 0.2)}) == {3: "object"}
    assert "all that was found is kept" in caplog.text


@pytest.mark.parametrize("region", ["table", "1 2 3", "0 0 0 1 1 x", "0 0 0 1 0 1", "nan 0 0 1 1 1"])
def test_a_bad_region_is_one_sentence(region):
    with pytest.raises(InputError, match="region"):
        box_of_region(region)
    with pytest.raises(InputError, match="region"):
        kinds({1: blob((0.0, 0, 0.03))}, region)
