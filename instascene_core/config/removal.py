"""Settings of what happens when an object was taken away."""

from dataclasses import dataclass
from typing import Annotated, Literal

from instascene_core.config.ranges import Cosine, Count, Positive, Range, Seed, Share


@dataclass(frozen=True)
class RemovalConfig:
    """The planes that a removed object stood on and before are painted and covered where only it hid them.
    Spacings are in units of the Gaussians' own."""

    # What paints: "propagation" continues the colours around a hole along the plane; "diffusers" asks an
    # inpainting pipeline; "none" leaves the holes.
    painter: Literal["propagation", "diffusers", "none"] = "propagation"
    checkpoint: str = ""  # folder of the pipeline, Stable Diffusion's inpainting layout
    prompt: str = ""  # what the pipeline is told to paint; empty = what is around
    steps: Count = 30  # of the pipeline
    guidance: Annotated[float, Range(1)] = 1.0  # of the pipeline by the prompt; 1 = none
    image_side: Count = 512  # pixels, longer side of the image that the pipeline gets
    seed: Seed = 0  # of a painter that draws
    # Where
    max_side: Count = 768  # pixels, of the image of a plane seen head on
    pixel_spacings: Positive = 0.5  # of that image
    margin_spacings: float = 12.0  # of known plane around a hole that the painter sees
    min_known: Count = 16  # Gaussians that a plane must have
    wall_tolerances: float = (
        2.0  # of the planes' tolerance: a background Gaussian this near is of the wall ...
    )
    wall_cosine: Cosine = 0.7  # ... if its normal agrees with the wall's
    seen_through: float = 3.0  # tolerances that a view may see beyond a place of a plane at most
    pixels_per_view: Count = 4000  # of the object, that are followed to the planes
    outline_pixels: int = 3  # around its pixels, that show neither it nor the background alone
    # New and neighbouring disks
    min_visible: float = 0.5  # opacity below which a disk covers nothing and its colour means nothing
    foot_spacings: float = 4.0  # around the removed Gaussians, whose colours are mixed with theirs
    covered: Share = 0.5  # of a place by the plane's disks, from which it is no hole
    rim_neighbours: Count = 16  # of the plane around a hole, from which a new disk has all but its colour
    disk_spacings: Positive = 0.6  # standard deviation of a new disk
    min_opacity: Share = 0.9  # of a new disk
    color_pull: float = (
        0.05  # of new and foot disks toward their place's colour, beside how they look together
    )
