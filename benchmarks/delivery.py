"""What a run delivered, against the truth: figures of one scene, and their mean over scenes."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from instascene_core.frame import Frame
from instascene_core.instances import InstanceMap
from instascene_core.metrics import MaskScores, ObjectsAccuracy, multi_view_iou

# Fields of MaskScores: what is counted over every true and every delivered object.
COUNTED = ("recall_50", "precision_50", "recall_75", "precision_75", "false_instances")
MASK_FIELDS = ("true_objects", "instances", *COUNTED, "miou")
OBJECT_FIELDS = (
    "true_objects", "instances", "recall_50", "precision_50", "recall_75", "precision_75", "spurious",
    "mean_volume_iou_all", "mean_f_score_all",
)  # fmt: skip
CONFIDENCE = 0.95  # of the intervals


def mask_scores(found: InstanceMap, frames: Sequence[Frame]) -> MaskScores:
    """The label images of a decomposition against the true labels of the frames of the same names.

    Only instances of kind object count as delivered: label images carry the ids of table and room as well.
    """
    predicted = [found.label_images[frame.name] for frame in frames]
    confidence = {int(instance.id): instance.confidence for instance in found.objects}
    return multi_view_iou(predicted, [f.require_labels() for f in frames], confidence, list(confidence))


def mask_figures(scores: MaskScores) -> dict:
    """Plain values of a row; `objects`: true id → IoU, 0 where it is missing."""
    return {
        **{name: getattr(scores, name) for name in MASK_FIELDS},
        "objects": {str(i): value for i, value in scores.iou.items()},
    }


def object_figures(accuracy: ObjectsAccuracy) -> dict:
    """Plain values of a row; `objects`: name → volume IoU, 0 where it is missing."""
    return {
        **{name: getattr(accuracy, name) for name in OBJECT_FIELDS},
        "objects": {row.name: row.volume_iou for row in accuracy.objects},
    }


def interval(values: Iterable[float | None]) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) of a figure over scenes, by Student's t: mean ± t·s/√n.

    It tells of other scenes of the same kind, not of other runs on these.  Undefined figures (None or NaN:
    the precision of nothing) are left out; the half width of fewer than two is NaN.
    """
    from scipy.stats import t

    known = np.array([v for v in values if v is not None and math.isfinite(v)])
    if not len(known):
        return math.nan, math.nan
    if len(known) < 2:
        return float(known[0]), math.nan
    factor = float(t.ppf((1 + CONFIDENCE) / 2, len(known) - 1))
    return float(known.mean()), factor * float(known.std(ddof=1)) / math.sqrt(len(known))


def summarised(rows: Sequence[dict], names: Sequence[str]) -> dict:
    """Name → [mean, half width] over rows, and how many scenes and objects they are of."""
    return {
        "scenes": len(rows),
        "true_objects": sum(row["true_objects"] for row in rows),
        "instances": sum(row["instances"] for row in rows),
        **{name: list(interval(row.get(name) for row in rows)) for name in names},
    }
