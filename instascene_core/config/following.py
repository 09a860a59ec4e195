"""Settings of how a scene follows what happens to its things."""

from dataclasses import dataclass

from instascene_core.config.ranges import Count, Positive, Share


@dataclass(frozen=True)
class FollowingConfig:
    """New frames with depth are held against a decomposed scene: what left, what moved, what appeared."""

    enabled: bool = True  # otherwise a scene is taken to stand still
    batch: Count = 6  # new frames that a node gathers before it looks; with a pause of some seconds, fewer
    # When measured depth contradicts what the Gaussians let expect
    noises: Positive = 5.0  # standard deviations of their difference, measured on each frame
    min_tolerance: Positive = 0.004  # metres, whatever was measured
    max_tolerance: Positive = 0.03  # metres
    outline_pixels: Count = 2  # by which poses may be off: depth around a pixel counts as expected there
    # When a thing is not where it was
    min_pixels: Count = 60  # of it that a frame must show to say something about it
    min_views: Count = 2  # newest frames that must agree, on what is gone and on what is new
    gone: Share = 0.5  # of its pixels that are seen through, in the middle of those frames
    shifted: Share = 0.2  # of them in each; if no more, it was pushed a little or not at all
    # What nothing explains
    spacing: Positive = 0.003  # metres between its points
    min_points: Count = 60  # of one thing
    min_size: Positive = 0.015  # metres, its longest side; smaller ones are noise
    min_free: Share = 0.3  # of its points that are off the support and the walls; else it is a piece of them
    # A thing that moved: its surface laid over the new points by iterated closest points
    turns: Count = 24  # starts about the vertical, for each side that may be down
    rounds: Count = 20  # of closest points
    min_inliers: Share = 0.8  # of the new points that must lie on it
    max_in_front: Share = 0.15  # of its surface that may lie where cameras looked through
    color_weight: float = 1.0  # of a mean difference in colour (0 to 1) beside those shares
    turn_weight: float = 0.03  # of half a turn: where a thing looks the same, it was turned least
