"""Settings of what happens when an object was taken away."""

from dataclasses import dataclass

from instascene_core.config.ranges import Count, Positive, Share


@dataclass(frozen=True)
class RemovalConfig:
    """The support plane is covered where a removed object stood.  Spacings are in units of the Gaussians'
    own."""

    rim_neighbours: Count = 16  # of the plane around a hole, that colour a new disk
    min_visible: float = 0.5  # opacity below which a disk covers nothing and its colour means nothing
    foot_spacings: float = 4.0  # around the removed Gaussians, whose colours are mixed with theirs
    covered_spacings: float = 0.75  # a place with a disk of the plane this near is not a hole
    disk_spacings: Positive = 0.6  # standard deviation of a new disk
    min_opacity: Share = 0.9  # of a new disk
    pixels_per_view: Count = 4000  # of the object, that are followed to the plane
    outline_pixels: int = 3  # around its pixels, that show neither it nor the background alone
