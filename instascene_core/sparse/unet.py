"""A residual U-Net of sparse convolutions (Graham et al. 2018; residual blocks after He et al. 2016)."""

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from instascene_core.sparse.convolution import CoarserConv, FinerConv, SubmanifoldConv
from instascene_core.sparse.pairs import Pairs, Pyramid


class ResidualBlock(nn.Module):
    """Two 3×3×3 convolutions, each after normalisation and ReLU, beside the identity (or one product)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first_norm, self.first = nn.BatchNorm1d(inputs), SubmanifoldConv(inputs, outputs)
        self.second_norm, self.second = nn.BatchNorm1d(outputs), SubmanifoldConv(outputs, outputs)
        self.beside = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: torch.Tensor, neighbours: Pairs) -> torch.Tensor:
        """[V, outputs] of x [V, inputs]."""
        y = self.first(torch.relu(self.first_norm(x)), neighbours)
        y = self.second(torch.relu(self.second_norm(y)), neighbours)
        return y + self.beside(x)


class _Blocks(nn.ModuleList):
    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__(ResidualBlock(inputs if i == 0 else outputs, outputs) for i in range(depth))

    def forward(self, x: torch.Tensor, neighbours: Pairs) -> torch.Tensor:
        for block in self:
            x = block(x, neighbours)
        return x


class SparseEncoder(nn.Module):
    """Features of every level, fine to coarse."""

    def __init__(self, in_channels: int, widths: Sequence[int], depth: int) -> None:
        """widths: channels of each level, the finest first; depth: residual blocks a level."""
        super().__init__()
        self.stem = SubmanifoldConv(in_channels, widths[0])
        self.blocks = nn.ModuleList(_Blocks(w, w, depth) for w in widths)
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) for w in widths[:-1])
        self.down = nn.ModuleList(CoarserConv(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, features: torch.Tensor, pyramid: Pyramid) -> list[torch.Tensor]:
        """One [V_i, widths[i]] a level, of features [V_0, in_channels] of the finest."""
        x = self.stem(features, pyramid.neighbours[0])
        levels = []
        for level, blocks in enumerate(self.blocks):
            x = blocks(x, pyramid.neighbours[level])
            levels.append(x)
            if level < len(self.down):
                x = self.down[level](torch.relu(self.norms[level](x)), pyramid.down[level])
        return levels


class SparseDecoder(nn.Module):
    """An encoder's features brought back to the finest level."""

    def __init__(self, widths: Sequence[int], out_channels: int, depth: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) for w in widths[1:])
        self.up = nn.ModuleList(FinerConv(b, a) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(_Blocks(2 * w, w, depth) for w in widths[:-1])
        self.out_norm = nn.BatchNorm1d(widths[0])
        self.out = nn.Linear(widths[0], out_channels)

    def forward(self, levels: Sequence[torch.Tensor], pyramid: Pyramid) -> torch.Tensor:
        """[V_0, out_channels] of one [V_i, widths[i]] a level."""
        x = levels[-1]
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.relu(self.norms[level](x)), pyramid.up[level])
            x = self.blocks[level](torch.cat([levels[level], x], dim=1), pyramid.neighbours[level])
        return self.out(torch.relu(self.out_norm(x)))


class SparseUNet(nn.Module):
    """One encoder and one decoder."""

    def __init__(self, in_channels: int, widths: Sequence[int], out_channels: int, depth: int = 1) -> None:
        super().__init__()
        self.encoder = SparseEncoder(in_channels, widths, depth)
        self.decoder = SparseDecoder(widths, out_channels, depth)
        self.num_levels = len(widths)

    def forward(self, features: torch.Tensor, pyramid: Pyramid) -> torch.Tensor:
        """[V, out_channels] of features [V, in_channels], rows as in `pyramid.voxels[0]`."""
        return self.decoder(self.encoder(features, pyramid), pyramid)
