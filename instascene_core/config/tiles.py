"""Settings of scenes that are too large for one: they are made tile by tile."""

from dataclasses import dataclass
from typing import Literal

from instascene_core.config.ranges import Count, Positive, Share


@dataclass(frozen=True)
class TilesConfig:
    """Of `instascene run --tiles`; a node makes one scene."""

    # "auto": tiles where the frames have depth and the cameras roam; "on"; "off": one scene, however large
    when: Literal["auto", "on", "off"] = "auto"
    size_m: Positive = 4.0  # metres: about the side of a tile; tiles share the floor out evenly
    # metres that a tile sees beyond its own area on each side: at least the largest thing's half
    overlap_m: Positive = 0.75
    roam_m: Positive = 6.0  # metres between the outermost cameras, along a side, from which cameras roam
    # Of what a frame sees, so much lies in a tile's own area, or it is none of its frames: the other side of
    # a wall is within the overlap
    min_share: Share = 0.2
    min_frames: Count = 4  # an area that fewer frames see is left out
    max_tiles: Count = 400  # more are a mistake in the size or in the unit of the poses
    assumed_distance_m: Positive = 1.5  # metres from a camera to what it sees, where frames have no depth
    # Two things of two tiles are one when this share of the smaller's surface lies within the reach of the
    # other's
    same_share: Share = 0.5
    same_reach_m: Positive = 0.015  # metres
    better_by: Positive = 1.1  # times the surface that another tile must see of a thing to be asked instead
