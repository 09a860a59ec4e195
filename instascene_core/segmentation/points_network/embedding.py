"""What positions are to the queries: sine embeddings, and a bias of attention by where a superpoint lies."""

import math

import torch
from torch import nn

AXES = 3


def sine_embedding(positions: torch.Tensor, channels: int, wavelength: float) -> torch.Tensor:
    """[..., channels] of positions [..., 3] in metres (after Vaswani et al. 2017, an axis a third).

    The longest wave is `wavelength` metres, each next one half as long; channels not divisible by 6 end in 0.
    """
    waves = channels // (2 * AXES)
    frequency = 2 * math.pi / wavelength * 2.0 ** torch.arange(waves, dtype=positions.dtype)
    phase = positions[..., None] * frequency.to(positions.device)  # [..., 3, waves]
    embedding = torch.cat([phase.sin(), phase.cos()], dim=-1).flatten(-2)
    return nn.functional.pad(embedding, (0, channels - embedding.shape[-1]))


class RelativePositionBias(nn.Module):
    """Added to the attention of a query to a superpoint: by their offset along each axis, in steps.

    One table a head and axis (after MAFT, Lai et al. 2023).
    """

    def __init__(self, heads: int, steps: int, step_m: float) -> None:
        """steps: to either side; what is farther counts as the last one.  step_m: metres."""
        super().__init__()
        self.steps, self.step_m = steps, step_m
        self.table = nn.Parameter(torch.zeros(AXES, 2 * steps + 1, heads))

    def forward(self, references: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """[heads, Q, S] of reference points [Q, 3] and superpoints' centres [S, 3]."""
        offset = (centres[None] - references[:, None].detach()) / self.step_m  # [Q, S, 3]
        index = offset.round().clamp(-self.steps, self.steps).long() + self.steps
        bias = self.table[0][index[..., 0]] + self.table[1][index[..., 1]] + self.table[2][index[..., 2]]
        return bias.permute(2, 0, 1)
