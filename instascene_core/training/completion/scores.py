"""How well a network completes held-out procedural shapes."""

from pathlib import Path

import numpy as np
import torch

from instascene_core.completion.priors.network import CLIP, CompletionNetwork
from instascene_core.training.completion.data import read_shard, shard_path
from instascene_core.training.completion.shapes import HOLLOW


def score_network(network: CompletionNetwork, data: Path, seeds: range) -> dict[str, float]:
    """Means over the shards `seeds` in `data`.

    iou, iou_hollow, iou_solid: of inside voxels, first head; iou_best: of the best head each time;
    iou_carving: of the carved body; error: mean |predicted − true| distance within two voxels of the true
    surface, voxels; doubt_scale: that by which predicted errors must be multiplied to be right in the
    mean; quartile_ratio: error of the most doubted quarter of surface voxels over that of the least.
    """
    device = next(network.parameters()).device
    rows, errors, doubts = [], [], []
    rng = np.random.default_rng(0)
    for seed in seeds:
        shard = read_shard(shard_path(data, seed))
        for index, kind in enumerate(shard.kinds):
            example = shard.example(index)
            inputs = torch.from_numpy(example.inputs)[None].to(device)
            autocast = torch.autocast(device.type, torch.bfloat16)
            with torch.inference_mode(), autocast:
                distances, doubt, _ = network(inputs.contiguous(memory_format=torch.channels_last_3d))
            heads = distances[0].clamp(-CLIP, CLIP).cpu().numpy()
            truth = example.distance
            ious = [_iou(head, truth) for head in heads]
            near, surface = np.abs(truth) < 2, np.flatnonzero(np.abs(heads[0]) < 1)
            error = np.abs(heads[0] - truth)
            if len(surface) == 0 or not near.any():
                continue
            some = rng.choice(surface, min(500, len(surface)), replace=False)
            errors.append(error.ravel()[some])
            doubts.append(np.exp(np.clip(doubt[0].float().cpu().numpy(), -5, 3)).ravel()[some])
            carved = _iou(example.inputs[7], truth)
            rows.append((kind in HOLLOW, ious[0], max(ious), carved, float(error[near].mean())))
    hollow, first, best, carved, error = (np.array(column, dtype=float) for column in zip(*rows))
    errors, doubts = np.concatenate(errors), np.concatenate(doubts)
    quarters = [errors[part].mean() for part in np.array_split(np.argsort(doubts, kind="stable"), 4)]
    return {
        "iou": float(first.mean()),
        "iou_hollow": float(first[hollow > 0].mean()) if hollow.any() else float("nan"),
        "iou_solid": float(first[hollow == 0].mean()) if (hollow == 0).any() else float("nan"),
        "iou_best": float(best.mean()),
        "iou_carving": float(carved.mean()),
        "error": float(error.mean()),
        "doubt_scale": float(errors.mean() / doubts.mean()),
        "quartile_ratio": float(quarters[-1] / quarters[0]),
    }


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of the negative parts of two fields."""
    a, b = first < 0, second < 0
    return float((a & b).sum() / max(1, (a | b).sum()))
