"""Masks of everything in an image from a public SAM 2 checkpoint (Ravi et al. 2024) through transformers.

Automatic mask generation as of Kirillov et al. 2023 ("Segment Anything", appendix B): a regular grid of
single-point prompts, three masks each, kept where the network is sure of them and where they do not
depend on the threshold; repetitions go.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from instascene_core.config.segmentation import PublicSegmentersConfig, Sam2Config
from instascene_core.errors import InputError
from instascene_core.segmentation.public.device import choose_device
from instascene_core.segmentation.public.mask_set import MaskSet, require_finite
from instascene_core.segmentation.public.transformers_models import (
    load_transformers_model,
    network_input,
    preprocessing_of,
)

EXAMPLE = "facebook/sam2.1-hiera-small"
MODEL_TYPES = ("sam2", "sam2_video")  # the public checkpoints are of the second kind and hold the first


class Sam2:
    """Whatever a point of a regular grid lies on; a mask's score is the IoU the network predicts for it."""

    name = "sam2"

    def __init__(self, checkpoint: str, device: torch.device, config: Sam2Config) -> None:
        """checkpoint: folder.

        Raises MissingDependencyError without transformers, InputError for an unusable checkpoint.
        """
        if config.points_per_side < 1 or config.points_per_batch < 1:
            raise InputError(
                "segmentation.public.sam2.points_per_side and points_per_batch must be 1 or more."
            )
        self.device, self.config = device, config
        # transformers is imported late: its classes' own attributes are unknown here.
        self.model = cast(
            Any, load_transformers_model(checkpoint, self.name, MODEL_TYPES, "Sam2Model", EXAMPLE)
        )
        self.model.to(device)
        self.settings = preprocessing_of(Path(checkpoint).expanduser())
        # The feature maps' sizes are part of the network: every image is stretched to this square.
        self.size = int(self.model.config.prompt_encoder_config.image_size)

    @classmethod
    def from_config(cls, config: PublicSegmentersConfig) -> "Sam2":
        return cls(config.checkpoint, choose_device(config.device), config.sam2)

    def propose(self, rgb: np.ndarray, report: Callable[[float, str], None]) -> MaskSet:
        pixels = network_input(rgb, (self.size, self.size), self.settings, self.device)
        embeddings = self.model.get_image_embeddings(pixels)
        points = torch.from_numpy(grid_points(self.config.points_per_side) * self.size)
        batches = points.float().to(self.device).split(self.config.points_per_batch)
        masks, scores = [], []
        for index, batch in enumerate(batches):
            report(0.3 + 0.7 * index / len(batches), f"points, batch {index + 1} of {len(batches)}")
            output = self.model(
                image_embeddings=embeddings,
                input_points=batch[None, :, None],  # [1, P, 1, 2] x, y
                input_labels=torch.ones(1, len(batch), 1, dtype=torch.int64, device=self.device),
                multimask_output=True,
            )
            found = sure_masks(output.pred_masks[0], output.iou_scores[0], self.config)
            masks.append(found.masks)
            scores.append(found.scores)
        return MaskSet(torch.cat(masks), np.concatenate(scores))


def grid_points(per_side: int) -> np.ndarray:
    """[per_side², 2] float64 x, y in (0, 1): the centres of equal cells."""
    steps = (np.arange(per_side) + 0.5) / per_side
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


def sure_masks(logits: torch.Tensor, predicted_iou: torch.Tensor, config: Sam2Config) -> MaskSet:
    """The masks of a batch of prompts with a good predicted IoU and a stable outline.

    logits: [P, 3, h, w].  predicted_iou: [P, 3].  The stability is the IoU of the masks cut at
    ± `stability_offset`.  Kept in half precision: all that matters of a logit is where it is 0.
    """
    logits, scores = logits.flatten(0, 1), predicted_iou.flatten().float()
    require_finite(scores)
    offset = config.stability_offset
    core = (logits > offset).sum(dim=(1, 2))
    hull = (logits > -offset).sum(dim=(1, 2))
    stability = core / hull.clamp(min=1)
    keep = (scores >= config.min_predicted_iou) & (stability >= config.min_stability)
    return MaskSet(logits[keep].half().cpu(), scores[keep].clamp(0, 1).double().cpu().numpy())
