"""Settings of the priors that come from elsewhere (`completion/priors/external/`)."""

from dataclasses import dataclass
from typing import Annotated

from instascene_core.config.ranges import Count, Positive, Range, Share, Signed


@dataclass(frozen=True)
class SixViewsConfig:
    """Six views generated from one image by public weights of Zero123++'s layout (Shi et al. 2023)."""

    checkpoint: str = ""  # folder of the pipeline, downloaded beforehand
    # Degrees above the horizon, in turn, of the six views: those of v1.2; v1.1 has 30 and -20.
    elevations: tuple[Signed, Signed] = (20.0, -10.0)
    field_of_view: Annotated[float, Range(1, 170)] = 30.0  # degrees, of the views
    steps: Count = 28  # of the diffusion
    guidance: Annotated[float, Range(1)] = 4.0  # free of a classifier: 1 = none
    side: Count = 320  # pixels of a view; a multiple of 8
    # How views are put onto the known shape
    grey: float = 0.06  # a pixel that differs from the grey background by more (0 … 1) shows the object
    min_overlap: Share = 0.6  # of outline and shape (IoU), below which a view is of something else: left out
    max_gain: Annotated[float, Range(1)] = (
        2.0  # by which a channel is brought to the observed colours at most
    )


@dataclass(frozen=True)
class QueueConfig:
    """A program that makes a mesh of one image and its mask, asked through a folder."""

    folder: str = ""  # with requests/ and answers/, on a disk that both see
    licence: str = "licence not stated"  # of the program's weights, for the result
    timeout_s: Positive = 120.0  # seconds until the learned prior's shape is taken
    poll_s: Positive = 0.2  # seconds between two looks
    side: Count = 512  # pixels of the image given
    # How the mesh is put into its place
    points: Count = 600  # observed points compared
    samples: Count = 4000  # points on the mesh
    turns: Count = 12  # about the vertical, for each of the mesh's six possible up directions
    rounds: Count = 30  # of the iterated closest points, after a few for all turns
    trimmed: Share = 0.9  # of the observed points, the nearest, that count
    max_scale: Annotated[float, Range(1)] = 1.5  # against the size of what the learned prior guesses
    max_distance: Share = 0.03  # of the object's size, mean of the observed points from the mesh, and ...
    max_free: Share = (
        0.15  # ... share of the mesh's surface in space known to be empty: beyond, it is refused
    )
    free_weight: float = 0.1  # of that share, beside the distance in sizes, in choosing a place
