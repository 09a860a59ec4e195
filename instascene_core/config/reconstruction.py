"""Settings of the reconstruction."""

from dataclasses import dataclass
from typing import Literal

from instascene_core.config.ranges import Count, Positive, Rate, Seed, Share


@dataclass(frozen=True)
class ReconstructionConfig:
    """2D Gaussian Splatting (Huang et al. 2024; InstaScene section 3)."""

    # What trains: "auto" takes a CUDA GPU where gsplat and one are there, else the CPU
    device: Literal["auto", "cpu", "cuda"] = "auto"
    iterations: Count = 800  # one view each
    time_budget_s: float = 0.0  # stop after this many seconds; 0 = run all iterations
    seed: Seed = 0  # of the order of the views and of new Gaussians
    # Memory: training starts with `gaussians_per_pixel` × pixels of a training image, may grow by a
    # third, and never exceeds `max_gaussians`.
    max_gaussians: Count = 80_000
    gaussians_per_pixel: Positive = 0.4  # at the start
    # Resolution: images above `max_pixels` are trained smaller; training starts at half of that and
    # doubles at these fractions of the run.
    max_pixels: Count = 200_000  # of a training image
    finer_at: tuple[float, ...] = (0.3,)  # fractions of the run
    # Losses
    ssim_weight: float = 0.2
    normal_weight: float = 0.05  # of normals of the disks against those of the depth
    normal_prior_weight: float = 0.25  # of normals that come with the frames
    distortion_weight: float = 0.0  # of disks that lie scattered along a ray
    depth_weight: float = 0.5  # of a sensor's depth
    stereo_depth_weight: float = 0.2  # of depth estimated from the images
    # Adam; the means' rate is relative to the typical depth of the scene and decays exponentially
    means_lr: Rate = 1.6e-4
    means_lr_final_share: Share = 0.02  # of the rate, at the end of the run
    quaternions_lr: Rate = 2e-3  # of the disks' rotations
    scales_lr: Rate = 0.01  # of the logarithms of their sizes
    opacities_lr: Rate = 0.1  # of the logits of their opacities
    sh_lr: Rate = 5e-3  # of their colours
    lr_decays_from: Share = 0.6  # fraction of the run from which these four decay exponentially ...
    lr_final_share: Share = 0.1  # ... to this share at its end
    sh_degree: int = 1  # of the spherical harmonics: 0 = the same colour from everywhere
    # Densification
    # "budgeted" holds the maximum, "gradient" is the paper's
    densification: Literal["budgeted", "gradient"] = "budgeted"
    refine_every: Count = 60  # iterations
    refine_until: Share = 0.7  # fraction of the run
    densify_growth: Share = 0.1  # share added a refinement (budgeted)
    densify_gradient: float = 2e-4  # pull above which a Gaussian is densified (gradient)
    opacity_reset_every: int = 3000  # iterations until `refine_until` (gradient); 0 = never
    min_opacity: Share = 0.05  # Gaussians that are fainter go
    # Cameras
    # A gain and an offset per frame.  Colours fit better, geometry does not; views not trained on, whose
    # exposure is not known, come out worse.
    exposure: bool = False
    exposure_lr: Rate = 2e-3  # of gains and offsets
    # What shows where nothing is reconstructed: one learned colour; False = black
    learn_background: bool = True
    background_lr: Rate = 2e-3  # of that colour
    # Pose refinement, for poses some pixels off; exact ones lose a little.  Lengths are relative to the
    # typical depth of the scene; rates decay exponentially
    refine_poses: bool = False
    pose_iterations: Count = 1200  # in place of `iterations`: a pose moves only when its frame's turn comes
    pose_start: Share = 0.1  # fraction of the run before which poses stay as given
    pose_rotation_lr: Rate = 4e-3  # radians
    pose_translation_lr: Rate = 6e-3  # over the typical depth
    pose_lr_final_share: Share = 0.004  # of the rates, at the end of the run
    pose_prior: float = 50.0  # ½·prior·(angle² + (shift / depth)²) is added to each frame's loss
    pose_judged: Share = 0.5  # fraction of the run at which refined poses are kept for good only if they ...
    pose_min_pixels: float = 0.4  # ... moved the images by this much (median): else the given ones hold
    # While frames still arrive: each is folded in, optimised on among the newest ones and others, and a
    # polish finishes the scene once it is asked for.
    online_fraction: Share = 0.25  # the moment of a run at which all schedules stand meanwhile
    online_iterations: Count = 40  # optimised per frame at most, then the model waits for more
    online_least_share: Share = 0.3  # of them, made up for before a polish
    online_window: Count = 8  # newest frames ...
    online_newest_share: Share = 0.5  # ... that get this share of the iterations
    online_fine_share: Share = 0.6  # of the iterations at full resolution, the others at half
    online_density: float = 0.15  # Gaussians per unexplained pixel, over gaussians_per_pixel
    polish_begin: Share = 0.4  # fraction of a run that a polish starts at
    polish_iterations: Count = 700  # at most ...
    polish_time_s: float = 4.0  # ... or this long; 0 = all of them ...
    polish_least: int = 100  # ... but not fewer, however slow the machine
