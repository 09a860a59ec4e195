"""Part instances of shapes as PartNet scores them (Mo et al. 2019, section 5.3): mAP by part name over all
shapes, and by shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError

BINS = 100  # recall steps at which precision is read, 0 and 1 included: 101
SMALLEST = 10  # points: a predicted part with no more is not counted (Sun et al. 2022)


@dataclass(frozen=True)
class ShapeParts:
    """One shape's points with their true and predicted parts at one level."""

    true_part: np.ndarray  # [N] int, any number; counts only where true_name ≥ 0
    true_name: np.ndarray  # [N] int, −1 = not named: such points are left out of everything
    predicted_part: np.ndarray  # [N] int
    predicted_name: np.ndarray  # [N] int
    confidence: np.ndarray  # [N] float; a part's is the mean of its points'


@dataclass(frozen=True)
class PartScores:
    """Scores at one level and IoU threshold."""

    mean_ap: float  # over the names that have true parts; NaN without any
    shape_mean_ap: float  # over shapes, of the mean over the names that are true or predicted there
    ap: dict[int, float]  # of each name that has true parts
    true_parts: dict[int, int]  # how many


@dataclass(frozen=True)
class _Judged:
    """The predicted parts of one shape, and how many true ones there are."""

    hits: dict[int, list[tuple[float, bool]]]  # name → (confidence, found a true part), surest first
    true_parts: dict[int, int]


def part_scores(shapes: Sequence[ShapeParts], threshold: float = 0.5, smallest: int = SMALLEST) -> PartScores:
    """mAP and shape-mAP at an IoU threshold (a part is found where its IoU is above).

    smallest: predicted parts with no more points than that are not counted.
    """
    judged = [_judge(shape, threshold, smallest) for shape in shapes]
    names = sorted({name for one in judged for name in (*one.true_parts, *one.hits)})
    ap, count = {}, {}
    for name in names:
        count[name] = sum(one.true_parts.get(name, 0) for one in judged)
        if count[name]:
            hits = [hit for one in judged for hit in one.hits.get(name, [])]
            hits.sort(key=lambda hit: -hit[0])
            ap[name] = interpolated_precision([found for _, found in hits], count[name])
    of_shapes = []
    for one in judged:
        present = {*one.true_parts, *one.hits}
        if present:
            values = [
                interpolated_precision([f for _, f in one.hits.get(n, [])], one.true_parts.get(n, 0))
                for n in sorted(present)
            ]
            of_shapes.append(float(np.mean(values)))
    return PartScores(
        mean_ap=float(np.mean(list(ap.values()))) if ap else float("nan"),
        shape_mean_ap=float(np.mean(of_shapes)) if of_shapes else float("nan"),
        ap=ap,
        true_parts={name: n for name, n in count.items() if n},
    )


def interpolated_precision(found: Sequence[bool], true_parts: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or beyond; found: surest first.

    0 where nothing is true or nothing predicted.
    """
    if not true_parts or not len(found):
        return 0.0
    hits = np.cumsum(found)
    recall = np.concatenate([[0.0], hits / true_parts])
    precision = np.concatenate([[1.0], hits / np.arange(1, len(found) + 1)])
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # The first place of at least that recall; beyond the last there is none.
    at = np.searchsorted(recall, np.arange(BINS + 1) / BINS - 1e-12)
    return float(np.append(best, 0.0)[at].mean())


def _judge(shape: ShapeParts, threshold: float, smallest: int) -> _Judged:
    arrays = (shape.true_part, shape.predicted_part, shape.predicted_name, shape.confidence)
    if any(len(values) != len(shape.true_name) for values in arrays):
        raise InputError("True and predicted parts do not describe the same points.")
    named = shape.true_name >= 0
    truth, name = shape.true_part[named], shape.true_name[named]
    part, told = shape.predicted_part[named], shape.predicted_name[named]
    sure = shape.confidence[named]
    true = [(truth == t, _mode(name[truth == t])) for t in np.unique(truth)]
    guesses = [(float(sure[part == p].mean()), part == p) for p in np.unique(part)]
    guesses = [guess for guess in guesses if guess[1].sum() > smallest]
    guesses.sort(key=lambda guess: -guess[0])
    hits: dict[int, list[tuple[float, bool]]] = {}
    free = [True] * len(true)
    for confidence, mask in guesses:
        mine = _mode(told[mask])
        best, which = threshold, -1
        for k, (other, other_name) in enumerate(true):
            if free[k] and other_name == mine:
                iou = float((mask & other).sum() / (mask | other).sum())
                if iou > best:
                    best, which = iou, k
        if which >= 0:
            free[which] = False
        hits.setdefault(mine, []).append((confidence, which >= 0))
    counts: dict[int, int] = {}
    for _, one in true:
        counts[one] = counts.get(one, 0) + 1
    return _Judged(hits, counts)


def _mode(values: np.ndarray) -> int:
    """The most frequent of some names, the smallest of equals."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])
