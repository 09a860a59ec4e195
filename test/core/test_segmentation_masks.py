"""From scored, overlapping masks to one label image: by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config.segmentation import MaskConfig, PublicSegmentersConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.geometry import Plane
from instascene_core.segmentation import PublicSegmenter, Support
from instascene_core.segmentation.public.mask_set import (
    MaskSet,
    label_image,
    masks_of_queries,
    without_repetitions,
)

CONFIG, MASKS = PublicSegmentersConfig(min_visible_share=0.3), MaskConfig(min_mask_pixels=1)
SIZE = 12


def frame_of(height=SIZE, width=SIZE, **changes):
    camera = PinholeCamera(width, height, 10.0, 10.0, width / 2, height / 2)
    return Frame("view", 0.0, camera, np.eye(4), np.zeros((height, width, 3), np.uint8), **changes)


def square(y0, x0, y1, x1, size=SIZE):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def labelled(masks, scores, frame=None, tidying=MASKS, **settings):
    found = MaskSet(torch.stack(masks), np.array(scores, dtype=np.float64))
    return label_image(found, frame or frame_of(), dataclasses.replace(CONFIG, **settings), tidying)


def test_ids_follow_the_score():
    a, b = square(0, 0, 4, 4), square(6, 6, 12, 12)
    result = labelled([a, b], [0.6, 0.9])
    assert result.scores == {1: 0.9, 2: 0.6} and result.labels.dtype == np.int32
    expected = np.full((SIZE, SIZE), UNLABELLED)
    expected[6:12, 6:12], expected[0:4, 0:4] = 1, 2
    np.testing.assert_array_equal(result.labels, expected)


def test_who_gets_a_pixel_of_two_masks():
    whole, part = square(0, 0, 8, 8), square(2, 2, 6, 6)
    by_score = labelled([whole, part], [0.8, 0.9])
    assert (by_score.labels == 1).sum() == 16 and (by_score.labels == 2).sum() == 48
    hidden = labelled([whole, part], [0.9, 0.8])  # nothing of the part is left
    assert hidden.scores == {1: 0.9} and (hidden.labels == 1).sum() == 64
    smallest = labelled([whole, part], [0.9, 0.8], overlap_order="smallest")
    assert smallest.scores == {1: 0.9, 2: 0.8}
    np.testing.assert_array_equal(smallest.labels == 2, part.numpy())
    tie = labelled([part, whole], [0.9, 0.9])  # the larger one first
    assert tie.scores == {1: 0.9} and (tie.labels == 1).sum() == 64


def test_a_mask_of_which_little_is_left_takes_nothing():
    first, second = square(0, 0, 12, 8), square(0, 0, 12, 11)  # 36 of 132 pixels are left
    masks, scores = [first, second], [0.9, 0.8]
    assert labelled(masks, scores, min_visible_share=0.3, max_mask_overlap=0.99).scores == {1: 0.9}
    result = labelled(masks, scores, min_visible_share=0.25, max_mask_overlap=0.99)
    assert result.scores == {1: 0.9, 2: 0.8} and (result.labels == 2).sum() == 36


def test_masks_that_repeat_one_another():
    a, b, c = square(0, 0, 10, 10), square(0, 0, 9, 10), square(0, 0, 5, 10)  # IoU 0.9, 0.5, 0.556
    masks = torch.stack([a, b, c]).numpy()
    scores = np.array([0.7, 0.9, 0.8])
    assert without_repetitions(masks, scores, 0.7).tolist() == [1, 2]
    assert without_repetitions(masks, scores, 0.55).tolist() == [1]
    assert without_repetitions(masks, scores, 0.95).tolist() == [1, 2, 0]
    assert without_repetitions(masks[:0], scores[:0], 0.5).tolist() == []


def test_suppression_equals_the_plain_definition():
    rng = np.random.default_rng(0)
    masks = np.stack([_random_box(rng) & (rng.random((20, 20)) < 0.9) for _ in range(60)])
    masks[:, 0, 0] = True  # none empty
    scores = np.round(rng.random(60), 2)  # with ties
    for limit in (0.1, 0.3, 0.6):
        kept = []
        for i in sorted(range(60), key=lambda i: (-scores[i], -masks[i].sum(), i)):
            overlaps = [(masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum() for j in kept]
            if max(overlaps, default=0) <= limit:
                kept.append(i)
        assert without_repetitions(masks, scores, limit).tolist() == kept and 1 < len(kept) < 60


def _random_box(rng):
    mask = np.zeros((20, 20), dtype=bool)
    y, x = rng.integers(0, 14, 2)
    height, width = rng.integers(3, 12, 2)
    mask[y : y + height, x : x + width] = True
    return mask


def test_small_masks_and_pieces_go():
    speck, object_ = square(0, 0, 2, 2), square(5, 5, 10, 10) | square(0, 10, 1, 12)
    result = labelled([speck, object_], [0.9, 0.8], tidying=MaskConfig(min_mask_pixels=5))
    assert result.scores == {1: 0.8}
    np.testing.assert_array_equal(result.labels == 1, square(5, 5, 10, 10).numpy())


def test_no_detections():
    nothing = MaskSet(torch.zeros(0, 4, 4), np.zeros(0))
    for result in (
        label_image(nothing, frame_of(), CONFIG, MASKS),
        labelled([square(0, 0, 5, 5)], [0.4]),  # not sure enough
        labelled([square(0, 0, 0, 0)], [0.9]),  # empty
    ):
        assert (result.labels == UNLABELLED).all() and result.scores == {}
        assert "No mask was found in 'view'" in result.warnings[0]


def test_logits_are_interpolated_before_they_are_cut():
    """A row of logits −1, 1 at 2 pixels on 4 pixels: −1, −½, ½, 1; on an image that is no multiple of it."""
    found = MaskSet(torch.tensor([[[-1.0, 1.0]]]), np.array([0.9]))
    result = label_image(found, frame_of(height=3, width=4), CONFIG, MASKS)
    assert result.labels.tolist() == [[UNLABELLED, UNLABELLED, 1, 1]] * 3
    shifted = MaskSet(torch.tensor([[[-0.3, 1.0]]]), np.array([0.9]))  # −0.3, 0.025, 0.675, 1
    assert label_image(shifted, frame_of(height=3, width=4), CONFIG, MASKS).labels[0].tolist() == [
        UNLABELLED,
        1,
        1,
        1,
    ]
    half = MaskSet(found.masks.half(), found.scores)
    np.testing.assert_array_equal(
        label_image(half, frame_of(height=3, width=4), CONFIG, MASKS).labels, result.labels
    )


def test_tiny_images_and_pixels_outside():
    dot = label_image(MaskSet(torch.ones(1, 8, 8), np.array([0.9])), frame_of(1, 1), CONFIG, MASKS)
    assert dot.labels.tolist() == [[1]] and dot.scores == {1: 0.9}
    valid = np.ones((SIZE, SIZE), dtype=bool)
    valid[:, :3] = False
    result = labelled([square(0, 0, 12, 12)], [0.9], frame_of(valid=valid))
    np.testing.assert_array_equal(result.labels == 1, valid)


def test_five_hundred_masks_in_one_frame():
    size, step = 120, 5
    corners = [(y, x) for y in range(0, size, step) for x in range(0, size, step)][:500]
    masks = [square(y, x, y + 4, x + 4, size) for y, x in corners]
    result = labelled(masks, np.linspace(0.95, 0.55, 500), frame_of(size, size))
    assert len(result.scores) == 500
    for number, (y, x) in enumerate(corners, start=1):
        assert (result.labels[y : y + 4, x : x + 4] == number).all()


def test_queries_count_whatever_their_class():
    """Softmax of (a, b, none) by hand; a mask's quality is the mean sigmoid inside it."""
    class_logits = torch.log(torch.tensor([[0.45, 0.45, 0.1], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]]))
    certain = torch.logit(torch.tensor(0.8))
    mask_logits = torch.stack([torch.full((2, 2), certain), torch.ones(2, 2), -torch.ones(2, 2)])
    mask_logits[0, 0] = -5.0
    found = masks_of_queries(class_logits, mask_logits, 0.5)
    assert found.scores == pytest.approx([0.9 * 0.8])  # the others: no object; an empty mask
    assert (found.masks[0] > 0).tolist() == [[False, False], [True, True]]
    assert len(masks_of_queries(class_logits, mask_logits, 0.73).scores) == 0
    with pytest.raises(InputError, match="NaN"):
        masks_of_queries(class_logits * torch.nan, mask_logits, 0.5)


class Halves:
    """Proposes the upper and the lower half of every image."""

    name, device = "halves", torch.device("cpu")

    def propose(self, rgb, report):
        logits = torch.full((2, 4, 4), -1.0)
        logits[0, :2], logits[1, 2:] = 1.0, 1.0
        return MaskSet(logits, np.array([0.9, 0.8]))


def test_masks_of_the_support_are_left_out():
    """A camera looks along z at a wall 1 m away; before its upper half something stands at 0.8 m."""
    depth = np.ones((SIZE, SIZE), dtype=np.float32)
    depth[: SIZE // 2] = 0.8
    support = Support(
        plane=Plane(np.array([0.0, 0.0, -1.0]), -1.0), extent=None, walls=(), tolerance=0.01, noise=0.0025
    )
    seen = PublicSegmenter(Halves(), CONFIG, MASKS, support).segment(frame_of(depth=depth))
    assert seen.scores == {1: 0.9} and (seen.labels[: SIZE // 2] == 1).all()
    assert (seen.labels[SIZE // 2 :] == UNLABELLED).all()
    lenient = dataclasses.replace(CONFIG, max_structure_share=1.0)
    both = {1: 0.9, 2: 0.8}
    assert PublicSegmenter(Halves(), lenient, MASKS, support).segment(frame_of(depth=depth)).scores == both
    for known, frame in (
        (None, frame_of(depth=depth)),  # nothing is known of a support,
        (support, frame_of()),  # or of the depth,
        (support, frame_of(depth=np.zeros_like(depth))),  # or nothing was measured
    ):
        assert PublicSegmenter(Halves(), CONFIG, MASKS, known).segment(frame).scores == both
