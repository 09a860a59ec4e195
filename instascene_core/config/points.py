"""Settings of the network on points."""

from dataclasses import dataclass, field

from instascene_core.config.ranges import Count, Positive


@dataclass(frozen=True)
class SuperpointConfig:
    """Small pieces of surface by graph over-segmentation (Felzenszwalb and Huttenlocher 2004)."""

    neighbours: Count = 8  # that each point is compared with ...
    max_reach: Positive = 3.0  # ... within so many times the usual distance of the farthest of them
    color_weight: float = 1.0  # of the mean difference of RGB (0 … 1) against 1 − cos of the normals
    granularity: Positive = 1.0  # the larger, the larger the pieces
    min_points: Count = 10  # smaller pieces join a neighbour
    max_points: Count = 100  # larger ones are not made: a seam without a bend can still run between two


@dataclass(frozen=True)
class PointsConfig:
    """Instances of a whole scene at once, straight from its points."""

    context_m: Positive = 0.04  # metres around what may be an object: so much of the structure is seen
    superpoints: SuperpointConfig = field(default_factory=SuperpointConfig)
