"""Borders of label images brought to where things end: shifted ones come back, exact ones stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config.segmentation import EdgeConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.scene.sharpening import sharpened
from instascene_core.segmentation.border_network import (
    CHANNELS,
    WEIGHTS,
    BorderNetwork,
    for_inference,
    load_border_network,
    save_border_network,
)
from instascene_core.segmentation.borders import REACH, BorderRefiner, Way, border_input, doubt_of
from instascene_core.segmentation.color_vote import snap_to_edges
from instascene_core.segmentation.edges import border_offset

CONFIG = EdgeConfig()


def picture(seed: int = 0):
    """(labels [120, 160], image): two discs, one in front of the other, on a speckled table."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :160]
    labels = np.full((120, 160), UNLABELLED, dtype=np.int32)
    labels[(y - 60) ** 2 + (x - 60) ** 2 < 30**2] = 4
    labels[(y - 65) ** 2 + (x - 95) ** 2 < 25**2] = 7
    colors = {UNLABELLED: (150, 140, 120), 4: (60, 90, 160), 7: (170, 60, 50)}
    image = np.zeros((120, 160, 3))
    for label, color in colors.items():
        image[labels == label] = color
    return labels, np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def moved(labels: np.ndarray, by: int) -> np.ndarray:
    return np.roll(labels, by, axis=1)


def iou(found: np.ndarray, truth: np.ndarray, label: int) -> float:
    both = ((found == label) & (truth == label)).sum()
    return both / ((found == label) | (truth == label)).sum()


def seen(image: np.ndarray, name: str = "a") -> Frame:
    height, width = image.shape[:2]
    camera = PinholeCamera(width, height, 200.0, 200.0, width / 2, height / 2)
    return Frame(name, 0.0, camera, np.eye(4), image)


@pytest.fixture(scope="module")
def refiner() -> BorderRefiner:
    return BorderRefiner.from_config(CONFIG)


def test_borders_off_by_some_pixels_are_measured_and_brought_back(refiner):
    labels, image = picture()
    off = moved(labels, 3)
    offset = refiner.offset_of([off], [image])
    assert 1 < offset < 4
    found = refiner.refined(off, image, None, offset)
    for label in (4, 7):
        assert iou(off, labels, label) < 0.9
        assert iou(found, labels, label) > 0.95
    assert set(np.unique(found)) == {UNLABELLED, 4, 7}


def test_the_way_is_taken_that_brings_borders_nearest_to_edges(refiner):
    """Whichever it is, borders lie no further off than they did, and not as by the other ways."""
    labels, image = picture()
    view, off = seen(image), moved(labels, 3)
    best = refiner.best_way([off], [view])
    assert best.by != "nothing" and best.offset == pytest.approx(border_offset([off], [image]))
    left = {
        by: border_offset([refiner.moved(off, image, None, Way(by, best.offset))], [image])
        for by in ("nothing", "network", "vote")
    }
    assert left[best.by] == min(left.values()) < 0.8 * left["nothing"]
    assert refiner.best_way([], []) == Way()
    assert np.array_equal(refiner.moved(off, image, None, Way()), off)


def test_the_network_is_no_way_where_borders_seem_exact():
    labels, image = picture(1)
    strict = BorderRefiner.from_config(replace(CONFIG, least_offset=100.0))
    assert strict.best_way([moved(labels, 3)], [seen(image)]).by == "vote"


def test_the_vote_brings_borders_back_and_keeps_what_is_thinner_than_the_doubt():
    labels, image = picture()
    found = snap_to_edges(moved(labels, 3), image, 5.0)
    for label in (4, 7):
        assert iou(found, labels, label) > 0.95
    labels, image = picture(3)
    labels[5:8, 20:140], image[5:8, 20:140] = 9, (20, 200, 30)
    assert iou(snap_to_edges(labels, image, 5.0), labels, 9) > 0.9
    whole = np.full((40, 60), 3, dtype=np.int32)
    assert (snap_to_edges(whole, image[:40, :60], 3.0) == 3).all()


def test_exact_borders_are_left_alone(refiner):
    labels, image = picture(1)
    offset = refiner.offset_of([labels], [image])
    assert offset == 0
    assert refiner.refined(labels, image, None, offset) is labels


def test_only_pixels_near_a_border_change(refiner):
    labels, image = picture(2)
    far = np.zeros_like(labels, dtype=bool)
    far[50:56, 40:46] = True  # deep in the first disc
    image[far] = (150, 140, 120)  # looks like the table
    off = moved(labels, 2)
    found = refiner.refined(off, image, None, 2.0)
    changed = found != off
    assert changed.any() and not changed[far].any()
    doubt = doubt_of(off)
    assert doubt is not None and doubt.distance[changed].max() <= REACH


@pytest.mark.parametrize("value", [UNLABELLED, 0, 3])
def test_without_a_border_nothing_changes(value, refiner):
    _, image = picture()
    labels = np.full((40, 60), value, dtype=np.int32)
    assert doubt_of(labels) is None
    assert refiner.offset_of([labels], [image[:40, :60]]) == 0
    np.testing.assert_array_equal(refiner.refined(labels, image[:40, :60], None, 3.0), labels)


def test_what_lies_beyond_the_nearest_border():
    labels = np.array([[0, 0, 0, 5, 5, 5, 5], [0, 0, 0, 5, 5, 5, 5]])
    doubt = doubt_of(labels)
    assert doubt is not None
    np.testing.assert_allclose(doubt.distance[0], [2.5, 1.5, 0.5, 0.5, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(labels[doubt.beyond][0], [5, 5, 5, 0, 0, 0, 0])
    np.testing.assert_allclose(doubt.column[0], [1, 1, 1, -1, -1, -1, -1])
    np.testing.assert_allclose(doubt.row, 0)


def test_inputs_compare_a_pixel_with_both_sides():
    labels, image = picture(3)
    labels, image = labels[40:80, 40:90], image[40:80, 40:90]
    depth = np.where(labels > 0, 1.0, 1.05).astype(np.float32)
    depth[0, 0] = 0
    doubt = doubt_of(labels)
    assert doubt is not None
    inputs = border_input(image, depth, labels, doubt, 1.5)
    assert inputs.shape == (CHANNELS, 40, 50) and np.abs(inputs).max() <= 2
    measured, distance = inputs[17], inputs[18]
    assert measured[0, 0] == 0 and measured.sum() == measured.size - 1
    np.testing.assert_allclose(distance, np.minimum(doubt.distance / REACH, 2), atol=1e-6)
    without = border_input(image, None, labels, doubt, 1.5)
    assert not without[15:18].any()
    np.testing.assert_array_equal(without[:15], inputs[:15])


def test_the_faster_network_says_the_same():
    network = load_border_network()
    inputs = torch.randn(1, CHANNELS, 31, 45, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(for_inference(network)(inputs), network(inputs), atol=1e-4, rtol=1e-4)


def test_weights_are_written_and_read(tmp_path):
    torch.manual_seed(0)
    network = BorderNetwork((4, 6)).eval()
    save_border_network(network, tmp_path / "b.safetensors", {})
    again = load_border_network(tmp_path / "b.safetensors")
    inputs = torch.zeros(1, CHANNELS, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(again(inputs), network(inputs), atol=1e-2, rtol=1e-2)
    with pytest.raises(InputError, match="border network"):
        load_border_network(WEIGHTS.with_name("contacts.safetensors"))
    with pytest.raises(InputError, match="no weights"):
        BorderRefiner.from_config(replace(CONFIG, weights=str(tmp_path / "none.safetensors")))


def test_label_images_are_sharpened_and_structure_stays():
    labels, image = picture()
    off = moved(labels, 3)
    images = {"a": np.where(off > 0, off, np.where(np.arange(120)[:, None] < 40, 90, 91)).astype(np.int32)}
    found = sharpened(images, [seen(image)], [4, 7], CONFIG, 320 * 240)["a"]
    for label in (4, 7):
        assert iou(found, labels, label) > 0.95
    assert set(np.unique(found)) == {4, 7, 90, 91}
    kept = np.isin(found, (90, 91)) & np.isin(images["a"], (90, 91))
    np.testing.assert_array_equal(found[kept], images["a"][kept])


def test_large_label_images_are_sharpened_at_a_smaller_size():
    labels, image = picture()
    double = [np.repeat(np.repeat(array, 2, axis=0), 2, axis=1) for array in (moved(labels, 3), image)]
    found = sharpened({"a": double[0]}, [seen(double[1])], [4, 7], CONFIG, 160 * 120)["a"]
    truth = np.repeat(np.repeat(labels, 2, axis=0), 2, axis=1)
    assert found.shape == truth.shape and min(iou(found, truth, label) for label in (4, 7)) > 0.94


def test_exact_label_images_stay():
    labels, image = picture(1)
    assert sharpened({"a": labels}, [seen(image)], [4, 7], CONFIG, 320 * 240)["a"] is labels
    assert sharpened({"a": labels}, [seen(image)], [], CONFIG, 320 * 240)["a"] is labels


def test_label_images_stay_where_borders_would_lie_further_off(monkeypatch):
    labels, image = picture()
    off = moved(labels, 2)
    row, column = np.mgrid[:120, :160]
    monkeypatch.setattr(BorderRefiner, "labels_taken", lambda *_: (row, (column - 3) % 160))
    frames = [seen(image), seen(image, "b")]
    images = {"a": off, "b": off}
    found = sharpened(images, frames, [4, 7], CONFIG, 320 * 240)
    assert found["a"] is off and found["b"] is off
