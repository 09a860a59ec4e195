"""Borders of label images brought to the colours' edges: shifted ones come back, exact ones stay."""

import numpy as np
import pytest

from instascene_core.config.segmentation import EdgeConfig
from instascene_core.frame import UNLABELLED
from instascene_core.segmentation.edges import band_width, border_offset, snap_to_edges

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


def test_borders_off_by_some_pixels_are_measured_and_brought_back():
    labels, image = picture()
    off = moved(labels, 3)
    band = band_width(border_offset([off], [image]), CONFIG)
    assert 3 < band < 8
    snapped = snap_to_edges(off, image, band, CONFIG)
    for label in (4, 7):
        assert iou(off, labels, label) < 0.9
        assert iou(snapped, labels, label) > 0.97
    assert set(np.unique(snapped)) == {UNLABELLED, 4, 7}


def test_exact_borders_are_left_alone():
    labels, image = picture(1)
    band = band_width(border_offset([labels], [image]), CONFIG)
    assert band < 0.5
    assert snap_to_edges(labels, image, band, CONFIG) is labels


def test_only_pixels_near_a_border_change():
    labels, image = picture(2)
    far = np.zeros_like(labels, dtype=bool)
    far[50:56, 40:46] = True  # deep in the first disc
    image[far] = (150, 140, 120)  # looks like the table
    snapped = snap_to_edges(moved(labels, 2), image, 4.0, CONFIG)
    assert (snapped[far] == 4).all()


def test_a_thing_thinner_than_the_doubt_does_not_vanish():
    labels, image = picture(3)
    labels[5:8, 20:140], image[5:8, 20:140] = 9, (20, 200, 30)
    snapped = snap_to_edges(labels, image, 5.0, CONFIG)
    assert iou(snapped, labels, 9) > 0.9


@pytest.mark.parametrize("value", [UNLABELLED, 3])
def test_an_image_of_one_label_has_no_borders(value):
    labels, (_, image) = np.full((40, 60), value, dtype=np.int32), picture()
    assert border_offset([labels], [image[:40, :60]]) == 0
    assert (snap_to_edges(labels, image[:40, :60], 3.0, CONFIG) == value).all()
    assert border_offset([], []) == 0


def test_no_band_is_in_doubt_where_the_setting_is_zero():
    assert band_width(3.0, EdgeConfig(band_offsets=0.0)) == 0
