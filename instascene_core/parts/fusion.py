"""Features of points joined by what they are: the semantic-assisted fusion (Sun et al. 2022, section 3.2).

A point on one leg of a chair learns where its leg's centre is from all points that are leg: the instance
features are averaged over each class by its probability, and every point gets the mix of the classes'
averages by its own probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from instascene_core.parts.boxes import in_boxes, rows_in_boxes


@dataclass(frozen=True)
class FusionParts:
    """Which of the three parts of the fusion a network has, for the ablation."""

    within: bool = True  # features of the level's own classes
    across: bool = True  # and of the other levels' classes
    region: bool = True  # the centre of the semantic region is predicted, and pushes clusters apart


def region_features(
    features: torch.Tensor, probabilities: torch.Tensor, counts: Sequence[int]
) -> torch.Tensor:
    """[N, C]: to each point the mix, by its probabilities, of the classes' mean features in its thing.

    features: [N, C]; probabilities: [N, K], rows sum to 1; counts: points of each thing, Σ = N.
    With m_k = Σ_i p_ik f_i / Σ_i p_ik over the points i of the thing, the result is Σ_k p_k m_k.
    """
    rows = rows_in_boxes(counts, features.device)
    f, p = in_boxes(features, counts, rows), in_boxes(probabilities, counts, rows)
    weight = p.sum(dim=1).clamp_min(1e-12)
    mixed = p @ (p.transpose(1, 2) @ f / weight[..., None])
    return mixed.flatten(0, 1).index_select(0, rows)


class OffsetHead(nn.Module):
    """One level's offsets from each point to its instance's centre and to its semantic region's."""

    def __init__(self, inputs: int, hidden: int, levels: int, parts: FusionParts) -> None:
        super().__init__()
        self.parts = parts
        self.first = pointwise(inputs, hidden)
        self.second = pointwise(hidden, hidden)
        sources = int(parts.within) + int(parts.across) * (levels - 1)
        self.transfer = nn.ModuleList(pointwise(hidden, hidden) for _ in range(sources))
        self.fuse = pointwise(hidden * (1 + sources) + 3, hidden)
        self.out = nn.Linear(hidden, 6 if parts.region else 3)

    def forward(
        self,
        features: torch.Tensor,
        probabilities: Sequence[torch.Tensor],
        own: int,
        points: torch.Tensor,
        counts: Sequence[int],
    ) -> torch.Tensor:
        """[N, 6] (or [N, 3] without the region's centre).

        features: [N, C]; probabilities: [N, K_l] of each level, through which no gradient goes; own: the
        level; points: [N, 3] in the unit ball; counts: points of each thing.
        """
        hidden = self.second(self.first(features))
        chosen = [probabilities[own]] if self.parts.within else []
        if self.parts.across:
            chosen += [p for level, p in enumerate(probabilities) if level != own]
        mixed = [
            transfer(region_features(hidden, p.detach(), counts))
            for transfer, p in zip(self.transfer, chosen, strict=True)
        ]
        return self.out(self.fuse(torch.cat([hidden, *mixed, points], dim=1)))


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """A layer that every point goes through alone."""
    return nn.Sequential(
        nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2, inplace=True)
    )
