"""Settings of a procedural scene."""

from dataclasses import dataclass
from typing import Annotated

from instascene_core.config.ranges import Count, Positive, Range, Seed, Share, Signed


@dataclass(frozen=True)
class SyntheticConfig:
    """A procedural scene (`instascene synth`)."""

    seed: Seed = 0
    num_objects: Count = 8
    num_views: Count = 60
    width: Count = 320  # pixels
    height: Count = 240
    fov_degrees: Annotated[float, Range(1, 170)] = 50.0  # horizontal field of view
    elevations_degrees: tuple[float, ...] = (28.0, 42.0, 58.0)  # one arc of cameras each
    arc_degrees: Annotated[float, Range(0, 360)] = 360.0  # how far the arcs go round
    arc_start_degrees: Signed = 0.0
    distance: float = 0.0  # metres from camera to pile; 0 = so that the pile fills the image
    layout: str = "pile"  # a key of synthetic.layouts.LAYOUTS, or "rooms"
    rooms: Count = 6  # of the layout "rooms"; things and views are shared out among them
    kinds: tuple[str, ...] = ()  # object kinds to choose from; empty = all
    table_size: Positive = 1.2  # metres, side of the square table
    room: bool = True  # floor and walls around the table
    shadows: bool = True
    supersampling: Count = 2  # colour rays a pixel = supersampling²
    depth_noise: str = "none"  # a key of synthetic.noise.DEPTH_NOISES; only with the perfect sensor
    sensor: str = "perfect"  # a key of synthetic.sensors.SENSORS: its colour, depth and pose errors
    glass_fraction: Share = 0.0  # share of objects that are clear
    mirror_fraction: Share = 0.0  # share of objects that mirror
    plain_fraction: Share = 0.0  # share of objects in one plain colour, without print
    min_observed_fraction: Share = 0.15  # share of each object's surface that some view must see
