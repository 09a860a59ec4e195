"""PartNet's scores of part instances, by hand."""

import numpy as np
import pytest

from instascene_core.errors import InputError
from instascene_core.metrics.parts import ShapeParts, interpolated_precision, part_scores


def shape(true_part, true_name, predicted_part, predicted_name, confidence) -> ShapeParts:
    """Ten points a letter: each list has one entry a group of ten points."""
    return ShapeParts(*(np.repeat(np.array(v), 10) for v in
                        (true_part, true_name, predicted_part, predicted_name, confidence)))  # fmt: skip


def test_precision_read_at_101_recalls():
    # Two true parts; surest is right, next wrong, next right: precision 1 up to recall 0.5, 2/3 up to 1.
    wanted = (51 * 1.0 + 50 * 2 / 3) / 101
    assert interpolated_precision([True, False, True], 2) == pytest.approx(wanted)
    assert interpolated_precision([True], 1) == pytest.approx(1.0)
    assert interpolated_precision([True], 2) == pytest.approx(51 / 101)  # recall ends at a half
    # Recall 0 is always reached with precision 1, as PartNet's own evaluation has it.
    assert interpolated_precision([False], 1) == pytest.approx(1 / 101)
    assert interpolated_precision([], 3) == 0 == interpolated_precision([True], 0)


def test_a_perfect_answer_scores_one():
    one = shape([0, 1, 2], [0, 1, 1], [5, 3, 4], [0, 1, 1], [0.9, 0.8, 0.7])
    scores = part_scores([one], smallest=5)
    assert scores.mean_ap == pytest.approx(1.0) and scores.shape_mean_ap == pytest.approx(1.0)
    assert scores.true_parts == {0: 1, 1: 2}


def test_two_parts_taken_for_one_are_found_once_or_not_at_all():
    # Both handles (ten points each) said to be one part: IoU with either is a half, which is not above it.
    one = shape([0, 1, 2], [0, 1, 1], [0, 1, 1], [0, 1, 1], [0.9, 0.8, 0.8])
    scores = part_scores([one], smallest=5)
    assert scores.ap[0] == pytest.approx(1.0) and scores.ap[1] == pytest.approx(1 / 101)
    assert part_scores([one], threshold=0.49, smallest=5).ap[1] == pytest.approx(51 / 101)


def test_a_name_that_is_wrong_finds_nothing():
    one = shape([0, 1], [0, 1], [0, 1], [0, 0], [0.9, 0.95])
    scores = part_scores([one], smallest=5)
    # Of name 0 the surer guess is wrong, the other right: precision 1/2 at all recalls but 0.
    assert scores.ap == {0: pytest.approx((1 + 100 * 0.5) / 101), 1: 0.0}
    assert scores.shape_mean_ap == pytest.approx(scores.mean_ap)


def test_points_nobody_has_named_are_left_out():
    one = shape([0, 1, 9], [0, 1, -1], [0, 1, 1], [0, 1, 1], [0.9, 0.8, 0.1])
    assert part_scores([one], smallest=5).mean_ap == pytest.approx(1.0)


def test_over_shapes_the_surest_come_first_and_each_shape_counts_alike():
    right = shape([0, 1], [0, 1], [0, 1], [0, 1], [0.9, 0.9])
    wrong = shape([0, 0], [0, 0], [0, 1], [0, 1], [0.5, 0.95])  # half of the body called a handle
    scores = part_scores([right, wrong], smallest=5)
    # Bodies: the first found, the second's IoU is a half; recall 1/2 with precision 1.
    assert scores.ap[0] == pytest.approx(51 / 101)
    # Handles: the surest guess is false, then the true one.
    assert scores.ap[1] == pytest.approx((1 + 100 * 0.5) / 101)
    assert scores.shape_mean_ap == pytest.approx((1.0 + (1 / 101 + 0) / 2) / 2)


def test_small_guesses_are_not_counted():
    one = shape([0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1], [0.9, 0.9, 0.9])
    assert part_scores([one], smallest=10).shape_mean_ap == pytest.approx(1.0)
    assert part_scores([one], smallest=9).shape_mean_ap == pytest.approx(0.5)


def test_other_points_are_refused():
    with pytest.raises(InputError, match="same points"):
        part_scores([ShapeParts(*(np.zeros(n, int) for n in (3, 3, 4, 3)), np.zeros(3))])
