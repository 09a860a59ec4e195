"""How close a result is to the truth: surfaces, volumes, images, masks, points, completed objects.

Papers differ in their conventions; ours stand in the module of each measure.
"""

from instascene_core.metrics.images import psnr, ssim
from instascene_core.metrics.objects import (
    FOUND_IOU,
    MATCH_CELLS,
    ObjectAccuracy,
    ObjectsAccuracy,
    compare_objects,
    evaluate_objects,
    load_truth,
)
from instascene_core.metrics.segmentation import (
    AP_THRESHOLDS,
    FALSE_MASK_IOU,
    MIN_REGION_POINTS,
    MaskScores,
    PointScores,
    average_precision,
    average_precision_at,
    hits,
    mask_iou,
    match,
    multi_view_iou,
)
from instascene_core.metrics.surfaces import (
    F_SCORE_THRESHOLD,
    IOU_CELLS,
    SURFACE_SAMPLES,
    SurfaceComparison,
    chamfer_distance,
    compare_surfaces,
    f_score,
    inside,
    observed_offset,
    sample_surface,
    volume_iou,
)

__all__ = [
    "AP_THRESHOLDS",
    "FALSE_MASK_IOU",
    "FOUND_IOU",
    "F_SCORE_THRESHOLD",
    "IOU_CELLS",
    "MATCH_CELLS",
    "MIN_REGION_POINTS",
    "SURFACE_SAMPLES",
    "MaskScores",
    "ObjectAccuracy",
    "ObjectsAccuracy",
    "PointScores",
    "SurfaceComparison",
    "average_precision",
    "average_precision_at",
    "chamfer_distance",
    "compare_objects",
    "compare_surfaces",
    "evaluate_objects",
    "f_score",
    "hits",
    "inside",
    "load_truth",
    "mask_iou",
    "match",
    "multi_view_iou",
    "observed_offset",
    "psnr",
    "sample_surface",
    "ssim",
    "volume_iou",
]
