"""Whether a recording is made in tiles, and in which."""

import numpy as np

from instascene_core.config import Config
from instascene_core.config.tiles import TilesConfig
from instascene_core.datasets import Dataset
from instascene_core.errors import InputError
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.segmentation.upward import AUTO, CONVENTION, upward_of
from instascene_core.tiles.layout import Tiling, divide
from instascene_core.tiles.survey import floor_axes, survey


def tiling_of(
    dataset: Dataset, config: Config, how: TilesConfig, progress: ProgressCallback = no_progress
) -> Tiling | None:
    """The tiles of a recording; None where one scene does, which "auto" sees by the poses alone.

    Raises InputError where tiles are asked for and nothing can be divided.
    """
    if how.when == "off":
        return None
    axes = floor_axes(upward(dataset.poses, config))
    if how.when == "auto" and not (dataset.has_depth and roams(dataset.poses, axes, how.roam_m)):
        return None
    tiling = divide(survey(dataset, axes, how.assumed_distance_m, progress), how, config.max_frames)
    if how.when == "on" and not tiling.tiles:
        raise InputError(
            f"No area of the size of a tile is seen by {how.min_frames} frames; use --tiles off, or another "
            "size."
        )
    return tiling if how.when == "on" or len(tiling.tiles) > 1 else None


def upward(poses: np.ndarray, config: Config) -> np.ndarray:
    """[3] the direction against gravity, as far as settings and poses [F, 4, 4] tell it; else z."""
    if config.up != AUTO:
        return np.array(config.up, dtype=np.float64) if config.up else CONVENTION
    found = upward_of(poses, [], np.zeros(0), config.segmentation.support).direction
    return CONVENTION if found is None else found


def roams(poses: np.ndarray, axes: np.ndarray, distance: float) -> bool:
    """Whether the outermost cameras [F, 4, 4] are more than `distance` metres apart along a floor axis."""
    places = poses[:, :3, 3] @ axes
    return bool(((places.max(axis=0) - places.min(axis=0)) > distance).any())
