"""What the images of a recording say about a hypothesis: agreement pair by pair of views."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instascene_core.frame import Frame
from instascene_core.plausibility.depth_warp import TOLERANCE, warp
from instascene_core.plausibility.matches import agreement, find_matches
from instascene_core.plausibility.views import chosen, depth_views

LEAST_TESTED = 0.02  # share of the sampled pixels that some other view must see, for depth to say anything
LEAST_MATCHES = 60  # of features in all pairs together, for images to say anything


@dataclass(frozen=True)
class Fit:
    """How well one hypothesis explains the pairs of views."""

    scores: np.ndarray  # [pairs] −1 … 1: agreement less contradiction; NaN = the hypothesis says nothing
    share: float  # of what was tested, agreeing: 0 … 1
    enough: bool  # whether enough was tested for the share to mean something

    @property
    def score(self) -> float:
        known = self.scores[np.isfinite(self.scores)]
        return float(known.mean()) if len(known) else 0.0


class Evidence(Protocol):
    """Of depth, or of the images alone."""

    indices: np.ndarray  # [V] places of the views among all frames
    right_from: float  # share from which a recording is taken to be right as it is
    wrong_below: float  # share below which no recording that is right comes out
    alternative_from: float  # share from which an alternative explains a recording
    telling: float  # difference of two scores of a pair below which it does not tell them apart
    what: str  # agrees, in words
    has_depth: bool
    typical_depth: float  # metres as given; 0 = not known

    def fit(self, poses: np.ndarray, *, is_range: bool = False, coarse: bool = False) -> Fit:
        """Of world_from_camera [V, 4, 4], NaN where the hypothesis has none; coarse: quick, tolerant."""
        ...


class DepthEvidence:
    """Points of each depth image, warped into every other one."""

    right_from, wrong_below, alternative_from, telling = 0.85, 0.55, 0.8, 0.02
    what, has_depth = "of the surface seen twice", True

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._views = depth_views(frames)
        self._coarse = self._views.thinned()
        self.indices = self._views.indices
        known = self._views.z[self._views.z > 0]
        self.typical_depth = float(np.median(known)) if len(known) else 0.0  # metres, as given

    def fit(self, poses: np.ndarray, *, is_range: bool = False, coarse: bool = False) -> Fit:
        views = self._coarse if coarse else self._views
        known = np.asarray(np.isfinite(poses).all(axis=(1, 2)))
        safe = np.where(known[:, None, None], poses, np.eye(4))
        agreeing, through, tested = warp(views, safe, is_range, 5 * TOLERANCE if coarse else TOLERANCE)
        both = known[:, None] & known
        agreeing, through, tested = agreeing * both, through * both, tested * both
        count = views.count[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.where(both & (count > 0), (agreeing - through) / count, np.nan)
        first, second = np.triu_indices(len(poses), 1)
        sampled = (count * both)[first, second].sum() + (count * both)[second, first].sum()
        contested = agreeing.sum() + through.sum()
        return Fit(
            scores=(scores[first, second] + scores[second, first]) / 2,
            share=float(agreeing.sum() / contested) if contested > 0 else 0.0,
            enough=bool(tested.sum() > LEAST_TESTED * sampled),
        )


class ImageEvidence:
    """Features of neighbouring images, against their epipolar lines."""

    right_from, wrong_below, alternative_from, telling = 0.6, 0.15, 0.45, 0.1
    what, has_depth, typical_depth = "of the matched features", False, 0.0

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.indices = chosen(len(frames))
        self._matches = find_matches([frames[i] for i in self.indices])

    def fit(self, poses: np.ndarray, *, is_range: bool = False, coarse: bool = False) -> Fit:
        scores = agreement(self._matches, poses)
        known = np.isfinite(scores)
        count = sum(len(m.first) for m, k in zip(self._matches, known) if k)
        share = float(scores[known].mean()) if known.any() else 0.0
        return Fit(scores, share, count >= LEAST_MATCHES and known.sum() >= 4)
