"""Settings of the region of interest."""

from dataclasses import dataclass

from instascene_core.config.ranges import Share


@dataclass(frozen=True)
class RegionConfig:
    """When something counts as outside of "auto": it is found and listed, but not completed."""

    min_over_support: Share = 0.5  # share of its Gaussians that lie over or under the support's extent
    max_distance: float = 1.8  # distance from its cameras over the cameras' usual distance from the support
    max_cut_views: Share = 0.6  # share of its views in which the image's border cuts it ...
    min_cut: Share = 0.06  # ... which is so when this share of its outline lies at the border
    border_pixels: int = 2  # of the label image
    # A fixture: hangs at a wall, with its lowest point this many tolerances over the support
    fixture_height: float = 8.0
    wall_reach: float = 2.0  # tolerances between it and the wall, at most
