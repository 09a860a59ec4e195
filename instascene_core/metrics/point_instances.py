"""ScanNet's average precision of instance masks on points, over many scenes, with classes or without.

Masks may overlap.  Per class and threshold the claims of all scenes go into one curve; the mean is over the
classes that have true instances.  Thresholds of `ap`: 0.50 … 0.90, as ScanNet's script has them.
Source: https://github.com/ScanNet/ScanNet/blob/master/BenchmarkScripts/3d_evaluation/evaluate_semantic_instance.py
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.metrics.segmentation import (
    AP_THRESHOLDS,
    MIN_REGION_POINTS,
    area_of_claims,
    point_claims,
)

LOW_THRESHOLD = 0.25
THRESHOLDS = (*AP_THRESHOLDS[:-1], LOW_THRESHOLD)


@dataclass(frozen=True)
class SceneMasks:
    """What was found in one scene, and what is true."""

    masks: np.ndarray  # [P, N] bool
    scores: np.ndarray  # [P] confidence
    classes: np.ndarray  # [P] int class of each mask
    instance: np.ndarray  # [N] int: true instance ≥ 1; 0 = none; < 0 = void, not annotated
    category: np.ndarray  # [N] int class of each point


@dataclass(frozen=True)
class InstanceScores:
    """Average precisions; NaN without true instances."""

    ap: float  # mean over IoU 0.50 … 0.90
    ap50: float
    ap25: float
    of_class: dict[int, tuple[float, float, float]]  # class → (ap, ap50, ap25), of those with true instances
    true_instances: int  # of at least the smallest region


def score_instances(
    scenes: Sequence[SceneMasks],
    num_classes: int = 1,
    min_region: int = MIN_REGION_POINTS,
    structure_is_void: bool = False,
) -> InstanceScores:
    """num_classes: classes are 0 … num_classes − 1; 1 = all is one class, whatever is given.

    min_region: points below which an instance, true or found, is not counted.  structure_is_void: what is of
    no true instance counts neither for nor against, as walls and floors on ScanNet.  Raises InputError where
    the arrays of a scene do not describe the same points.
    """
    claims: dict[tuple[int, float], tuple[list[bool], list[float]]] = {
        (c, t): ([], []) for c in range(num_classes) for t in THRESHOLDS
    }
    truths = np.zeros(num_classes, dtype=np.int64)
    for scene in scenes:
        _check(scene)
        for c in range(num_classes):
            iou, trust, void = _of_class(
                scene, None if num_classes == 1 else c, min_region, structure_is_void
            )
            truths[c] += iou.shape[1]
            for t in THRESHOLDS:
                hits, confidences = point_claims(iou, trust, void, t)
                claims[c, t][0].extend(hits)
                claims[c, t][1].extend(confidences)
    of_class = {}
    for c in np.flatnonzero(truths).tolist():
        at = {t: area_of_claims(*claims[c, t], int(truths[c])) for t in THRESHOLDS}
        ap = float(np.mean([at[t] for t in AP_THRESHOLDS[:-1]]))
        of_class[c] = (ap, at[0.5], at[LOW_THRESHOLD])
    mean = np.mean(list(of_class.values()), axis=0) if of_class else np.full(3, np.nan)
    ap, ap50, ap25 = (float(value) for value in mean)
    return InstanceScores(ap, ap50, ap25, of_class, int(truths.sum()))


def _of_class(
    scene: SceneMasks, category: int | None, min_region: int, structure_is_void: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(IoU [P, T], confidence [P], share of void points [P]) of the masks and true instances that count.

    category: None = all of them.  Void are points without annotation and of true instances too small;
    points of another class are not.
    """
    mine = slice(None) if category is None else scene.classes == category
    masks, trust = scene.masks[mine], scene.scores[mine].astype(np.float64)
    size = masks.sum(axis=1)
    large = size >= min_region
    masks, trust, size = masks[large], trust[large], size[large]
    here = scene.instance >= 1
    if category is not None:
        here = here & (scene.category == category)
    ids, count = np.unique(scene.instance[here], return_counts=True)
    void = (scene.instance < (1 if structure_is_void else 0)) | (
        here & np.isin(scene.instance, ids[count < min_region])
    )
    ids = ids[count >= min_region]
    truth = [here & (scene.instance == i) for i in ids]
    both = np.stack([(masks & t).sum(axis=1) for t in truth], axis=1) if truth else np.zeros((len(masks), 0))
    whole = np.array([int(t.sum()) for t in truth])
    iou = both / np.maximum(size[:, None] + whole[None] - both, 1)
    return iou, trust, (masks & void).sum(axis=1) / np.maximum(size, 1)


def _check(scene: SceneMasks) -> None:
    points = len(scene.instance)
    if scene.masks.ndim != 2 or scene.masks.shape[1] != points or scene.category.shape != (points,):
        raise InputError(
            f"Masks of shape {scene.masks.shape} and {points} true labels do not describe the same points."
        )
    if not len(scene.masks) == len(scene.scores) == len(scene.classes):
        raise InputError(f"{len(scene.masks)} masks need as many scores and classes.")
