"""Things that two tiles found: which are one, and which tile's stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.config.tiles import TilesConfig
from instascene_core.instances import InstanceId

VOXEL = 0.01  # metres: surfaces are measured by the voxels of this size that they touch


@dataclass(frozen=True, eq=False)
class Thing:
    """What a tile found; its id is no other thing's, of no tile."""

    id: InstanceId
    tile: int
    points: np.ndarray  # [N, 3] metres: its observed surface
    completed: bool
    own: bool  # whether its centre lies in its tile's core

    @property
    def surface(self) -> int:
        """How much was seen of it: voxels."""
        return len(np.unique(np.floor(self.points / VOXEL).astype(np.int64), axis=0))


@dataclass(frozen=True, eq=False)
class Seams:
    """What stays, and what stands for the rest."""

    kept: frozenset[InstanceId]
    # A thing that goes → the one that stays and is it; others that go were seen from afar only
    stands_for: Mapping[InstanceId, InstanceId]


def match_things(things: Sequence[Thing], config: TilesConfig) -> Seams:
    """Things of different tiles whose surfaces overlap are one, and the tile that saw it better keeps it.

    Where one tile took for one thing what another took for two, all of them are matched together, and all
    that the better tile found stays.  What nobody else found stays where its centre lies in its own core:
    else the tile that owns the place has seen it better, and found nothing there.
    """
    kept: set[InstanceId] = set()
    stands_for: dict[InstanceId, InstanceId] = {}
    for group in _groups(things, config):
        tiles = sorted({thing.tile for thing in group})
        if len(tiles) == 1:
            kept |= {thing.id for thing in group if thing.own}
            continue
        parts = [[thing for thing in group if thing.tile == tile] for tile in tiles]
        best = _better(parts, config.better_by)
        kept |= {thing.id for thing in best}
        for thing in group:
            if thing not in best:
                stands_for[thing.id] = max(best, key=lambda other: _overlap(thing, other, config)).id
    return Seams(frozenset(kept), stands_for)


def _better(parts: Sequence[Sequence[Thing]], better_by: float) -> Sequence[Thing]:
    """Of what several tiles found in one place, that of the tile that completed it and saw most of it; the
    owner's, unless another saw clearly more."""

    def key(part: Sequence[Thing]) -> tuple[bool, float]:
        factor = better_by if any(thing.own for thing in part) else 1.0
        return any(thing.completed for thing in part), factor * sum(thing.surface for thing in part)

    return max(parts, key=key)


def _groups(things: Sequence[Thing], config: TilesConfig) -> list[list[Thing]]:
    """Things joined by overlaps across tiles; single ones, too."""
    group_of = list(range(len(things)))
    boxes = [(t.points.min(axis=0), t.points.max(axis=0)) for t in things]
    for i, first in enumerate(things):
        for j in range(i):
            second = things[j]
            if first.tile == second.tile or _apart(boxes[i], boxes[j], config.same_reach_m):
                continue
            if _overlap(first, second, config) >= config.same_share:
                old, new = group_of[i], group_of[j]
                group_of = [new if number == old else number for number in group_of]
    return [[t for t, number in zip(things, group_of) if number == g] for g in sorted(set(group_of))]


def _apart(first: tuple, second: tuple, reach: float) -> bool:
    return bool((first[0] > second[1] + reach).any() or (second[0] > first[1] + reach).any())


def _overlap(first: Thing, second: Thing, config: TilesConfig) -> float:
    """Share [0, 1] of a surface that lies within reach of the other one: of that of which more does, for a
    tile may have seen but a part of a thing."""
    from scipy.spatial import cKDTree

    shares = []
    for one, other in ((first, second), (second, first)):
        distance, _ = cKDTree(other.points).query(one.points, distance_upper_bound=config.same_reach_m)
        shares.append(float(np.isfinite(distance).mean()))
    return max(shares)
