"""The fit: proportional odds of the volume IoU, whose weights may not contradict their known signs.

How likely an object is to reach an IoU is a logistic regression with one bias for each of LEVELS and the same
weights for all (McCullagh 1980), so that a row tells how good it is, not only whether it is good enough.  The
likelihoods of the levels are averaged as if they were of rows of their own; the bias of GOOD_IOU is kept.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from instascene_core.completion.confidence.evidence import EVIDENCE
from instascene_core.completion.confidence.model import GOOD_IOU, ConfidenceModel, save_confidence_model
from instascene_core.errors import InputError
from instascene_core.metrics.calibration import area_under_roc, brier_score, expected_calibration_error
from instascene_core.training.confidence.jobs import read_jobs

logger = logging.getLogger(__name__)

# The numbers that are judged by, and which way each may speak: more of it makes a good object likelier (+1),
# or less likely (−1), or either (0).  Without it chance correlations of some hundred rows would teach that
# noise is good.  Numbers that say nothing beyond these, by scenes held out, are left out.
SIGNS = {
    "doubt": -1, "noise": -1, "pixel": -1, "observed": 1, "fullness": 0, "silhouette": 1, "mask_score": 1,
    "agreement": 1, "views": 1, "cut": -1,
}  # fmt: skip
LEVELS = (0.3, 0.5, 0.6, GOOD_IOU, 0.8, 0.9)  # of volume IoU
BOUNDS = 2.0, 98.0  # percentiles of the rows, beyond which a number counts as they do
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)  # strengths of the pull toward 0 that are tried
FOLDS = 8  # scenes are dealt to them whole
SEED = 0  # of the dealing


def fit_model(evidence: Sequence[dict[str, float]], iou: np.ndarray, ridge: float) -> ConfidenceModel:
    """The weights that make the volume IoU of rows [N] likeliest, less ridge/2 · their squares."""
    names = tuple(SIGNS)
    values = np.array([[row[name] for name in names] for row in evidence], dtype=np.float64)
    low, high = np.percentile(values, BOUNDS, axis=0)
    clipped = np.clip(values, low, high)
    center, scale = clipped.mean(axis=0), np.maximum(clipped.std(axis=0), 1e-3)
    x = (clipped - center) / scale  # [N, F]
    reached = (np.asarray(iou)[:, None] >= LEVELS).astype(np.float64)  # [N, L]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight, biases = parameters[: len(names)], parameters[len(names) :]
        odds = (x @ weight)[:, None] + biases
        error = (1 / (1 + np.exp(-odds)) - reached) / len(LEVELS)
        value = (np.logaddexp(0, odds) - reached * odds).sum() / len(LEVELS) + ridge / 2 * weight @ weight
        return float(value), np.concatenate([x.T @ error.sum(axis=1) + ridge * weight, error.sum(axis=0)])

    limits = {1: (0, None), -1: (None, 0), 0: (None, None)}
    bounds = [limits[sign] for sign in SIGNS.values()] + [(None, None)] * len(LEVELS)
    found = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x
    bias = float(found[len(names) + LEVELS.index(GOOD_IOU)])
    return ConfidenceModel(names, center, scale, low, high, found[: len(names)], bias)


def held_out(
    evidence: Sequence[dict[str, float]], iou: np.ndarray, scenes: np.ndarray, ridge: float
) -> np.ndarray:
    """[N] what models say of the rows of scenes [N] that they were not fitted to."""
    different = np.unique(scenes)
    dealt = np.random.default_rng(SEED).permutation(len(different)) % min(FOLDS, len(different))
    fold = dealt[np.searchsorted(different, scenes)]
    said = np.zeros(len(iou))
    for k in np.unique(fold):
        own, other = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        model = fit_model([evidence[i] for i in other], iou[other], ridge)
        said[own] = model.probabilities([evidence[i] for i in own])
    return said


def log_loss(probability: np.ndarray, good: np.ndarray) -> float:
    """Mean surprise at what came true, in natural units."""
    sure = np.clip(np.where(good, probability, 1 - probability), 1e-6, 1)
    return float(-np.log(sure).mean())


def fit_to_jobs(folder: Path, output: Path, count: int) -> None:
    """Fit to the rows of all jobs in `folder` and write the weights, with what they score on scenes that they
    were not fitted to.  The ridge is the one of the least loss there."""
    start = time.perf_counter()
    jobs = read_jobs(folder)
    rows = [(job["scene"]["seed"], row) for job in jobs for row in job["rows"]]
    scenes = np.array([seed for seed, _ in rows])
    iou = np.array([row["iou"] for _, row in rows])
    good = iou >= GOOD_IOU
    evidence = [row["evidence"] for _, row in rows]
    if not 0 < good.sum() < len(good) or len(np.unique(scenes)) < 2:
        raise InputError(f"The {len(rows)} rows in '{folder}' hold no good or no bad objects; run more jobs.")
    said = {ridge: held_out(evidence, iou, scenes, ridge) for ridge in RIDGES}
    ridge = min(RIDGES, key=lambda r: log_loss(said[r], good))
    model, probability = fit_model(evidence, iou, ridge), said[ridge]
    scores = {
        "held_out_brier": brier_score(probability, good),
        "held_out_ece": expected_calibration_error(probability, good),
        "held_out_auc_bad": area_under_roc(-probability, ~good),
    }
    notes = {
        "command": f"python -m instascene_core.training.confidence JOBS --count {count} --output FILE",
        "seed": str(SEED),
        "jobs": str(len(jobs)),
        "scenes": f"{scenes.min()} to {scenes.max()}",
        "objects": str(len(rows)),
        "good": str(int(good.sum())),
        "ridge": str(ridge),
        "fit_seconds": f"{time.perf_counter() - start:.1f}",
        "job_seconds": f"{sum(job.get('seconds', 0.0) for job in jobs):.0f}",
        **{name: f"{value:.4f}" for name, value in scores.items()},
    }
    save_confidence_model(output, model, notes)
    for name, value in notes.items():
        logger.info("%s: %s", name, value)
    for name, weight in sorted(zip(model.names, model.weight), key=lambda item: -abs(item[1])):
        logger.info("%+.2f %s: %s", weight, name, EVIDENCE[name])
