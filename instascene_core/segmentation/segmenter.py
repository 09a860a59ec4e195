"""What every 2D instance segmenter offers: a frame in, a label image out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback


@dataclass(frozen=True)
class LabelImage:
    """The instances of one frame."""

    labels: np.ndarray  # [H, W] int32, UNLABELLED or an id ≥ 1
    scores: dict[int, float]  # id → confidence in [0, 1]
    warnings: tuple[str, ...] = ()  # one sentence each, for the caller to count and show


class Segmenter(Protocol):
    """Class-agnostic instance segmentation of single frames."""

    name: str
    needs_depth: bool  # without depth a frame gets no masks
    side_by_side: bool  # whether `segment` may run in several threads at a time

    @property
    def ids_are_global(self) -> bool:
        """Whether the same id means the same object in every frame."""
        ...

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback) -> None:
        """Learn what concerns the sequence as a whole; optional, before the frames are segmented."""
        ...

    def segment(self, frame: Frame) -> LabelImage:
        """Label image of one frame.  Raises InputError for a frame it cannot use."""
        ...
