"""Label images of few views, carried to the others: what masks say of pairs of patches, and whole frames."""

import numpy as np
import pytest
from test_segmentation import boxes_on_table

from instascene_core.config import SegmentationConfig
from instascene_core.config.segmentation import GivenMasksConfig
from instascene_core.frame import UNLABELLED
from instascene_core.metrics import multi_view_iou
from instascene_core.segmentation import GivenLabels, make_segmenter
from instascene_core.segmentation.fused_surface.contacts import PatchPairs
from instascene_core.segmentation.fused_surface.mask_votes import (
    DIFFERENT,
    ONE_SIDED,
    SAME,
    SILENT,
    MaskVotes,
    combine,
    votes_of_masks,
)
from instascene_core.segmentation.propagated import PropagatedLabels

CONFIG = GivenMasksConfig()


def pairs_of(first, second) -> PatchPairs:
    count = len(first)
    return PatchPairs(
        np.asarray(first), np.asarray(second), np.ones(count, dtype=bool), np.ones(count), np.ones(count),
        np.zeros((count, 1), dtype=np.float32),
    )  # fmt: skip


def test_what_a_view_says_of_each_pair():
    patch = np.repeat(np.arange(5), 10)  # five patches of ten elements, a pixel each
    element = np.arange(50).reshape(5, 10)
    element[4, 3:] = -1  # three pixels of the last: too few
    labels = np.full((5, 10), UNLABELLED, dtype=np.int32)
    labels[0], labels[1], labels[2] = 7, 7, 9
    pairs = pairs_of([0, 0, 0, 0, 3], [1, 2, 3, 4, 4])
    votes = votes_of_masks([None, labels], [element, element], patch, pairs, CONFIG)
    assert votes.said.tolist() == [[SAME, DIFFERENT, ONE_SIDED, SILENT, SILENT]]
    assert votes.num_masks.tolist() == [2]
    assert votes.heard.tolist() == [True, True, True, False, False]
    labels[1, :5] = 9  # half in one mask, half in another
    assert votes_of_masks([labels], [element], patch, pairs, CONFIG).said[0, 0] == SILENT


def said_by(two, right, rng):
    """One view's word on each pair: true with the probability `right`."""
    truth = np.where(two, DIFFERENT, SAME)
    return np.where(rng.random(len(two)) < right, truth, np.where(two, SAME, DIFFERENT)).astype(np.uint8)


def test_reliable_views_decide_and_others_do_not():
    rng = np.random.default_rng(0)
    two = rng.random(2000) < 0.3
    prior = np.where(two, 1.0, -1.0) + rng.normal(0, 2, len(two))
    pairs = pairs_of(np.zeros(len(two), int), np.ones(len(two), int))

    def share_right(odds):
        return np.mean((odds > 0) == two)

    assert share_right(prior) < 0.75
    good = MaskVotes(np.stack([said_by(two, 0.9, rng) for _ in range(3)]), np.full(3, 10.0))
    assert share_right(combine(prior, good, pairs, CONFIG)) > 0.93
    # Nine views that say anything do not drown the three: their rates are found out.
    noise = np.stack([said_by(two, 0.5, rng) for _ in range(9)])
    mixed = MaskVotes(np.concatenate([good.said, noise]), np.full(12, 30.0))
    assert share_right(combine(prior, mixed, pairs, CONFIG)) > 0.9
    equal = np.where(mixed.said == DIFFERENT, 1, -1).sum(axis=0) + prior
    assert share_right(equal) < 0.87, "every view counted alike"
    nothing = MaskVotes(np.zeros((2, len(two)), dtype=np.uint8), np.full(2, 10.0))
    limit = CONFIG.max_own_log_odds
    np.testing.assert_array_equal(combine(prior, nothing, pairs, CONFIG), np.clip(prior, -limit, limit))


# Two boxes side by side with one colour: only masks tell them apart.
TWINS = [((-0.10, -0.05, 0.0), (0.0, 0.05, 0.08)), ((0.0, -0.05, 0.0), (0.10, 0.05, 0.08))]


@pytest.fixture(scope="module")
def twins():
    frames = boxes_on_table(TWINS, views=8, noise=0.0005)
    red = np.array([200, 60, 60], np.uint8)
    return [f.with_(rgb=np.where((f.require_labels() > 0)[..., None], red, f.rgb)) for f in frames]


def test_three_views_with_masks_part_twins_in_all_views(twins):
    few = [f if i in (1, 3, 5) else f.with_(labels=None) for i, f in enumerate(twins)]
    segmenter = make_segmenter(SegmentationConfig(), few)
    assert isinstance(segmenter, PropagatedLabels) and segmenter.name == "labels"
    images = [segmenter.segment(f).labels for f in few]
    truth = [f.require_labels() for f in twins]
    assert min(multi_view_iou(images, truth).iou.values()) > 0.85
    builtin = make_segmenter(SegmentationConfig(segmenter="builtin"), few)
    alone = multi_view_iou([builtin.segment(f).labels for f in few], truth)
    assert alone.miou < 0.6, "without masks nothing parts them, or the test shows nothing"


def test_masks_on_what_the_surface_does_not_know_are_kept(twins):
    labels = twins[1].require_labels().copy()
    labels[200:220, 20:60] = 9  # on the table
    few = [twins[1].with_(labels=labels), *(f.with_(labels=None) for f in twins[2:])]
    segmenter = make_segmenter(SegmentationConfig(), few)
    found = segmenter.segment(few[0])
    own = np.unique(found.labels[200:220, 20:60])
    assert len(own) == 1 and own[0] > 0 and (found.labels == own[0]).sum() == 800
    assert found.scores[int(own[0])] == 1.0


def test_masks_decide_alone_where_most_frames_have_them_or_nothing_else_is_known(twins):
    def kind(frames, **settings):
        return type(make_segmenter(SegmentationConfig(**settings), frames))

    few = [twins[0], *(f.with_(labels=None) for f in twins[1:])]
    assert kind(twins) is GivenLabels
    assert kind([*twins[:4], *few[4:]]) is GivenLabels, "half of the frames"
    assert kind(few, ids_agree=True) is GivenLabels
    assert kind([f.with_(depth=None) for f in few]) is GivenLabels
    assert kind(few, given=GivenMasksConfig(alone_from=0.0)) is GivenLabels
    assert kind(few) is PropagatedLabels
