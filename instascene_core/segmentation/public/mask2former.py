"""Masks from a public Mask2Former checkpoint (Cheng et al. 2022) through transformers."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from instascene_core.config.segmentation import PublicSegmentersConfig
from instascene_core.segmentation.public.device import choose_device
from instascene_core.segmentation.public.mask_set import MaskSet, masks_of_queries
from instascene_core.segmentation.public.transformers_models import (
    load_transformers_model,
    network_input,
    preprocessing_of,
)

EXAMPLE = "facebook/mask2former-swin-large-coco-instance"


class Mask2Former:
    """Every query that sees something is a mask, whatever its class: things and stuff alike."""

    name = "mask2former"

    def __init__(self, checkpoint: str, device: torch.device, min_score: float) -> None:
        """checkpoint: folder.  min_score: masks of a lower score are not proposed.

        Raises MissingDependencyError without transformers, InputError for an unusable checkpoint.
        """
        self.device, self._min_score = device, min_score
        model = load_transformers_model(
            checkpoint, self.name, ("mask2former",), "Mask2FormerForUniversalSegmentation", EXAMPLE
        )
        self.model = model.to(device)
        self.settings = preprocessing_of(Path(checkpoint).expanduser())

    @classmethod
    def from_config(cls, config: PublicSegmentersConfig) -> "Mask2Former":
        return cls(config.checkpoint, choose_device(config.device), config.min_mask_score)

    def propose(self, rgb: np.ndarray, report: Callable[[float, str], None]) -> MaskSet:
        shape = input_shape(rgb.shape[:2], self.settings)
        output = self.model(pixel_values=network_input(rgb, shape, self.settings, self.device))
        report(0.8, "queries to masks")
        return masks_of_queries(
            output.class_queries_logits[0], output.masks_queries_logits[0], self._min_score
        )


def input_shape(shape: tuple[int, int], settings: dict) -> tuple[int, int]:
    """(height, width) an image of `shape` is stretched to, as the checkpoint's preprocessor file says.

    The shorter edge gets a given length unless the longer one would exceed its own, or both are given;
    then each is rounded up to a multiple of `size_divisor`.  Default: 800, 1333 and 32.
    """
    size = settings.get("size", {"shortest_edge": 800, "longest_edge": 1333})
    if isinstance(size, int):
        size = {"shortest_edge": size, "longest_edge": settings.get("max_size", 1333)}
    if not settings.get("do_resize", True):
        height, width = shape
    elif "height" in size:
        height, width = size["height"], size["width"]
    else:
        scale = size["shortest_edge"] / min(shape)
        if size.get("longest_edge"):
            scale = min(scale, size["longest_edge"] / max(shape))
        height, width = (max(round(edge * scale), 1) for edge in shape)
    divisor = settings.get("size_divisor") or settings.get("size_divisibility") or 32
    return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor
