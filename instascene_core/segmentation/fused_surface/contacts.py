"""Whether two patches of the fused surface are one object: all evidence on a pair, and what it says.

What the network saw of the pair in every view, how the surface bends, and the colours on both sides go
through a small perceptron; it learned on procedural scenes what hand-set weights cannot balance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from instascene_core.segmentation.fused_surface.cutting import group_mean
from instascene_core.segmentation.fused_surface.surface import FusedSurface, unit
from instascene_core.segmentation.graph import Links
from instascene_core.weights import read_weights, require_shapes

WEIGHTS = Path(__file__).parents[1] / "weights" / "contacts.safetensors"
FORMAT = "instascene contacts 1"
# These, and the scales of the features below, are what the weights were trained with.
QUANTILES = (0.25, 0.5, 0.8, 0.95)
LIMIT = 6.0  # standard deviations at which a feature is cut off


@dataclass(frozen=True)
class PatchPairs:
    """Pairs of patches that some view sees together or that touch, and the evidence on each."""

    first: np.ndarray  # [C] int64, < second
    second: np.ndarray  # [C] int64
    touching: np.ndarray  # [C] bool
    contact: np.ndarray  # [C] float64 element pairs of the contact
    seen: np.ndarray  # [C] float64 pixel pairs of all views, weighted by trust
    features: np.ndarray  # [C, NUM_FEATURES] float32, free of the unit of length


def describe_pairs(
    surface: FusedSurface,
    pairs: np.ndarray,
    patch: np.ndarray,
    border: np.ndarray,
    contacts: Links,
    views: Sequence[Links],
) -> PatchPairs:
    """The evidence on all pairs of patches.

    pairs: [P, 2] neighbouring elements; patch: [K] of every element; border: [P] how likely an object
    ends between the two; contacts: creases between touching patches; views: what the network says,
    one Links a view.
    """
    count = int(patch.max(initial=-1)) + 1
    at_contact = contacts.first * count + contacts.second
    keys = np.concatenate([view.first * count + view.second for view in views] or [at_contact[:0]])
    every = np.union1d(keys, at_contact)
    first, second = every // max(count, 1), every % max(count, 1)
    place = np.searchsorted(every, at_contact)
    contact, crease = np.zeros(len(every)), np.zeros(len(every))
    contact[place], crease[place] = contacts.weight, contacts.cut
    by_views, seen = _describe_views(np.searchsorted(every, keys), views, len(every))
    size = np.bincount(patch, minlength=count).astype(np.float64)
    small, large = np.minimum(size[first], size[second]), np.maximum(size[first], size[second])
    columns = [
        by_views,
        (contact > 0)[:, None], np.log1p(contact)[:, None] / 3, (contact / np.sqrt(small))[:, None],
        crease[:, None],
        _describe_patches(surface, patch, first, second),
        _describe_borders(surface, pairs, patch, border, every),
        np.log(small)[:, None] / 4, np.log(large)[:, None] / 4,
    ]  # fmt: skip
    features = np.concatenate(columns, axis=1).astype(np.float32)
    return PatchPairs(first, second, contact > 0, contact, seen, features)


def _describe_views(index: np.ndarray, views: Sequence[Links], count: int) -> tuple[np.ndarray, np.ndarray]:
    """([C, 10], [C] weight): how the cuts that the views see are distributed."""
    cut = np.concatenate([view.cut for view in views] or [np.zeros(0)])
    weight = np.concatenate([view.weight for view in views] or [np.zeros(0)])
    total = np.bincount(index, weight, minlength=count)
    safe = np.maximum(total, 1e-9)
    mean = np.bincount(index, weight * cut, minlength=count) / safe
    clipped = np.clip(cut, 0.01, 0.99)
    logit = np.bincount(index, weight * np.log(clipped / (1 - clipped)), minlength=count) / safe
    spread = np.bincount(index, weight * cut**2, minlength=count) / safe - mean**2
    order = np.lexsort((cut, index))
    quantiles = [_quantile(index[order], cut[order], weight[order], q, count) for q in QUANTILES]
    best = np.full(count, 0.5)
    order = np.lexsort((cut, weight, index))
    best[index[order]] = cut[order]  # the last written is the view with most evidence
    views_seen = np.bincount(index, minlength=count)
    columns = [
        mean, logit / 4, np.sqrt(np.maximum(spread, 0)), *quantiles, best,
        np.log1p(total) / 5, np.log1p(views_seen) / 3,
    ]  # fmt: skip
    return np.stack(columns, axis=1), total


def _quantile(
    index: np.ndarray, values: np.ndarray, weights: np.ndarray, quantile: float, count: int
) -> np.ndarray:
    """[count] weighted quantile of each index' values (sorted by index, then value); 0.5 of none."""
    result = np.full(count, 0.5)
    present, start, length = np.unique(index, return_index=True, return_counts=True)
    if not len(present):
        return result
    running = np.cumsum(weights)
    before = running[start] - weights[start]
    target = before + quantile * np.add.reduceat(weights, start)
    # The first entry of each index at which the running weight reaches the target.
    at = np.clip(np.searchsorted(running, target), start, start + length - 1)
    result[present] = values[at]
    return result


def _describe_patches(
    surface: FusedSurface, patch: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """[C, 12]: how the patches' planes lie to one another, their colours, and whether they are objects."""
    centre, normal = group_mean(surface.positions, patch), unit(group_mean(surface.normals, patch))
    color = group_mean(surface.colors, patch)
    variation = np.sqrt(np.maximum(group_mean(surface.colors**2, patch) - color**2, 0)).mean(axis=1)
    foreground = group_mean(surface.foreground[:, None], patch)[:, 0]
    n1, n2 = normal[first], normal[second]
    apart = centre[first] - centre[second]
    distance = np.linalg.norm(apart, axis=1)
    direction = apart / np.maximum(distance, 1e-12)[:, None]
    bend = ((n1 - n2) * direction).sum(1)  # > 0 convex
    angle = np.arccos(np.clip((n1 * n2).sum(1), -1, 1))
    step = np.minimum(np.abs((n1 * direction).sum(1)), np.abs((n2 * direction).sum(1)))
    beside = np.abs((unit(np.cross(n1, n2)) * direction).sum(1))
    tint = np.abs(color[first] - color[second]) / 20
    columns = [
        bend, angle, step, beside, np.abs(bend) * angle, distance / surface.spacing / 10, *tint.T,
        (variation[first] + variation[second]) / 20,
        np.minimum(foreground[first], foreground[second]), np.maximum(foreground[first], foreground[second]),
    ]  # fmt: skip
    return np.stack(columns, axis=1)


def _describe_borders(
    surface: FusedSurface, pairs: np.ndarray, patch: np.ndarray, border: np.ndarray, every: np.ndarray
) -> np.ndarray:
    """[C, 4] means over the element pairs across each contact: border, colour step, turn, bend; 0 apart."""
    count = int(patch.max(initial=-1)) + 1
    ends = np.sort(patch[pairs], axis=1)
    across = np.flatnonzero(ends[:, 0] != ends[:, 1])
    place = np.searchsorted(every, ends[across, 0].astype(np.int64) * count + ends[across, 1])
    a, b = pairs[across].T
    apart = surface.positions[a] - surface.positions[b]
    bend = ((surface.normals[a] - surface.normals[b]) * apart).sum(1)
    columns = [
        border[across],
        np.linalg.norm(surface.colors[a] - surface.colors[b], axis=1) / 20,
        (surface.normals[a] * surface.normals[b]).sum(1),
        bend / np.maximum(np.linalg.norm(apart, axis=1), 1e-12),
    ]
    length = np.maximum(np.bincount(place, minlength=len(every)), 1)
    return np.stack([np.bincount(place, c, minlength=len(every)) / length for c in columns], axis=1)


NUM_FEATURES = 10 + 4 + 12 + 4 + 2


class ContactModel:
    """A perceptron of two hidden layers: features → log odds that two patches are two objects."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        """state: mean and deviation [F], weight0 [H, F], bias0 [H], weight1 [H, H], … weight2 [1, H]."""
        self._state = state

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """[C] float64 of features [C, F]."""
        state = self._state
        x = np.clip((features - state["mean"]) / state["deviation"], -LIMIT, LIMIT)
        for layer in range(3):
            x = x @ state[f"weight{layer}"].T + state[f"bias{layer}"]
            if layer < 2:
                x = x / (1 + np.exp(-np.clip(x, -60, 60)))  # SiLU
        return x[:, 0].astype(np.float64)


@lru_cache(maxsize=2)
def load_contact_model(path: Path = WEIGHTS) -> ContactModel:
    """The model in a weights file.  Raises InputError when the file is missing or not one of ours."""
    advice = (
        "leave segmentation.fused_surface.evidence.contact_weights empty for those that come with the package"
    )
    state, _ = read_weights(path, FORMAT, "contact model", advice)
    require_shapes(state, perceptron_shapes(state, NUM_FEATURES), path, "contact model", advice)
    return ContactModel(state)


def perceptron_shapes(state: dict[str, np.ndarray], features: int) -> dict[str, tuple[int, ...]]:
    """What the arrays of a ContactModel must be; the hidden width is that of its first layer."""
    first = state.get("bias0")
    width = 1 if first is None else max(1, first.size)
    shapes: dict[str, tuple[int, ...]] = {"mean": (features,), "deviation": (features,)}
    for layer, (rows, columns) in enumerate(((width, features), (width, width), (1, width))):
        shapes |= {f"weight{layer}": (rows, columns), f"bias{layer}": (rows,)}
    return shapes
