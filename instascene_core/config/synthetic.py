"""Settings of a procedural scene."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SyntheticConfig:
    """A procedural scene (`instascene synth`)."""

    seed: int = 0
    num_objects: int = 8
    num_views: int = 60
    width: int = 320  # pixels
    height: int = 240
    fov_degrees: float = 50.0  # horizontal field of view
    elevations_degrees: tuple[float, ...] = (28.0, 42.0, 58.0)  # one arc of cameras each
    arc_degrees: float = 360.0  # how far the arcs go round
    arc_start_degrees: float = 0.0
    distance: float = 0.0  # metres from camera to pile; 0 = so that the pile fills the image
    layout: str = "pile"  # a key of synthetic.layouts.LAYOUTS
    kinds: tuple[str, ...] = ()  # object kinds to choose from; empty = all
    table_size: float = 1.2  # metres, side of the square table
    room: bool = True  # floor and walls around the table
    shadows: bool = True
    supersampling: int = 2  # colour rays a pixel = supersampling²
    depth_noise: str = "none"  # a key of synthetic.noise.DEPTH_NOISES; only with the perfect sensor
    sensor: str = "perfect"  # a key of synthetic.sensors.SENSORS: its colour, depth and pose errors
    glass_fraction: float = 0.0  # share of objects that are clear
    mirror_fraction: float = 0.0  # share of objects that mirror
    plain_fraction: float = 0.0  # share of objects in one plain colour, without print
    min_observed_fraction: float = 0.15  # share of each object's surface that some view must see
