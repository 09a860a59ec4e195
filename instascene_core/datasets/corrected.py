"""Poses of a recording as its corrections make them."""

import logging

import numpy as np

from instascene_core.corrections import Corrections, interpolated
from instascene_core.datasets.dataset import Reader
from instascene_core.errors import InputError
from instascene_core.pose_conventions import OURS

logger = logging.getLogger(__name__)


def convention_of(reader: Reader) -> str:
    """How the matrices of a reader's format are meant; ours where it does not say."""
    return getattr(reader, "pose_convention", OURS)


def corrected_poses(reader: Reader, corrections: Corrections) -> tuple[np.ndarray, np.ndarray]:
    """(world_from_camera [N, 4, 4] of all frames, [N] bool whether a frame has one).

    Raises InputError for a time offset where the format has no stamps, or that leaves no frame.
    """
    poses = corrections.poses(reader.poses, convention_of(reader))
    known = np.ones(len(poses), dtype=bool)
    if corrections.pose_time_offset == 0:
        return poses, known
    stamps = getattr(reader, "stamps", None)
    if stamps is None:
        raise InputError(f"A {reader.kind} has no time stamps, so --pose-time-offset cannot be applied.")
    stamps = np.asarray(stamps, dtype=np.float64)
    order = np.argsort(stamps, kind="stable")
    if len(stamps) < 2 or (np.diff(stamps[order]) <= 0).any():
        raise InputError("Some images have the same time stamp, so --pose-time-offset cannot be applied.")
    poses = interpolated(poses[order], stamps[order], stamps + corrections.pose_time_offset)
    known = np.asarray(np.isfinite(poses).all(axis=(1, 2)))
    if not known.any():
        raise InputError(
            f"With --pose-time-offset {corrections.pose_time_offset:g} no image lies between two poses; the "
            f"recording is {np.ptp(stamps):.3g} s long."
        )
    if not known.all():
        logger.warning("%d images before the first or after the last pose dropped", (~known).sum())
    return poses, known
