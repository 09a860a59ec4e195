"""The network of the learned prior: from what was observed to a signed distance, in units of voxels.

Everything is measured in voxels of the network's own grid, so that scale does not matter; the grid's
third axis points up.  The network corrects the carved body (see `carving`), which it gets as an
input, and so never starts from nothing.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from instascene_core.completion.observing.observation import Observation, fuse_in_grid
from instascene_core.completion.priors.carving import carve
from instascene_core.config.completion import CarvingConfig
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.weights import filled_network, read_weights, write_weights

WEIGHTS = Path(__file__).parents[1] / "weights" / "completion.safetensors"
FORMAT = "instascene-completion-1"
CHANNELS = 9
CLIP = 3.0  # voxels: largest distance that is predicted
DEEP = 12.0  # voxels: largest distance to the carved body's surface that is told
MULTIPLE = 8  # of every side of the grid
WIDTHS = (32, 64, 128)
HEADS = 4


# --- inputs ---


def network_grid(grid: VoxelGrid, side: int) -> VoxelGrid:
    """The box of `grid` in about `side`³ voxels, grown a little so that every side is a multiple of 8."""
    size = np.array(grid.shape) * grid.voxel
    voxel = float(np.prod(size) ** (1 / 3)) / side
    shape = np.maximum(np.ceil(size / voxel / MULTIPLE - 0.25).astype(int), 1) * MULTIPLE
    voxel = float(max(voxel, (size / shape).max()))
    matrix = grid.world_from_grid.copy()
    center = matrix[:3, 3] + matrix[:3, :3] @ (grid.size / 2)
    matrix[:3, 3] = center - matrix[:3, :3] @ ((shape - 1) * voxel / 2)
    nx, ny, nz = (int(n) for n in shape)
    return VoxelGrid(matrix, voxel, (nx, ny, nz))


def observed_at(observation: Observation, side: int) -> Observation:
    """The observation fused again in the network's grid of about `side`³ voxels."""
    return fuse_in_grid(observation, network_grid(observation.grid, side))


def network_input(observation: Observation, carving: CarvingConfig | None = None) -> np.ndarray:
    """[CHANNELS, nx, ny, nz] float32 in [−1, 1] of an observation whose grid is the network's.

    Observed surface distance (0 where none), trust in it, known free, neighbour's surface, share of
    views that pass, height over the support and whether it is known, carved distance near and far.
    carving: of the carved body; None takes the defaults, which the network was trained with.
    """
    grid, volume = observation.grid, observation.volume
    trust = observation.trust
    tsdf = np.where(trust > 0, np.clip(np.nan_to_num(volume.tsdf) / grid.voxel, -CLIP, CLIP) / CLIP, 0)
    height, known = np.zeros(grid.shape, np.float32), 0.0
    if observation.support is not None:
        height, known = np.clip(observation.support.height(grid.centers()) / grid.voxel / 8, -1, 1), 1.0
    carved = carve(observation, carving or CarvingConfig()) / grid.voxel
    channels = (
        tsdf,
        trust,
        observation.free,
        observation.neighbour,
        np.clip(volume.free_views / max(1, observation.num_views), 0, 1),
        height,
        np.full(grid.shape, known),
        np.clip(carved, -CLIP, CLIP) / CLIP,
        np.clip(carved, -DEEP, DEEP) / DEEP,
    )
    return np.stack([np.asarray(channel, dtype=np.float32) for channel in channels])


# --- network ---


class Block(nn.Module):
    """Residual block of two convolutions, normalised over groups of channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(8, outputs), nn.GroupNorm(8, outputs)])
        self.skip = nn.Identity() if inputs == outputs else nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.silu(self.norms[0](self.first(x)))
        return nn.functional.silu(self.norms[1](self.second(y)) + self.skip(x))


class CompletionNetwork(nn.Module):
    """[B, CHANNELS, X, Y, Z] → distances [B, HEADS, X, Y, Z] in voxels, log of the first one's expected
    error [B, X, Y, Z] (natural, voxels), and log odds [B, HEADS] that a head is the best one.

    The first head is the best single guess; the others are hypotheses, each trained where it was best.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.widths = w = widths
        fine = 8  # channels at full resolution: enough to place a surface, cheap enough for a CPU
        self.fine = nn.Conv3d(CHANNELS, fine, 3, padding=1)
        self.stem = nn.Conv3d(fine, w[0], 2, stride=2)
        self.down = nn.ModuleList([Block(w[0], w[0]), Block(w[1], w[1]), Block(w[2], w[2])])
        self.reduce = nn.ModuleList([nn.Conv3d(w[0], w[1], 2, stride=2), nn.Conv3d(w[1], w[2], 2, stride=2)])
        self.middle = Block(w[2], w[2])
        self.up = nn.ModuleList([Block(w[1] + w[0], w[0]), Block(w[2] + w[1], w[1])])
        self.head = nn.Conv3d(w[0], 8 * fine, 1)
        self.last = nn.Conv3d(2 * fine, HEADS + 1, 3, padding=1)
        self.rank = nn.Linear(w[2], HEADS)
        assert self.last.bias is not None  # a convolution has one unless it is told not to
        nn.init.zeros_(self.last.bias)
        nn.init.normal_(self.last.weight, std=1e-2)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fine = nn.functional.silu(self.fine(inputs))
        a = self.down[0](self.stem(fine))
        b = self.down[1](self.reduce[0](a))
        c = self.middle(self.down[2](self.reduce[1](b)))
        rank = self.rank(c.mean(dim=(2, 3, 4)))
        b = self.up[1](torch.cat([_doubled(c), b], dim=1))
        a = self.up[0](torch.cat([_doubled(b), a], dim=1))
        rough = nn.functional.silu(_shuffled(self.head(a)))
        out = self.last(torch.cat([rough, fine], dim=1)).float()
        carved = CLIP * inputs[:, 7:8].float()
        return carved + out[:, :HEADS], out[:, HEADS], rank.float()


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


def _shuffled(x: torch.Tensor) -> torch.Tensor:
    """[B, 8 C, X, Y, Z] → [B, C, 2 X, 2 Y, 2 Z]."""
    batch, channels, nx, ny, nz = x.shape
    x = x.reshape(batch, channels // 8, 2, 2, 2, nx, ny, nz).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(batch, channels // 8, 2 * nx, 2 * ny, 2 * nz)


# --- weights ---


def save_network(network: CompletionNetwork, path: Path, notes: dict[str, str]) -> None:
    """Write the weights as half-precision safetensors, atomically, with `notes` in the header."""
    widths = json.dumps(network.widths)
    arrays = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    write_weights(path, arrays, FORMAT, {"widths": widths, **notes})


@lru_cache(maxsize=2)
def load_network(path: Path = WEIGHTS) -> tuple[CompletionNetwork, dict[str, str]]:
    """The network in a weights file, and the file's notes.

    Raises InputError when the file is missing or not one of ours.
    """
    arrays, notes = read_weights(path, FORMAT, "completion network")
    network = filled_network(CompletionNetwork, arrays, notes, path, "completion network")
    return cast(CompletionNetwork, network.eval()), notes
