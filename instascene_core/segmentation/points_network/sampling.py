"""Superpoints spread over what may be objects: where queries start."""

import torch

from instascene_core.segmentation.points_network.outputs import SuperpointScene


def farthest_points(positions: torch.Tensor, count: int) -> torch.Tensor:
    """[min(count, N)] int64 index of points [N, 3], each the farthest from those before; the first is the one
    farthest from the mean."""
    count = min(count, len(positions))
    if positions.is_cuda:  # step by step a GPU is slower than one core
        return farthest_points(positions.cpu(), count).to(positions.device)
    chosen = torch.empty(count, dtype=torch.int64, device=positions.device)
    squared = ((positions - positions.mean(dim=0)) ** 2).sum(dim=1)
    near = torch.full_like(squared, float("inf"))
    for i in range(count):
        chosen[i] = (squared if i == 0 else near).argmax()
        near = torch.minimum(near, ((positions - positions[chosen[i]]) ** 2).sum(dim=1))
    return chosen


def start_points(scene: SuperpointScene, count: int) -> torch.Tensor:
    """[≤ count] int64 superpoints: farthest points where each thinks its object's centre is.

    Of those that are more likely object than not (after ISBNet, Ngo et al. 2023); of all where these are
    too few.
    """
    with torch.no_grad():
        likely = torch.nonzero(scene.objectness > 0)[:, 0]
        if len(likely) < count:
            likely = torch.topk(scene.objectness, min(count, len(scene.objectness))).indices.sort().values
        return likely[farthest_points((scene.centres + scene.offsets)[likely], count)]
