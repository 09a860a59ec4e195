"""Masks damaged by what the image shows."""

import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.synthetic.segmenter_damage import SegmenterDamage, SegmenterErrors, damage_like_segmenter

HEIGHT, WIDTH = 120, 160
CAMERA = PinholeCamera(WIDTH, HEIGHT, 150.0, 150.0, 80.0, 60.0)
GREY, RED, BLUE = (120, 120, 120), (200, 40, 40), (40, 40, 200)
NONE = dict(
    missing=0.0, missing_small=0.0, missing_thin=0.0, missing_dark=0.0, split=0.0, merged=0.0,
    leak_share=0.0, jitter_share=0.0, bleeding=0.0, false_masks=0.0,
)  # fmt: skip


def errors(**changes) -> SegmenterErrors:
    return SegmenterErrors(**{**NONE, **changes})


def picture(things, turn_degrees=0.0) -> Frame:
    """A grey table 1 m away; things: (rows, columns, colour) boxes of ids 1, 2, … 0.1 m before it."""
    rgb = np.full((HEIGHT, WIDTH, 3), GREY, dtype=np.uint8)
    depth = np.ones((HEIGHT, WIDTH), dtype=np.float32)
    labels = np.full((HEIGHT, WIDTH), UNLABELLED, dtype=np.int32)
    for number, (rows, columns, color) in enumerate(things, 1):
        rgb[rows, columns], depth[rows, columns], labels[rows, columns] = color, 0.9, number
    pose = np.eye(4)
    angle = np.radians(turn_degrees)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Frame(f"{turn_degrees}", 0.0, CAMERA, pose, rgb, depth, labels)


PAIR = [(slice(40, 80), slice(40, 80), RED), (slice(40, 80), slice(80, 120), BLUE)]
TWINS = [(slice(40, 80), slice(40, 80), RED), (slice(40, 80), slice(80, 120), RED)]


def share(frame, error, check, times=100):
    """How often `check(labels)` holds over sequences of one frame."""
    return np.mean(
        [check(damage_like_segmenter([frame], np.random.default_rng(i), error)[0]) for i in range(times)]
    )


def test_without_errors_the_masks_are_true():
    frame = picture(PAIR)
    (labels,) = damage_like_segmenter([frame], np.random.default_rng(0), errors())
    pairs = np.unique(np.stack([labels, frame.require_labels()]).reshape(2, -1), axis=1)
    assert pairs.shape[1] == 3 and labels.dtype == np.int32 and set(pairs[0][pairs[1] < 0]) == {UNLABELLED}


def test_things_are_merged_where_nothing_parts_them():
    def one(labels):
        return labels[60, 60] == labels[60, 100]

    merging = errors(merged=0.5)
    assert 0.35 < share(picture(TWINS), merging, one) < 0.65
    assert share(picture(PAIR), merging, one) < 0.02
    apart = [TWINS[0], (slice(40, 80), slice(90, 120), RED)]
    assert share(picture(apart), merging, one) == 0, "they do not touch"


def test_cuts_follow_the_print_and_need_one():
    frame = picture([(slice(40, 80), slice(40, 120), RED)])
    plain = share(frame, errors(split=0.5), lambda labels: len(np.unique(labels[labels > 0])) > 1)
    rgb = frame.rgb.copy()
    rgb[40:80, 90:120] = BLUE  # not in the middle, where places alone would cut
    printed = frame.with_(rgb=rgb)
    split = share(printed, errors(split=0.5), lambda labels: len(np.unique(labels[labels > 0])) > 1)
    assert plain < 0.1 and split > 0.7
    # In columns beside the print's edge the label changes, in most of the views that cut.
    along = share(
        printed, errors(split=0.5), lambda labels: np.mean(labels[45:75, 87] != labels[45:75, 93]) > 0.9
    )
    assert along > 0.8 * split


@pytest.mark.parametrize(
    "rate, thing",
    [
        ("missing_small", (slice(50, 56), slice(50, 56), RED)),
        ("missing_thin", (slice(50, 51), slice(20, 140), RED)),
        ("missing_dark", (slice(40, 80), slice(40, 80), (10, 10, 10))),
    ],
)
def test_what_is_hard_to_see_is_missed_more_often(rate, thing):
    frame, large = picture([thing]), picture(PAIR[:1])
    if rate == "missing_dark":
        frame = frame.with_(rgb=np.minimum(frame.rgb, 12))  # dark on dark
    missing = errors(**{rate: 1.0})
    assert share(frame, missing, lambda labels: (labels < 0).all()) > 0.3
    assert share(large, missing, lambda labels: (labels < 0).all()) == 0


def test_errors_last_over_neighbouring_views_but_not_over_the_scene():
    def merged(turn, lasting, seed):
        damage = SegmenterDamage(np.random.default_rng(seed), errors(merged=0.5, lasting=lasting))
        both = [damage.labels_of(picture(TWINS, angle)) for angle in (0.0, turn)]
        return [image[60, 60] == image[60, 100] for image in both]

    def same(turn, lasting):
        return np.mean([a == b for a, b in (merged(turn, lasting, seed) for seed in range(100))])

    assert same(0.0, 0.0) == 1
    assert same(2.0, 0.0) > 0.8
    assert same(120.0, 0.0) < 0.65
    assert same(120.0, 1.0) == 1


def test_borders_move_where_the_image_has_no_edge():
    hidden = picture([(slice(30, 90), slice(40, 120), GREY)])
    hidden = hidden.with_(depth=np.ones_like(hidden.require_depth()))
    moving = errors(leak_share=0.03)

    def strays(frame):
        truth = frame.require_labels() > 0
        views = [damage_like_segmenter([frame], np.random.default_rng(i), moving)[0] for i in range(10)]
        return np.mean([((labels > 0) != truth).sum() for labels in views])

    clear = picture([(slice(30, 90), slice(40, 120), RED)])
    assert strays(hidden) > 5 * max(strays(clear), 1)


def test_shadows_become_masks_and_take_masks_with_them():
    frame = picture(PAIR[:1])
    rgb = frame.rgb.copy()
    rgb[80:95, 40:80] = 60  # under the thing
    shady = frame.with_(rgb=rgb)
    (labels,) = damage_like_segmenter([shady], np.random.default_rng(0), errors(false_masks=20.0))
    assert labels[87, 60] > 0 and labels[87, 60] != labels[60, 60] and (labels[:30] < 0).all()
    (plain,) = damage_like_segmenter([frame], np.random.default_rng(0), errors(false_masks=20.0))
    assert ((plain > 0) == (frame.require_labels() > 0)).all(), "a plain table has no highlights"
    (labels,) = damage_like_segmenter([shady], np.random.default_rng(0), errors(bleeding=1.0))
    assert labels[85, 60] == labels[60, 60] and (labels[60, 85:] < 0).all()


def test_one_seed_gives_the_same_bits_and_bad_rates_are_refused():
    frames = [picture(PAIR, angle) for angle in (0.0, 10.0, 20.0)]
    one, two, other = (damage_like_segmenter(frames, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))
    with pytest.raises(InputError, match="'split' must lie in 0 … 1, got 2"):
        errors(split=2.0)
    with pytest.raises(InputError, match="'persistence_degrees'"):
        errors(persistence_degrees=0.0)
