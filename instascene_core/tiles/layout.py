"""The floor plan divided into tiles, each with the frames that see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.config.tiles import TilesConfig
from instascene_core.datasets.dataset import evenly
from instascene_core.errors import InputError
from instascene_core.tiles.survey import Survey

OUTLIERS = 1.0  # percent of the points seen that may lie beyond the plan on each side: far views, stray depth


@dataclass(frozen=True, eq=False)
class Tile:
    """An area of its own, its core; what it sees reaches over that by the overlap."""

    name: str  # names its folder
    low: np.ndarray  # [2] metres on the floor plane: lower corner of its core
    high: np.ndarray  # [2]
    frames: tuple[int, ...]  # indices of the recording's frames, in their order


@dataclass(frozen=True, eq=False)
class Tiling:
    """All tiles."""

    axes: np.ndarray  # [3, 2], see `Survey`
    overlap: float  # metres
    tiles: tuple[Tile, ...]
    unused: tuple[int, ...]  # indices of frames that no tile takes
    # Per frame the index of the tile that sees most of it, −1 for one that no tile takes
    main_tile: np.ndarray

    def owner(self, points: np.ndarray, among: Sequence[int] | None = None) -> np.ndarray:
        """[N] int: the tile whose core each world point [N, 3] lies in or nearest to; among: indices of the
        tiles that are asked, None = all."""
        among = range(len(self.tiles)) if among is None else among
        flat = np.asarray(points, dtype=np.float64) @ self.axes
        return np.array(list(among))[distances(flat, [self.tiles[k] for k in among]).argmin(axis=0)]

    def reach(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """([2], [2]) metres: the corners of what the tile sees, its core with the overlap."""
        tile = self.tiles[index]
        return tile.low - self.overlap, tile.high + self.overlap


def distances(points: np.ndarray, tiles: Sequence[Tile]) -> np.ndarray:
    """[T, N] metres from the cores of tiles to points [N, 2] on the floor plane; 0 inside."""
    beyond = [np.maximum(np.maximum(t.low - points, points - t.high), 0.0) for t in tiles]
    return np.linalg.norm(np.stack(beyond), axis=-1)


def divide(survey: Survey, config: TilesConfig, max_frames: int) -> Tiling:
    """Tiles of about `config.size_m`, a grid that fits what is seen; areas that hardly any frame sees have
    none.

    max_frames: of more in a tile, so many are taken, evenly.  Raises InputError for more tiles than there
    may be.
    """
    points = survey.points
    if not len(points):
        return Tiling(survey.axes, config.overlap_m, (), tuple(range(len(survey.seen))), _none(survey))
    low, high = np.percentile(points, [OUTLIERS, 100 - OUTLIERS], axis=0)
    counts = np.maximum(np.round((high - low) / config.size_m), 1)
    if counts.prod() > config.max_tiles:
        x, y = high - low
        raise InputError(
            f"What the cameras see spans {x:.0f} × {y:.0f} m, which is {counts.prod():.0f} tiles of "
            f"{config.size_m:g} m; check the unit of the poses, or give another size with --tiles."
        )
    step = (high - low) / counts
    tiles, shares = [], []
    for row in range(int(counts[1])):
        for column in range(int(counts[0])):
            corner = low + step * (column, row)
            share = _shares(survey, corner, corner + step)
            frames = np.flatnonzero(share >= max(config.min_share, 1e-9))
            if len(frames) >= config.min_frames:
                taken = tuple(int(frames[k]) for k in evenly(len(frames), max_frames))
                tiles.append(Tile(f"tile_{column}_{row}", corner, corner + step, taken))
                shares.append([share[k] if k in set(taken) else 0.0 for k in range(len(share))])
    main = _none(survey)
    if tiles:
        best = np.array(shares)
        main = np.where(best.max(axis=0) > 0, best.argmax(axis=0), -1)
    unused = tuple(int(k) for k in np.flatnonzero(main < 0))
    return Tiling(survey.axes, config.overlap_m, tuple(tiles), unused, main)


def _none(survey: Survey) -> np.ndarray:
    return np.full(len(survey.seen), -1)


def _shares(survey: Survey, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[F] share of what each frame sees that lies between two corners."""
    return np.array([((p >= low) & (p <= high)).all(axis=1).mean() if len(p) else 0.0 for p in survey.seen])
