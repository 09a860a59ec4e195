"""Settings of the textures of an object's files."""

from dataclasses import dataclass
from typing import Annotated

from instascene_core.config.ranges import Count, Positive, Range, Share


@dataclass(frozen=True)
class TextureConfig:
    """Colours of an object's surface as one image, from the observed frames."""

    enabled: bool = True  # otherwise files carry the colours of vertices
    # Texels, side of the image at most (a power of two); smaller where the cameras saw no finer ...
    max_size: Annotated[int, Range(64, 8192)] = 1024
    texel_footprints: Positive = 0.6  # side of a texel at most, in footprints of a pixel on the object
    padding: Count = 4  # texels between pieces of the surface
    # Which frame a texel has its colour from
    views: Count = 24  # frames at most, those that together show most
    min_pixels: Count = 30  # of the object in a frame
    min_cosine: Annotated[float, Range(0.01, 1)] = 0.1  # between the surface and a camera's direction
    border_pixels: Positive = 3.0  # from the mask's border: nearer ones count less
    depth_footprints: Positive = 2.0  # of a pixel: a surface this much deeper than what is seen is hidden
    sharpening: Positive = 4.0  # power of the weights: the higher, the more does the best frame alone decide
    full_weight: Share = 0.1  # weight of all frames from which a texel is theirs alone, below it is blended
    # Exposure
    max_gain: Annotated[float, Range(1, 10)] = 1.6  # by which a frame is made brighter or darker at most
    gain_trust: Positive = 0.2  # of a gain of 1, against what the overlaps say
