"""From the frames of a recording to one verdict and its sentence."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instascene_core.corrections import Corrections
from instascene_core.frame import Frame
from instascene_core.plausibility import sentences, verdict
from instascene_core.plausibility.comparison import Comparison, compare
from instascene_core.plausibility.evidence import DepthEvidence, Evidence, ImageEvidence
from instascene_core.plausibility.hypotheses import CONVENTION, GIVEN, RANGE, TIME, Hypothesis, Trajectory
from instascene_core.plausibility.registration import depth_shift
from instascene_core.plausibility.verdict import ALTERNATIVE, RIGHT, UNCLEAR, UNKNOWN, Verdict
from instascene_core.pose_conventions import OURS

STILL = (
    1e-6  # metres, and entries of rotations: a camera that is tracked jitters by more, even when it stands
)
# Share from which images are taken to be of one place where all poses are the same: no noise of poses can
# lower it, and slow motion alone comes to more than half.
STILL_IMAGES = 0.85
SANE_DEPTH_M = 0.1, 30.0  # typical depth of what depth cameras see
# Factors between units of depth in use: powers of ten; 5000 and 4000 steps a metre (TUM, L515) against 1000
UNITS = (*(10.0**k for k in range(-4, 5) if k), 5.0, 0.2, 4.0, 0.25, 50.0, 0.02)
NEAR_UNIT = 0.04  # a factor this close to one of them, relatively, is meant to be it


def examine(frames: Sequence[Frame], reading: Corrections | None = None) -> Verdict:
    """Whether the frames, read with `reading` (its pose convention the one in effect), fit each other."""
    reading = reading or Corrections()
    reading = replace(reading, pose_convention=reading.pose_convention or OURS)
    deep = [f for f in frames if f.depth is not None and (f.depth > 0).any()]
    if len(frames) < 2:
        return Verdict(UNKNOWN)
    if len(deep) < max(2, len(frames) // 2):
        found = _judged(frames, ImageEvidence(frames), reading)
        return _of_empty_depth(frames, len(deep), found)
    found = _judged(deep, DepthEvidence(deep), reading)
    if found.outcome == UNKNOWN:  # by their poses no two views see the same: do their images?
        by_images = _judged(frames, ImageEvidence(frames), reading)
        found = by_images if by_images.outcome in (ALTERNATIVE, UNCLEAR) else found
    shift = None if found.outcome == ALTERNATIVE else depth_shift(deep)
    if shift is None:
        return found
    right, down = (float(round(share * deep[0].camera.width)) for share in shift)
    moved = replace(reading, depth_shift=(reading.depth_shift[0] + right, reading.depth_shift[1] + down))
    sentence = sentences.of_correction(verdict.DEPTH_SHIFT, reading, moved, "")
    return Verdict(ALTERNATIVE, verdict.DEPTH_SHIFT, sentence, found.agreement, moved)


def _of_empty_depth(frames: Sequence[Frame], deep: int, found: Verdict) -> Verdict:
    """`found` of the images, unless it says nothing and most depth images, all but `deep`, are empty."""
    empty = sum(frame.depth is not None for frame in frames) - deep
    if found.outcome not in (RIGHT, UNKNOWN) or empty <= len(frames) // 2:
        return found
    sentence = sentences.plain(verdict.EMPTY_DEPTH, empty=empty, count=empty + deep)
    return Verdict(UNCLEAR, verdict.EMPTY_DEPTH, sentence, found.agreement)


def _judged(frames: Sequence[Frame], evidence: Evidence, reading: Corrections) -> Verdict:
    """By one kind of evidence."""
    poses = np.stack([f.world_from_camera for f in frames])
    stamps = np.array([f.stamp for f in frames])
    trajectory = Trajectory(poses, stamps, evidence.indices, reading.pose_convention)
    still = _what_stands_still(poses)
    if still:
        return _judged_still(evidence, trajectory, still, len(frames))
    comparison = compare(evidence, trajectory)
    given = comparison.given
    if comparison.best.kind != GIVEN:
        return _alternative(comparison, evidence, reading)
    if not given.enough:
        return Verdict(UNKNOWN, agreement=given.share)
    if given.share < evidence.wrong_below:
        sentence = sentences.plain(verdict.NONE_FITS, given=_percent(given.share), what=evidence.what)
        return Verdict(UNCLEAR, verdict.NONE_FITS, sentence, given.share)
    return Verdict(RIGHT, agreement=given.share)


def _what_stands_still(poses: np.ndarray) -> str:
    """Which part of the poses [N, 4, 4] never changes; "" where all do."""
    position = np.abs(poses[:, :3, 3] - poses[0, :3, 3]).max() < STILL * (1 + np.abs(poses[:, :3, 3]).max())
    rotation = np.abs(poses[:, :3, :3] - poses[0, :3, :3]).max() < STILL
    if position:
        return verdict.SAME_POSES if rotation else verdict.NO_TRANSLATION
    return verdict.NO_ROTATION if rotation else ""


def _judged_still(evidence: Evidence, trajectory: Trajectory, still: str, count: int) -> Verdict:
    """Right where the images stood still as well."""
    fit = evidence.fit(trajectory.under(Hypothesis(GIVEN)))
    if still == verdict.SAME_POSES and not fit.enough and not evidence.has_depth:
        return Verdict(UNCLEAR, still, sentences.plain(verdict.NO_MOTION, count=count), fit.share)
    if not fit.enough:
        return Verdict(UNKNOWN, agreement=fit.share)
    if fit.share < _still_from(evidence, still):
        return Verdict(ALTERNATIVE, still, sentences.plain(still, count=count), fit.share)
    if still != verdict.NO_ROTATION and not evidence.has_depth:
        return Verdict(UNCLEAR, verdict.ON_THE_SPOT, sentences.plain(verdict.ON_THE_SPOT), fit.share)
    return Verdict(RIGHT, agreement=fit.share)


def _still_from(evidence: Evidence, still: str) -> float:
    """Share from which the images are taken to have stood still like the poses."""
    if still == verdict.SAME_POSES:
        return STILL_IMAGES
    if still == verdict.NO_TRANSLATION and not evidence.has_depth:
        return evidence.right_from  # nothing can be reconstructed either way: only the sentence differs
    return evidence.wrong_below


def _alternative(comparison: Comparison, evidence: Evidence, reading: Corrections) -> Verdict:
    """The reading that fits, by the name of what it changes."""
    best, value = comparison.best, comparison.best.value
    if best.kind == CONVENTION:
        name, found = verdict.CONVENTION, replace(reading, pose_convention=str(value))
    elif best.kind == TIME:
        offset = round(reading.pose_time_offset + float(value), 4)
        name, found = verdict.TIME, replace(reading, pose_time_offset=offset)
    elif best.kind == RANGE:
        name, found = verdict.RANGE, replace(reading, depth_is_range=True)
    else:
        name, found = _scale(float(value), evidence.typical_depth, reading)
    given = comparison.given.share if comparison.given.enough else 0.0
    agrees = sentences.AGREES.format(
        best=_percent(comparison.best_fit.share), given=_percent(given), what=evidence.what
    )
    sentence = sentences.of_correction(name, reading, found, agrees)
    return Verdict(ALTERNATIVE, name, sentence, given, found)


def _scale(factor: float, depth: float, reading: Corrections) -> tuple[str, Corrections]:
    """The reading with `factor` on the translations, or one on the depth (typically `depth` m) instead."""
    near = min(UNITS, key=lambda unit: abs(np.log(unit * factor)))
    is_unit = abs(np.log(near * factor)) < NEAR_UNIT
    sane = SANE_DEPTH_M[0] <= depth / factor <= SANE_DEPTH_M[1]
    insane_now = not SANE_DEPTH_M[0] <= depth <= SANE_DEPTH_M[1]
    if sane and (is_unit or insane_now):
        value = near if is_unit else 1 / factor
        return verdict.DEPTH_UNIT, replace(reading, depth_scale=reading.depth_scale * value)
    value = 1 / near if is_unit else factor
    return verdict.POSE_SCALE, replace(reading, pose_scale=reading.pose_scale * value)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
