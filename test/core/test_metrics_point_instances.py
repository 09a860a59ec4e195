"""Average precision of instance masks on points, by hand."""

import numpy as np
import pytest

from instascene_core.errors import InputError
from instascene_core.metrics.point_instances import SceneMasks, score_instances
from instascene_core.metrics.segmentation import average_precision


def scene(masks, scores, instance, classes=None, category=None) -> SceneMasks:
    masks, instance = np.array(masks, dtype=bool), np.array(instance)
    count = len(instance)
    return SceneMasks(
        masks.reshape(-1, count), np.array(scores, float),
        np.zeros(len(scores), int) if classes is None else np.array(classes),
        instance, np.zeros(count, int) if category is None else np.array(category),
    )  # fmt: skip


def test_perfect_and_nothing():
    truth = [1, 1, 2, 2, 0]
    right = scene([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], [0.9, 0.8], truth)
    found = score_instances([right], min_region=1)
    assert (found.ap, found.ap50, found.ap25, found.true_instances) == (1, 1, 1, 2)
    empty = score_instances([scene(np.zeros((0, 5)), [], truth)], min_region=1)
    assert (empty.ap, empty.ap50, empty.ap25) == (0, 0, 0)
    assert np.isnan(score_instances([scene([[1, 1]], [1.0], [0, 0])], min_region=1).ap)


def test_a_false_one_before_a_right_one():
    """Sure and false, then right: recall 0 at precision 0, then 1 at 1/2; the trapezoid is (0 + 1/2) / 2."""
    case = scene([[0, 0, 1, 1], [1, 1, 0, 0]], [0.9, 0.5], [1, 1, 0, 0])
    assert score_instances([case], min_region=1).ap50 == pytest.approx(0.25)


def test_overlap_counts_as_iou():
    """4 of 5 points and one beside: IoU 4/6, right up to 0.65 (4 of the 9 thresholds 0.5 … 0.9)."""
    case = scene([[1, 1, 1, 1, 0, 1]], [1.0], [1, 1, 1, 1, 1, 0])
    found = score_instances([case], min_region=1)
    assert (found.ap50, found.ap25) == (1, 1)
    assert found.ap == pytest.approx(4 / 9)


def test_scenes_share_one_curve():
    """A sure hit here, a surer false one there: 1 of 2 true ones."""
    one = scene([[1, 1, 0]], [0.5], [1, 1, 0])
    two = scene([[0, 0, 1]], [0.9], [1, 1, 0])
    both = score_instances([one, two], min_region=1)
    # (recall, precision): (0, 0), (1/2, 1/2) → ½ · (0 + ½) / 2.
    assert both.ap50 == pytest.approx(0.125) and both.true_instances == 2


def test_classes_are_judged_apart_and_averaged():
    """Right masks, one of them of the wrong class."""
    case = scene(
        [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]], [0.9, 0.8], [1, 1, 2, 2, 3, 3],
        classes=[0, 0], category=[0, 0, 1, 1, 2, 2],
    )  # fmt: skip
    with_classes = score_instances([case], num_classes=4, min_region=1)
    assert sorted(with_classes.of_class) == [0, 1, 2]  # class 3 has no true instance
    # The second lies on a thing of class 1, which is no void: a false one after the right one.
    assert with_classes.of_class[0][1] == 1.0 and with_classes.of_class[1][1] == 0.0
    assert with_classes.ap50 == pytest.approx(1 / 3)
    assert score_instances([case], min_region=1).ap50 == pytest.approx(2 / 3)


def test_void_counts_neither_for_nor_against():
    void = scene([[1, 1, 0, 0], [0, 0, 1, 1]], [0.9, 0.5], [-1, -1, 1, 1])
    assert score_instances([void], min_region=1).ap50 == 1.0
    nothing = scene([[1, 1, 0, 0], [0, 0, 1, 1]], [0.9, 0.5], [0, 0, 1, 1])
    assert score_instances([nothing], min_region=1).ap50 == pytest.approx(0.25)


def test_small_regions_are_void():
    """A true instance of one point is not counted, nor who finds it, nor what is found in one point."""
    case = scene([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]], [0.9, 0.8, 0.7], [1, 1, 2, 3])
    found = score_instances([case], min_region=2)
    assert found.true_instances == 1 and found.ap50 == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_average_precision_of_labels(seed):
    """Masks that do not overlap are labels."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(1, 5, 10), 20)
    labels = np.where(rng.uniform(size=200) < 0.25, rng.integers(-1, 5, 200), truth)
    ids = np.unique(labels[labels >= 1])
    trust = {int(i): float(rng.uniform()) for i in ids}
    ours = score_instances(
        [scene([labels == i for i in ids], [trust[int(i)] for i in ids], truth)], min_region=5
    )
    theirs = average_precision(labels, trust, truth, 5)
    assert ours.ap50 == pytest.approx(theirs.ap50) and ours.ap25 == pytest.approx(theirs.ap25)
    assert ours.ap == pytest.approx(theirs.ap_to_90)


def test_arrays_that_do_not_fit():
    with pytest.raises(InputError, match="same points"):
        score_instances([scene([[1, 1]], [1.0], [1, 1], category=[0, 0, 0])])
    with pytest.raises(InputError, match="as many scores"):
        score_instances([scene([[1, 1]], [1.0, 0.5], [1, 1])])
