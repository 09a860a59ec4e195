"""How well instances are told apart, in masks of views and in labels of points.

- Masks: predicted instances are matched to true ones once for all views (Hungarian on IoU), then
  pixels are counted over all views; true instances without a partner count 0.
- Hits at an IoU threshold: the largest number of pairs, one to one, that reach it.  Recall is their share
  of the true instances, precision of the delivered ones: an object in two pieces is one hit at most.
- Points: ScanNet's average precision, without classes.  Predictions are taken from the most confident
  down; each true instance that one overlaps by more than the threshold is found, further claims on it
  are false; the area under precision over recall is that of the trapezoids.  What is smaller than the
  smallest region, and points without a true label, count neither for nor against.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED

AP_THRESHOLDS = tuple(float(t) for t in np.round(np.arange(0.5, 1.0, 0.05), 2))  # COCO's and ScanNet's AP
MIN_REGION_POINTS = 100  # ScanNet's
FALSE_MASK_IOU = 0.5  # an instance that reaches it with no true one is false; above it a partner is unique


@dataclass(frozen=True)
class MaskScores:
    """Predicted against true instance masks over all views.  Shares of nothing are NaN."""

    true_objects: int  # true instances with a pixel in some view
    instances: int  # delivered: predicted instances that are objects
    recall_50: float  # share of the true instances that are hit at IoU 0.5
    precision_50: float  # share of the delivered instances that hit at IoU 0.5
    recall_75: float
    precision_75: float
    false_instances: int  # delivered, IoU below FALSE_MASK_IOU with every true one
    miou: float  # mean over all true instances; those without a partner count 0
    iou: dict[int, float]  # every true id → IoU with its partner, 0 without one
    partner: dict[int, int]  # true id → predicted id
    ap: float  # class-agnostic average precision, mean over IoU 0.5 … 0.95
    ap50: float
    ap25: float


@dataclass(frozen=True)
class PointScores:
    """Class-agnostic average precision on points; NaN without true instances."""

    ap: float  # mean over IoU 0.50 … 0.95
    ap_to_90: (
        float  # mean over IoU 0.50 … 0.90: ScanNet's own script leaves out 0.95, and so do tables made by it
    )
    ap50: float
    ap25: float
    true_instances: int  # of at least the smallest region
    predicted_instances: int  # likewise


# --- masks of views ---


def match(similarity: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of the one-to-one matching of [P, T] with the greatest sum (Hungarian).

    Pairs of similarity 0 are left out.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns) if similarity[r, c] > 0]


def hits(iou: np.ndarray, threshold: float) -> int:
    """Most pairs, one to one, of [P, T] that reach `threshold`.

    Counted apart from the matching for the greatest sum, which may give up a hit for two near misses.
    """
    return len(match((iou >= threshold).astype(float)))


def share(count: float, of: float) -> float:
    """[0, 1]; NaN of nothing."""
    return count / of if of else float("nan")


def mask_iou(
    predicted: Iterable[np.ndarray], truth: Iterable[np.ndarray]
) -> tuple[np.ndarray, list[int], list[int]]:
    """(IoU [P, T], predicted ids, true ids) of label images, summed over views.

    Labels below 1 (UNLABELLED, or the 0 of label image files) are no instance.
    """
    pairs: dict[tuple[int, int], int] = {}
    for a, b in zip(predicted, truth, strict=True):
        if a.shape != b.shape:
            raise InputError(f"Label images of shape {a.shape} and {b.shape} cannot be compared.")
        for p, t, count in _overlaps(a, b):
            pairs[p, t] = pairs.get((p, t), 0) + count
    return _iou_table(pairs)


def _overlaps(predicted: np.ndarray, truth: np.ndarray) -> list[tuple[int, int, int]]:
    """(predicted id, true id, how often) of two label arrays of equal shape."""
    both = np.stack([predicted.ravel(), truth.ravel()]).astype(np.int64)
    found, counts = np.unique(np.where(both < 1, UNLABELLED, both), axis=1, return_counts=True)
    return list(zip(*found.tolist(), counts.tolist()))


def _iou_table(pairs: Mapping[tuple[int, int], int]) -> tuple[np.ndarray, list[int], list[int]]:
    """(IoU [P, T], predicted ids, true ids) from the counts of pairs of ids."""
    ids_p = sorted({p for p, _ in pairs} - {UNLABELLED})
    ids_t = sorted({t for _, t in pairs} - {UNLABELLED})
    # The last row and column are what has no label.
    row, column = ({i: k for k, i in enumerate([*ids, UNLABELLED])} for ids in (ids_p, ids_t))
    table = np.zeros((len(row), len(column)))
    for (p, t), count in pairs.items():
        table[row[p], column[t]] = count
    union = table.sum(axis=1)[:-1, None] + table.sum(axis=0)[None, :-1] - table[:-1, :-1]
    return table[:-1, :-1] / np.maximum(union, 1), ids_p, ids_t


def multi_view_iou(
    predicted: Iterable[np.ndarray],
    truth: Iterable[np.ndarray],
    confidence: Mapping[int, float] | None = None,
    objects: Collection[int] | None = None,
) -> MaskScores:
    """Scores of label images [H, W] of the same views in the same order, ids ≥ 1 agreeing over views.

    confidence: of predicted ids, for the average precision; 1 where not given.
    objects: predicted ids that are objects, whether a view shows them or not; other ids (table, room) are
    no instance.  None: every id of the predicted images is one.
    """
    if objects is not None:
        known = list(objects)
        predicted = (np.where(np.isin(image, known), image, UNLABELLED) for image in predicted)
    iou, ids_p, ids_t = mask_iou(predicted, truth)
    if objects is not None:  # one that no view shows was delivered all the same
        hidden = sorted(set(map(int, objects)) - set(ids_p))
        ids_p, iou = [*ids_p, *hidden], np.pad(iou, ((0, len(hidden)), (0, 0)))
    pairs = match(iou)
    found = {ids_t[t]: float(iou[p, t]) for p, t in pairs}
    trust = np.array([(confidence or {}).get(i, 1.0) for i in ids_p])
    hit = {t: hits(iou, t) for t in (0.5, 0.75)}
    return MaskScores(
        true_objects=len(ids_t),
        instances=len(ids_p),
        recall_50=share(hit[0.5], len(ids_t)),
        precision_50=share(hit[0.5], len(ids_p)),
        recall_75=share(hit[0.75], len(ids_t)),
        precision_75=share(hit[0.75], len(ids_p)),
        false_instances=int((iou.max(axis=1, initial=0.0) < FALSE_MASK_IOU).sum()),
        miou=sum(found.values()) / len(ids_t) if ids_t else float("nan"),
        iou={i: found.get(i, 0.0) for i in ids_t},
        partner={ids_t[t]: ids_p[p] for p, t in pairs},
        ap=float(np.mean([average_precision_at(iou, trust, t) for t in AP_THRESHOLDS])),
        ap50=average_precision_at(iou, trust, 0.5),
        ap25=average_precision_at(iou, trust, 0.25),
    )


def average_precision_at(iou: np.ndarray, confidence: np.ndarray, threshold: float) -> float:
    """Class-agnostic average precision at an IoU threshold: area under the precision envelope (COCO).

    iou: [P, T]; confidence: [P].  Predictions are taken from the most confident down, each gets the
    free true instance of highest IoU ≥ threshold, or is false.  NaN without true instances.
    """
    predictions, truths = iou.shape
    if not truths:
        return float("nan")
    free, hits = np.ones(truths, dtype=bool), np.zeros(predictions, dtype=bool)
    order = np.argsort(-np.asarray(confidence), kind="stable")
    for rank, p in enumerate(order):
        candidates = np.where(free, iou[p], -1.0)
        best = int(candidates.argmax())
        if candidates[best] >= threshold:
            free[best], hits[rank] = False, True
    precision = np.cumsum(hits) / np.arange(1, predictions + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / truths)


# --- labels of points ---


def average_precision(
    predicted_labels: np.ndarray,
    scores: Mapping[int, float] | None,
    true_labels: np.ndarray,
    min_region: int = MIN_REGION_POINTS,
) -> PointScores:
    """ScanNet's AP, AP50 and AP25 without classes.

    predicted_labels, true_labels: [N] ids ≥ 1, below 1 = none; points without a true label are void.
    scores: predicted id → confidence, 1 where not given.  min_region: points below which an instance,
    true or predicted, is not counted.  Raises InputError where the numbers of points differ.
    """
    if predicted_labels.shape != true_labels.shape or predicted_labels.ndim != 1:
        raise InputError(
            f"Predicted labels of shape {predicted_labels.shape} and true ones of shape "
            f"{true_labels.shape} do not describe the same points."
        )
    pairs = {(p, t): count for p, t, count in _overlaps(predicted_labels, true_labels)}
    iou, ids_p, ids_t = _iou_table(pairs)
    size_p = np.array([sum(n for (p, _), n in pairs.items() if p == i) for i in ids_p])
    size_t = np.array([sum(n for (_, t), n in pairs.items() if t == i) for i in ids_t])
    large_p, large_t = size_p >= min_region, size_t >= min_region
    small = {UNLABELLED, *np.array(ids_t, dtype=int)[~large_t].tolist()}
    void = np.array([sum(pairs.get((i, t), 0) for t in small) for i in ids_p])
    trust = np.array([(scores or {}).get(i, 1.0) for i in ids_p], dtype=np.float64)
    chosen = iou[np.ix_(large_p, large_t)]
    void_share = void[large_p] / size_p[large_p]
    at = {t: _point_precision(chosen, trust[large_p], void_share, t) for t in (0.25, *AP_THRESHOLDS)}
    return PointScores(
        ap=float(np.mean([at[t] for t in AP_THRESHOLDS])),
        ap_to_90=float(np.mean([at[t] for t in AP_THRESHOLDS[:-1]])),
        ap50=at[0.5],
        ap25=at[0.25],
        true_instances=int(large_t.sum()),
        predicted_instances=int(large_p.sum()),
    )


def _point_precision(
    iou: np.ndarray, confidence: np.ndarray, void_share: np.ndarray, threshold: float
) -> float:
    """Average precision at one threshold from IoU [P, T], confidence [P] and share of void points [P]."""
    hits, confidences = point_claims(iou, confidence, void_share, threshold)
    return area_of_claims(hits, confidences, iou.shape[1])


def point_claims(
    iou: np.ndarray, confidence: np.ndarray, void_share: np.ndarray, threshold: float
) -> tuple[list[bool], list[float]]:
    """(hit or false, confidence) of every prediction that counts, the surest first.

    iou: [P, T]; confidence: [P]; void_share: [P] of a prediction's points: one that hits nothing and lies on
    void points by more than the threshold counts neither for nor against.
    """
    predictions, truths = iou.shape
    free, hits, confidences = np.ones(truths, dtype=bool), [], []
    for p in np.lexsort((-iou.max(axis=1, initial=0.0), -confidence)) if predictions else ():
        if not (iou[p] > threshold).any():
            if void_share[p] > threshold:
                continue
            hits.append(False)
        else:
            candidates = np.where(free, iou[p], 0.0)
            hits.append(bool(candidates.max() > threshold))
            if hits[-1]:
                free[candidates.argmax()] = False
        confidences.append(float(confidence[p]))
    return hits, confidences


def area_of_claims(hits: Sequence[bool], confidences: Sequence[float], truths: int) -> float:
    """Area under precision over recall, by trapezoids; NaN without true instances."""
    if not truths:
        return float("nan")
    if not hits:
        return 0.0
    # One point of the curve per confidence: predictions as sure as each other come together.
    levels, index = np.unique(-np.array(confidences), return_inverse=True)
    right = np.cumsum(np.bincount(index, np.array(hits, dtype=float), minlength=len(levels)))
    claimed = np.cumsum(np.bincount(index, minlength=len(levels)))
    recall, precision = np.r_[0.0, right / truths], np.r_[1.0, right / claimed]
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))
