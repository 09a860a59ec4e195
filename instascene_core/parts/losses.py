"""What the part network is trained by (Sun et al. 2022, section 3.3): cross-entropy and L1 at every level."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from instascene_core.parts.boxes import in_boxes, rows_in_boxes
from instascene_core.parts.network import PartPrediction
from instascene_core.parts.samples import UNKNOWN, PartBatch


@dataclass(frozen=True)
class LossWeights:
    """How much each counts."""

    semantic: float = 1.0  # cross-entropy of the classes
    instance: float = 1.0  # L1 of the offset to the instance's centre
    region: float = 1.0  # L1 of the offset to the semantic region's centre


def part_loss(prediction: PartPrediction, batch: PartBatch, weights: LossWeights) -> torch.Tensor:
    """The sum over levels of the weighted losses; each is a mean over the known points of a thing, then over
    the things."""
    total = batch.points.new_zeros(())
    for level, logits in enumerate(prediction.logits):
        truth = batch.semantic[level]
        known = (truth != UNKNOWN).to(logits.dtype)
        cross = F.cross_entropy(logits, truth, ignore_index=UNKNOWN, reduction="none")
        total = total + weights.semantic * mean_of_things(cross, known, batch.counts)
        wanted = batch.instance_centre[level] - batch.points
        error = (prediction.to_instance[level] - wanted).abs().mean(dim=1)
        total = total + weights.instance * mean_of_things(error, known, batch.counts)
        if prediction.to_region:
            wanted = batch.region_centre[level] - batch.points
            error = (prediction.to_region[level] - wanted).abs().mean(dim=1)
            total = total + weights.region * mean_of_things(error, known, batch.counts)
    return total


def mean_of_things(values: torch.Tensor, known: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """The mean over things of the mean over their known points; values [N], known [N] of 0 and 1.

    A thing without known points counts as 0.
    """
    rows = rows_in_boxes(counts, values.device)
    total = in_boxes(values * known, counts, rows).sum(dim=1)
    return (total / in_boxes(known, counts, rows).sum(dim=1).clamp_min(1.0)).mean()
