"""Whether probabilities are right: calibration, sharpness, and how well they tell good from bad.

Expected calibration error after Naeini et al. 2015 (equally wide bins); Brier score after Brier 1950.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The predictions from `low` up to `high`."""

    low: float
    high: float
    count: int
    predicted: float  # mean probability; NaN where there are none
    true: float  # share that came true; NaN where there are none


def reliability(probability: np.ndarray, true: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Predictions [N] in [0, 1] and what came true [N] bool, by equally wide bins; 1 is in the last."""
    probability, true = np.asarray(probability, dtype=np.float64), np.asarray(true, dtype=bool)
    index = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    for b in range(bins):
        chosen = index == b
        count = int(chosen.sum())
        means = (float(v[chosen].mean()) if count else math.nan for v in (probability, true))
        rows.append(Bin(b / bins, (b + 1) / bins, count, *means))
    return rows


def expected_calibration_error(probability: np.ndarray, true: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of what was predicted from what came true, by bins, weighed by counts."""
    rows = [row for row in reliability(probability, true, bins) if row.count]
    total = sum(row.count for row in rows)
    return sum(row.count * abs(row.predicted - row.true) for row in rows) / total if total else math.nan


def calibration_error_by_chance(
    probability: np.ndarray, bins: int = BINS, draws: int = 1000, seed: int = 0
) -> float:
    """The calibration error that predictions [N] have on average though they are right, because they are few:
    mean over truths drawn by them."""
    probability, rng = np.asarray(probability, dtype=np.float64), np.random.default_rng(seed)
    drawn = (rng.uniform(size=len(probability)) < probability for _ in range(draws))
    return float(np.mean([expected_calibration_error(probability, true, bins) for true in drawn]))


def brier_score(probability: np.ndarray, true: np.ndarray) -> float:
    """Mean squared error of predictions [N] against what came true [N]; NaN of nothing."""
    error = np.asarray(probability, dtype=np.float64) - np.asarray(true, dtype=np.float64)
    return float((error**2).mean()) if error.size else math.nan


def area_under_roc(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive has a greater score than a negative, equal ones counting half
    (Mann–Whitney); NaN where one kind is missing."""
    from scipy.stats import rankdata

    positive = np.asarray(positive, dtype=bool)
    count = int(positive.sum())
    if not 0 < count < len(positive):
        return math.nan
    ranks = rankdata(np.asarray(score, dtype=np.float64))
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def precision_from(
    probability: np.ndarray, true: np.ndarray, thresholds: Sequence[float]
) -> list[tuple[float, int, float, float]]:
    """(threshold, kept, precision, recall) of what has at least that probability; of nothing, NaN."""
    probability, true = np.asarray(probability), np.asarray(true, dtype=bool)
    rows = []
    for threshold in thresholds:
        kept = probability >= threshold
        hits, count = int((kept & true).sum()), int(kept.sum())
        precision = hits / count if count else math.nan
        rows.append((float(threshold), count, precision, hits / true.sum() if true.any() else math.nan))
    return rows
