"""Nested segments around a Gaussian, grown over the surface (InstaScene section 3.2).

One rule gives all answers.  Every Gaussian has a value in [−1, 1]: the cosine between its feature and the
clicked one or, where features say nothing, the smoothness of the surface there.  Its *level* is the highest
threshold at which it is still connected to the clicked Gaussian through neighbours above that threshold.
The segment at τ consists of the levels ≥ τ, so segments of falling thresholds are nested.  Those that stay
the same over a range of thresholds are the parts, objects and groups of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from instascene_core.config import ClickConfig
from instascene_core.features.click import Click
from instascene_core.features.surface import Surface
from instascene_core.rendering.library import Graph, check, kernel


@dataclass(frozen=True)
class Segment:
    """One answer to a click."""

    gaussians: np.ndarray  # [K] int64, ascending
    threshold: float  # that gives it: cosine, or smoothness where `grown`
    grown: bool = False  # over the surface, not by features


def compute_levels(seed: int, values: np.ndarray, neighbours: sp.csr_matrix, floor: float) -> np.ndarray:
    """[N] float32: the highest threshold ≥ `floor` that still connects a Gaussian to `seed`, else −inf.

    values: [N].  The seed itself is connected at every threshold.  This is the widest path: the smallest
    value on the way through the maximum spanning tree of the neighbourhood graph.
    """
    given, levels = np.ascontiguousarray(values, np.float32), np.empty(len(values), np.float32)
    graph = _graph(neighbours)
    check(kernel().isk_widest_levels(graph, given.ctypes.data, int(seed), floor, levels.ctypes.data))
    return levels


def enclose(chosen: np.ndarray, allowed: np.ndarray, neighbours: sp.csr_matrix, rounds: int) -> np.ndarray:
    """[N] bool: the chosen, and round by round the allowed most of whose allowed neighbours are chosen."""
    result, open_to = chosen.astype(np.uint8), np.ascontiguousarray(allowed, np.uint8)
    check(kernel().isk_enclose(_graph(neighbours), open_to.ctypes.data, rounds, result.ctypes.data))
    return result.astype(bool)


def _graph(neighbours: sp.csr_matrix) -> Graph:
    """As the kernel reads it, as long as the matrix lives."""
    begin, others = neighbours.indptr, neighbours.indices
    assert begin.dtype == others.dtype == np.int32, (begin.dtype, others.dtype)
    return Graph(len(begin) - 1, begin.ctypes.data, others.ctypes.data)


def select_level(
    levels: np.ndarray, threshold: float, allowed: np.ndarray, surface: Surface, config: ClickConfig
) -> np.ndarray:
    """[K] int64: Gaussians of level ≥ `threshold`, and those they enclose.

    allowed: [N] bool.  A single Gaussian that no pixel shows may have any feature, so it belongs to the
    segment when most of its allowed neighbours do.
    """
    return np.flatnonzero(enclose(levels >= threshold, allowed, surface.neighbours, config.enclosing_rounds))


def find_stable_thresholds(levels: np.ndarray, lowest: float, config: ClickConfig) -> list[float]:
    """Thresholds, falling, of the segments that stay the same over a range of them.

    Within a range of at least `min_gap` the size must not change by more than the share `same_size`;
    each is given by its middle.  Ranges end at `lowest`.
    """
    grid = np.round(np.arange(1.0, lowest - 1e-9, -0.01), 2)
    ordered = np.sort(levels[np.isfinite(levels)])
    sizes = len(ordered) - np.searchsorted(ordered, grid.astype(np.float32), side="left")
    found, first = [], 0
    for index in range(1, len(grid) + 1):
        if index < len(grid) and sizes[index] <= (1 + config.same_size) * sizes[first]:
            continue
        if sizes[first] >= config.min_gaussians and grid[first] - grid[index - 1] >= config.min_gap - 1e-9:
            found.append(float(grid[(first + index - 1) // 2]))
        first = index
    return found


def feature_segments(
    click: Click, surface: Surface, threshold: float, config: ClickConfig
) -> tuple[list[Segment], int]:
    """(nested segments, finest first; index of the one at `threshold`) by similarity of features."""
    values = surface.features @ click.feature
    floor = min(config.min_similarity, threshold)
    levels = compute_levels(click.gaussian, values, surface.neighbours, floor)
    everything = np.ones(len(values), dtype=bool)
    return _nested_segments(levels, threshold, floor, everything, surface, config, grown=False)


def grown_segments(
    click: Click, surface: Surface, allowed: np.ndarray, threshold: float, config: ClickConfig
) -> tuple[list[Segment], int]:
    """The same by growth over the smooth surface, among the `allowed` [N] bool Gaussians only."""
    values = np.where(allowed, surface.smoothness, -np.inf)
    seed = click.gaussian
    floor = max(min(threshold, config.min_growth), 1e-3)
    levels = compute_levels(seed, values, surface.neighbours, floor)
    return _nested_segments(levels, threshold, floor, allowed, surface, config, grown=True)


def _nested_segments(levels, threshold, floor, allowed, surface, config, grown) -> tuple[list[Segment], int]:
    """(nested segments, index of the one at `threshold`): it and the stable ones of another size."""
    wanted = select_level(levels, threshold, allowed, surface, config)
    segments, chosen = [], 0
    thresholds = [t for t in find_stable_thresholds(levels, floor, config) if t != threshold]
    for value in sorted([*thresholds, threshold], reverse=True):
        if value == threshold:
            chosen = len(segments)
            segments.append(Segment(wanted, threshold, grown))
            continue
        members = select_level(levels, value, allowed, surface, config)
        others = [wanted, *(s.gaussians for s in segments)]
        if all(_differs_in_size(len(members), len(other), config.same_size) for other in others):
            segments.append(Segment(members, value, grown))
    return segments, chosen


def _differs_in_size(a: int, b: int, share: float) -> bool:
    """Whether the larger size exceeds the smaller one by more than `share`."""
    return max(a, b) > (1 + share) * min(a, b)
