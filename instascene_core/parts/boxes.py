"""Things of different numbers of points side by side, so that all are reckoned with at once."""

from collections.abc import Sequence

import torch


def rows_in_boxes(counts: Sequence[int], device: torch.device) -> torch.Tensor:
    """[N] int64: where the points of things with so many points each come to lie, a box of max(counts) rows
    a thing."""
    most = max(counts)
    return torch.cat([torch.arange(n) + k * most for k, n in enumerate(counts)]).to(device)


def in_boxes(values: torch.Tensor, counts: Sequence[int], rows: torch.Tensor) -> torch.Tensor:
    """[B, max(counts), …] of values [N, …], 0 where a box is empty; rows: `rows_in_boxes` of the counts."""
    most = max(counts)
    boxes = values.new_zeros(len(counts) * most, *values.shape[1:]).index_copy(0, rows, values)
    return boxes.unflatten(0, (len(counts), most))
