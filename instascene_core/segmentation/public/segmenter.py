"""One class turns the masks that a public model proposes into label images, whatever the model."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from instascene_core.config.segmentation import MaskConfig, PublicSegmentersConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry.depth_maps import points_of_depth
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.public.mask_set import MaskSet, label_image
from instascene_core.segmentation.segmenter import LabelImage
from instascene_core.segmentation.support import Support


class MaskProposer(Protocol):
    """A model of public weights that is loaded and ready."""

    name: str
    device: torch.device

    @classmethod
    def from_config(cls, config: PublicSegmentersConfig) -> "MaskProposer":
        """Raises MissingDependencyError for what is not installed, InputError for unusable files."""
        ...

    def propose(self, rgb: np.ndarray, report: Callable[[float, str], None]) -> MaskSet:
        """The masks of one image ([H, W, 3] uint8); `report(share done, message)` while at it."""
        ...


class PublicSegmenter:
    """Class-agnostic masks from colour alone, frame by frame; ids do not agree between frames.

    The model says which masks it proposes; overlaps, sizes and ids are settled here.  Where the support
    is known and a frame has depth, masks of the support and of what lies beyond it are left out: such a
    model segments the table, too, and what no mask claims is what later counts as structure.
    """

    ids_are_global = False
    needs_depth = False
    side_by_side = False

    def __init__(
        self,
        model: MaskProposer,
        config: PublicSegmentersConfig,
        masks: MaskConfig,
        support: Support | None = None,
    ) -> None:
        self.name, self.model, self.support = model.name, model, support
        self._config, self._masks = config, masks
        self._progress: ProgressCallback = no_progress
        self._number: dict[str, int] = {}  # frame name → its place in the sequence

    def prepare(self, frames: Sequence[Frame], progress: ProgressCallback = no_progress) -> None:
        """Remember the sequence, so that progress within a frame can be told as part of the whole."""
        self._progress = progress
        self._number = {frame.name: index for index, frame in enumerate(frames)}
        progress("segmentation", 1.0, f"{self.name} on {self.model.device}")

    def segment(self, frame: Frame) -> LabelImage:
        """Label image of one frame.  Raises InputError where the GPU's memory does not suffice."""
        before, total = self._number.get(frame.name, 0), max(len(self._number), 1)

        def report(share: float, message: str) -> None:
            self._progress("masks", (before + share) / total, f"{frame.name}: {message}")

        try:
            with torch.inference_mode():
                found = self.model.propose(frame.rgb, report)
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                f"The GPU's memory does not suffice for the segmenter {self.name}; set "
                "segmentation.public.device to cpu or take a smaller checkpoint."
            ) from error
        if self.support is not None and frame.depth is not None:
            shares = structure_shares(found, frame, self.support)
            found = found.only(shares <= self._config.max_structure_share)
        return label_image(found, frame, self._config, self._masks)


def structure_shares(found: MaskSet, frame: Frame, support: Support) -> np.ndarray:
    """[N] share of each mask's measured pixels that is no object region; 0 where nothing is measured."""
    points = points_of_depth(frame.require_depth(), frame.camera)
    world = points @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]
    measured = points[..., 2] > 0
    height, width = found.masks.shape[1:]
    rows = ((np.arange(height) + 0.5) * frame.camera.height / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * frame.camera.width / width).astype(np.int64)
    structure = (measured & ~support.is_object_region(world))[np.ix_(rows, columns)]
    measured = measured[np.ix_(rows, columns)]
    inside = (found.masks > 0).numpy()
    return (inside & structure).sum(axis=(1, 2)) / np.maximum((inside & measured).sum(axis=(1, 2)), 1)
