"""Settings of the parts of completed objects."""

from dataclasses import dataclass

from instascene_core.config.ranges import Count, Positive, Seed


@dataclass(frozen=True)
class PartsConfig:
    """Part labels of a mesh (Sun et al. 2022).  Lengths are of the unit ball: half the diagonal of the
    object's bounding box is 1."""

    weights: str = ""  # of a network of your own; empty = those of the package
    points: Count = 3000  # taken from the surface; the network was trained on 800 to 2000 of a thing ...
    passes: Count = 2  # ... so they go through it in parts, each turned otherwise, and the answers are joined
    seed: Seed = 0  # of the points
    bandwidth: Positive = 0.2  # of the mean shift of the points moved to their instances' centres
    # By how much those centres are pushed away from the centre of all points of their name, so that clusters
    # part; 0 = not at all.
    push: float = 0.05
    # Clusters of one name that touch become one part where their centres are no further apart; 0 = none do.
    join: float = 0.5
    smallest: Count = 20  # points; fewer make no part of their own and join the nearest
