"""Label images of some of the views, carried to the others over the fused surface."""

from collections.abc import Sequence

import numpy as np

from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.fused_surface.segmenter import SurfaceSegmenter
from instascene_core.segmentation.labels import GivenLabels
from instascene_core.segmentation.segmenter import LabelImage


class PropagatedLabels:
    """Masks for every frame where label images came with some.

    Few views with damaged masks leave too few votes on a pair of patches.  The surface that all frames show
    has evidence on the same pairs; `surface` weighs both and cuts.  Masks on what it does not know to be an
    object are kept as given.
    """

    name = "labels"
    needs_depth = True
    side_by_side = False
    ids_are_global = False

    def __init__(self, given: GivenLabels, surface: SurfaceSegmenter, known_share: float) -> None:
        """surface: of a cutter that heeds the frames' label images; known_share: see `GivenMasksConfig`."""
        self._given, self._surface, self._known_share = given, surface, known_share

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Raises InputError where no frame has a mask, or none has depth."""
        self._given.prepare(frames, progress)
        checked = [f if f.labels is None else f.with_(labels=self._given.segment(f).labels) for f in frames]
        self._surface.prepare(checked, progress)

    def segment(self, frame: Frame) -> LabelImage:
        """The parts of the surface, and those of the frame's own masks that lie on none."""
        found = self._surface.segment(frame)
        if frame.labels is None:
            return found
        given = self._given.segment(frame)
        labels, scores = found.labels.copy(), dict(found.scores)
        next_id = max(int(labels.max(initial=0)), 0) + 1
        for mask_id in given.scores:
            free = (given.labels == mask_id) & (labels < 1)
            if np.count_nonzero(free) > (1 - self._known_share) * np.count_nonzero(given.labels == mask_id):
                labels[free], scores[next_id] = next_id, given.scores[mask_id]
                next_id += 1
        return LabelImage(labels, scores, (*found.warnings, *given.warnings))
