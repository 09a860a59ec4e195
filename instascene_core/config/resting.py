"""Settings of the clean-up of objects that lie together (`scene/resting/`)."""

from dataclasses import dataclass

from instascene_core.config.ranges import Angle, Count, Positive, Share


@dataclass(frozen=True)
class RestingConfig:
    """Neighbours do not reach into each other, and things rest on what carries them.

    Lengths are metres where objects are as large as `size`; among smaller ones they are as much shorter.
    """

    enabled: bool = True  # False: every object is left as it was completed by itself
    size: Positive = 0.1  # diagonal of an object's box, the median of all
    # Surfaces that reach into each other draw back
    max_generated: Positive = (
        0.006  # that a vertex which nobody has seen may move; an observed one: its error
    )
    max_share: Share = 0.4  # of the way through the body that a vertex may be drawn in
    observed_readiness: Share = 0.05  # of observed surface to draw back, next to 1 of generated one
    grain: Positive = 5e-5  # overlaps and gaps below this are none
    rounds: Count = 8  # of drawing back
    spread: Count = 4  # rounds in which a move fades out over the unseen surface around
    # Gaps to what carries close
    reach: Positive = 0.005  # a gap beyond this is not closed
    slack: float = (
        0.0003  # beyond the gap that has to be closed: so far surfaces that face each other meet, too
    )
    facing: Share = (
        0.5  # cosine between the surface's normal and the way to the other, from which it faces it
    )
    lean: Angle = 5.0  # degrees in any direction, by which gravity may turn and things still stand
    friction: Positive = 0.6  # coefficient that carrying is judged by
    contacts: Count = 24  # places at which a pair may touch that are looked at
    # What is left is done by moving whole objects
    max_shift: Positive = 0.002  # of an object, whose place is known to its observed error
    left: Positive = 0.0003  # gaps and overlaps below this move no object: its convex bodies give way
    # Convex bodies
    max_filled: Positive = 0.001  # a hollow that a neighbour reaches into may be filled as deep
    touch: Positive = 0.001  # as near to a neighbour as this a convex body is most exact
