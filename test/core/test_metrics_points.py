"""ScanNet's average precision on points, against curves worked out by hand."""

import numpy as np
import pytest

from instascene_core.errors import InputError
from instascene_core.metrics import average_precision


def labels(*runs: tuple[int, int]) -> np.ndarray:
    """[N] int32 from (label, how many) runs."""
    return np.concatenate([np.full(count, label, np.int32) for label, count in runs])


TRUE = labels((1, 10), (2, 10), (3, 10))


def test_perfect_and_nothing():
    scores = average_precision(TRUE + 40, None, TRUE, min_region=1)
    assert (scores.ap, scores.ap50, scores.ap25, scores.ap_to_90) == (1, 1, 1, 1)
    assert (scores.true_instances, scores.predicted_instances) == (3, 3)
    nothing = average_precision(np.full(30, -1), None, TRUE, min_region=1)
    assert (nothing.ap, nothing.ap50, nothing.ap25) == (0, 0, 0)
    no_truth = average_precision(TRUE, None, np.zeros(30, int), min_region=1)
    assert np.isnan(no_truth.ap) and no_truth.true_instances == 0


def test_the_area_is_that_of_trapezoids():
    """Right, wrong, right: recall 0, 1/3, 1/3, 2/3 at precision 1, 1, 1/2, 2/3."""
    predicted = labels((7, 10), (8, 3), (9, 7), (0, 10))  # 9 has 7/10 of 2, 8 only 3/10
    scores = average_precision(predicted, {7: 0.9, 8: 0.8, 9: 0.7}, TRUE, min_region=1)
    assert scores.ap50 == pytest.approx(1 / 3 * 1 + 1 / 3 * (1 / 2 + 2 / 3) / 2)
    # At 0.25 both 8 and 9 claim true instance 2: the surer one is right, the other false.
    assert scores.ap25 == pytest.approx(1 / 3 + 1 / 3)
    # 9 passes 0.5, 0.55, 0.6, 0.65; 0.7 is not more than 0.7.
    only_first = 1 / 3
    assert scores.ap == pytest.approx((4 * scores.ap50 + 6 * only_first) / 10)
    assert scores.ap_to_90 == pytest.approx((4 * scores.ap50 + 5 * only_first) / 9)


def test_equal_confidence_is_one_point_of_the_curve():
    """All as sure as each other: one point, recall 2/3 at precision 2/3, reached from (0, 1)."""
    predicted = labels((7, 10), (8, 3), (9, 7), (0, 10))
    scores = average_precision(predicted, None, TRUE, min_region=1)
    assert scores.ap50 == pytest.approx(2 / 3 * (1 + 2 / 3) / 2)


def test_the_threshold_itself_is_not_enough():
    predicted = labels((7, 5), (0, 5))
    scores = average_precision(predicted, None, labels((1, 10)), min_region=1)
    assert scores.ap50 == 0.0 and scores.ap25 == 1.0


def test_a_prediction_finds_one_true_instance_only():
    """It covers two by 0.5 each, more than 0.25: one is found."""
    scores = average_precision(labels((7, 20)), None, labels((1, 10), (2, 10)), min_region=1)
    assert scores.ap25 == pytest.approx(1 / 2) and scores.ap50 == 0.0


def test_void_points_excuse_a_prediction():
    """A prediction on points without a true label is neither right nor wrong; one on a wall is wrong."""
    truth = labels((1, 10), (0, 10), (2, 10))
    on_void = average_precision(labels((5, 10), (6, 10), (7, 10)), {5: 0.5, 6: 0.9, 7: 0.5}, truth, 1)
    assert on_void.ap50 == 1.0
    # Half on void, half across an instance: the share is not above 0.5, so it is false, and comes first.
    astride = average_precision(labels((5, 10), (0, 7), (6, 6), (7, 7)), {5: 0.5, 6: 0.9, 7: 0.5}, truth, 1)
    # The curve (0, 1), (0, 0), (1, 2/3).
    assert astride.ap50 == pytest.approx((0 + 2 / 3) / 2)


def test_small_regions_do_not_count():
    truth = labels((1, 100), (2, 99))
    predicted = labels((1, 100), (2, 99))
    scores = average_precision(predicted, None, truth)
    assert (scores.ap, scores.true_instances, scores.predicted_instances) == (1, 1, 1)
    # A large prediction over mostly a small true one is excused like one on void points.
    grown = average_precision(labels((1, 95), (2, 104)), {2: 2.0}, truth)
    assert grown.true_instances == 1 and grown.predicted_instances == 1  # 95 points are too few
    assert grown.ap50 == 0.0
    both = average_precision(labels((1, 110), (2, 101)), {2: 2.0}, labels((1, 110), (2, 99), (0, 2)))
    assert both.ap50 == 1.0 and both.predicted_instances == 2


def test_order_and_names_of_labels_do_not_matter():
    rng = np.random.default_rng(0)
    predicted, true = rng.integers(0, 6, 3000), rng.integers(0, 5, 3000)
    true = np.where(rng.uniform(size=3000) < 0.6, predicted % 5, true)
    trust = {i: 0.1 * i for i in range(1, 6)}
    first = average_precision(predicted, trust, true)
    order = rng.permutation(3000)
    renamed = np.array([0, 50, 7, 31, 2, 9])
    again = average_precision(
        renamed[predicted[order]], {renamed[i]: s for i, s in trust.items()}, true[order]
    )
    assert 0 < first.ap < 1 and first == again


def test_other_points_are_refused():
    with pytest.raises(InputError, match=r"\(30,\) and true ones of shape \(29,\)"):
        average_precision(TRUE, None, TRUE[1:])
