"""Settings of the in-situ generation (`completion/priors/multiview/`)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from instascene_core.config.ranges import Cosine, Count, Range, Share


@dataclass(frozen=True)
class MultiviewConfig:
    """Views around the object, generated under all observations, and how they colour what nobody saw.

    The ring (16 views, 30° elevation, 64 pixels) is the one that the weights were trained with.  Lengths in
    units of the object-normalised frame, in which the sphere around the object has radius 1.
    """

    # How observed views condition the generation.  "joint": all in one pass; "averaged": the mean of the
    # noise predictions of each (the paper's); "alternated": one after the other; "single": the best alone.
    conditions: Literal["joint", "averaged", "alternated", "single"] = "joint"
    max_conditions: Count = 8  # observed views that condition, the best ones
    # Whether the views condition of an object that all of them show in part only, behind other things.
    # Without, it keeps the learned prior's colours.
    occluded_views: bool = True
    solver: Literal["ddim", "dpm"] = "ddim"  # of the diffusion
    # Of the solver.  With 1, every place gets the mean of what could be there, with more, one of these: the
    # mean is nearer to the truth, the more so while the model is trained as little as it is.
    steps: Count = 1
    # Above 1, what the observed views say is exaggerated; 1 takes half the time.
    guidance: Annotated[float, Range(1)] = 1.0
    warp_steps: Share = (
        1.0  # of the steps, the noisiest first, in which known pixels are set to what is known
    )
    color_samples: Count = 1  # generations whose mean colours the surface
    # Which observed pixels are known in a view to be generated
    same_depth: float = 0.03  # between the surface and what the observed view measured, besides the noise
    min_cosine: Cosine = 0.2  # between the surface's normal and the observing ray
    # Colours from generated views
    same_place: float = 0.04  # between a vertex and what the generated view shows at its pixel
    paint_cosine: Cosine = 0.1  # between a vertex' normal and the generated view's ray, least
    agreement: float = 0.08  # spread of the views' colours (0 … 1) at which confidence is halved
    # Of the mean of the observed colours in every generated one: what is not known is best guessed with less
    # contrast.  Tried with 0.15 and 0.3 on nine bodies that no benchmark has: everyday shapes gain 0.1 and
    # 0 dB, held-out prints 0.4 and 0.7.  0.2 lies between them and was not tried itself.
    mean_share: Share = 0.2
    # The surface's colours are those whose interpolation reproduces observed and generated pixels best;
    # without it, every vertex takes the mean of the generated views that show it.
    joint_fit: bool = False
    weights: str = ""  # file of the model; empty = that of the package
