"""Settings of the in-situ generation (`completion/priors/multiview/`)."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from instascene_core.config.ranges import Cosine, Count, Positive, Range, Rate, Share


@dataclass(frozen=True)
class JointConfig:
    """The object's Gaussians, optimised on observed and generated views together.  Lengths in units of the
    object-normalised frame, in which the sphere around the object has radius 1."""

    # At most, a view each; 0 = no joint optimisation.  Tried with 2000 on 16 bodies that no benchmark has:
    # colours of the unseen 0.08 dB (everyday) and 0.01 dB (held-out prints) worse, 5 s.
    steps: Annotated[int, Range()] = 0
    check_every: Count = 100  # steps between two looks at the held-out pixels
    held_out: Share = 0.1  # of the pixels
    least_gain: Share = 0.003  # by which the held-out residual must fall ...
    patience: Annotated[int, Range()] = 2  # ... at one of so many checks, or it is time to stop
    disks: Count = 8_000  # about that many at most
    spacing: Positive = 0.02  # between disks, at least
    observed_side: Count = 128  # pixels, longer side of the cut-outs of observed views
    generated: Share = 1.0  # weight of a generated pixel that all neighbours agree with; observed: 1
    robust: Positive = 0.1  # colour difference (0 … 1) from which the penalty grows no faster than itself
    normal_weight: float = 0.05  # of the completed surface's normals
    depth_weight: float = 0.5  # of its depth
    alpha_weight: float = 0.1  # of its outline in generated views
    means_rate: Rate = 1e-4  # Adam's, of the centres, units of the frame
    rotation_rate: Rate = 1e-3  # of the quaternions
    scale_rate: Rate = 3e-3  # of the logarithms of the sizes
    opacity_rate: Rate = 0.01  # of the logits of the opacities
    color_rate: Rate = 0.006  # of the colours' coefficients
    final_rate: Share = 0.05  # what is left of all rates in the end
    neighbours: Count = 12  # disks mixed to the colour of a place
    # The colours of the observed surface, too, from the Gaussians.  Without, they are fitted to the images
    # directly, which is sharper: a vertex lies where the print changes, a disk has one colour.
    recolor_observed: bool = False


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
    # A second stage at twice the side, 128 pixels: "own" is the mean of the views enlarged and of what the
    # same network makes of the finer pixels; "trained" corrects them with `second_weights`.  On 20 bodies
    # that no benchmark has, "own" changes the colours of the unseen by less than 0.01 dB, and the "trained"
    # that was tried was worse: see the model card (completion/weights/multiview.md).
    second_stage: Literal["none", "own", "trained"] = "none"
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
    # How far generated depth moves the guessed surface (0 not at all, 1 all the way).  On 16 bodies that no
    # benchmark has it lies 6 times as far off as the learned prior's; volume IoU of everyday shapes and
    # held-out prints: 0.952 and 0.678 with 0, 0.953 and 0.708 with 0.1 (two stems), 0.950 and 0.700 with 0.5,
    # a tray 0.03 worse.
    depth_vote: Share = 0.0
    vote_spread: Positive = 0.03  # of the depths over the seeds, at which their say is halved
    joint: JointConfig = field(default_factory=JointConfig)
    weights: str = ""  # file of the model; empty = that of the package
    second_weights: str = ""  # file of the second stage; the package has none
