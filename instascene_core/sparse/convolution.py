"""Sparse convolutions: gather the rows of each place of the kernel, multiply, scatter into the output."""

import math
from typing import Any

import torch
from torch import nn

from instascene_core.sparse.pairs import CHILDREN, NEIGHBOURS, Pairs


def convolve(features: torch.Tensor, weight: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """[num_outputs, D] = Σ_k W_kᵀ x over the pairs of place k.

    features: [num_inputs, C]; weight: [K, C, D].
    """
    return _Convolution.apply(features, weight, pairs)  # pyright: ignore[reportReturnType]


def _accumulate(rows: torch.Tensor, weights: list[torch.Tensor], pairs: Pairs) -> torch.Tensor:
    if at_once(rows):
        return gathered(rows, pairs) @ torch.cat(weights)
    if pairs.centre is not None:
        total = rows @ weights[pairs.centre]
    else:
        total = rows.new_zeros(pairs.num_outputs, weights[0].shape[1])
    for k, (inputs, outputs) in enumerate(zip(pairs.inputs, pairs.outputs)):
        if k != pairs.centre and len(inputs):
            total.index_add_(0, outputs, rows.index_select(0, inputs) @ weights[k])
    return total


def at_once(rows: torch.Tensor) -> bool:
    """Whether a product of all places together is the faster way: on a GPU starting 27 of them takes longer
    than they do; a CPU would only move more memory."""
    return rows.is_cuda


def gathered(rows: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """[num_outputs, K · C]: the rows [num_inputs, C] that each output sees, side by side, 0 for none."""
    padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    return padded[pairs.table].flatten(1)


class _Convolution(torch.autograd.Function):
    """Keeps the features alone for the gradients: what autograd would keep is the gathered rows, ten times
    as much."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, weight: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        ctx.save_for_backward(features, weight)
        ctx.pairs = pairs
        return _accumulate(features, list(weight), pairs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        features, weight = ctx.saved_tensors
        gradient, pairs = gradients[0].contiguous(), ctx.pairs
        of_features = of_weight = None
        if ctx.needs_input_grad[0]:
            of_features = _accumulate(gradient, [w.T for w in weight], pairs.transposed)
        if ctx.needs_input_grad[1] and at_once(features):
            of_weight = (gathered(features, pairs).T @ gradient).reshape(weight.shape)
        elif ctx.needs_input_grad[1]:
            of_weight = torch.zeros_like(weight)
            for k, (inputs, outputs) in enumerate(zip(pairs.inputs, pairs.outputs)):
                if k == pairs.centre:
                    of_weight[k] = features.T @ gradient
                elif len(inputs):
                    of_weight[k] = features.index_select(0, inputs).T @ gradient.index_select(0, outputs)
        return of_features, of_weight, None


class _SparseConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, places: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(places, inputs, outputs))
        # As He et al. 2015; surfaces fill about a third of a kernel's places.
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / (inputs * max(1.0, places / 3))))

    def forward(self, features: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """[num_outputs, outputs] of features [num_inputs, inputs]."""
        return convolve(features, self.weight, pairs)


class SubmanifoldConv(_SparseConv):
    """3×3×3 among the occupied voxels of one level; what is empty stays empty.  Pairs: `neighbours`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, len(NEIGHBOURS))


class CoarserConv(_SparseConv):
    """2×2×2 of stride 2, to the next coarser level.  Pairs: `down`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, len(CHILDREN))


class FinerConv(_SparseConv):
    """The inverse of `CoarserConv`: back to exactly the finer level's voxels.  Pairs: `up`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, len(CHILDREN))
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / inputs))  # each output sees one place alone
