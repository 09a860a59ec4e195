"""All defaults, one frozen dataclass a stage; nothing else in the package holds one.

YAML overlays (`config/*.yaml`) and ROS parameters are checked against these classes:
an unknown key is refused, a wrong type is refused, a missing key keeps its default.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ReconstructionConfig:
    """2D Gaussian Splatting (Huang et al. 2024; InstaScene section 3)."""

    # What trains: "auto" takes a CUDA GPU where gsplat and one are there, else the CPU
    device: Literal["auto", "cpu", "cuda"] = "auto"
    iterations: int = 1200
    time_budget_s: float = 0.0  # stop after this many seconds; 0 = run all iterations
    seed: int = 0
    # Memory: training starts with `gaussians_per_pixel` × pixels of a training image, may grow by a
    # third, and never exceeds `max_gaussians`.
    max_gaussians: int = 80_000
    gaussians_per_pixel: float = 0.4
    # Resolution: images above `max_pixels` are trained smaller; training starts at half of that and
    # doubles at these fractions of the run.
    max_pixels: int = 200_000
    finer_at: tuple[float, ...] = (0.3,)
    # Losses
    ssim_weight: float = 0.2
    normal_weight: float = 0.05
    normal_prior_weight: float = 0.25  # of normals that come with the frames
    distortion_weight: float = 0.0
    depth_weight: float = 0.5  # of a sensor's depth
    stereo_depth_weight: float = 0.2  # of depth estimated from the images
    # Adam; the means' rate is relative to the typical depth of the scene and decays exponentially
    means_lr: float = 1.6e-4
    means_lr_final_share: float = 0.02
    quaternions_lr: float = 1e-3
    scales_lr: float = 5e-3
    opacities_lr: float = 0.05
    sh_lr: float = 2.5e-3
    sh_degree: int = 1
    # Densification
    # "budgeted" holds the maximum, "gradient" is the paper's
    densification: Literal["budgeted", "gradient"] = "budgeted"
    refine_every: int = 100
    refine_until: float = 0.7  # fraction of the run
    densify_growth: float = 0.1  # share added a refinement (budgeted)
    densify_gradient: float = 2e-4  # pull above which a Gaussian is densified (gradient)
    opacity_reset_every: int = 3000  # iterations until `refine_until` (gradient); 0 = never
    min_opacity: float = 0.05
    # Cameras
    # A gain and an offset per frame.  Colours fit better, geometry does not; views not trained on, whose
    # exposure is not known, come out worse.
    exposure: bool = False
    exposure_lr: float = 2e-3
    # What shows where nothing is reconstructed: one learned colour; False = black
    learn_background: bool = True
    background_lr: float = 2e-3
    # Pose refinement, for poses some pixels off; exact ones lose a little.  Lengths are relative to the
    # typical depth of the scene; rates decay exponentially
    refine_poses: bool = False
    pose_start: float = 0.1  # fraction of the run before which poses stay as given
    pose_rotation_lr: float = 4e-3  # radians
    pose_translation_lr: float = 6e-3
    pose_lr_final_share: float = 0.004
    pose_prior: float = 50.0  # ½·prior·(angle² + (shift / depth)²) is added to each frame's loss
    pose_judged: float = 0.5  # fraction of the run at which refined poses are kept for good only if they ...
    pose_min_pixels: float = 0.4  # ... moved the images by this much (median): else the given ones hold
    # While frames still arrive: each is folded in, optimised on among the newest ones and others, and a
    # polish finishes the scene once it is asked for.
    online_fraction: float = 0.25  # the moment of a run at which all schedules stand meanwhile
    online_iterations: int = 40  # optimised per frame at most, then the model waits for more
    online_least_share: float = 0.4  # of them, made up for before a polish
    online_window: int = 8  # newest frames ...
    online_newest_share: float = 0.5  # ... that get this share of the iterations
    online_fine_share: float = 0.6  # of the iterations at full resolution, the others at half
    online_density: float = 0.15  # Gaussians per unexplained pixel, over gaussians_per_pixel
    polish_begin: float = 0.4  # fraction of a run that a polish starts at
    polish_iterations: int = 700  # at most ...
    polish_time_s: float = 8.0  # ... or this long; 0 = all of them ...
    polish_least: int = 200  # ... but not fewer, however slow the machine


@dataclass(frozen=True)
class SegmentationConfig:
    """2D instance masks."""

    # "labels": given label images; "builtin": trained network and fused geometry; "network" and
    # "geometric": either alone; "auto": labels where any are given, else builtin; "mask2former", "sam2"
    # and "cropformer": public weights of your own, see `checkpoint`
    segmenter: Literal[
        "auto", "labels", "builtin", "network", "geometric", "mask2former", "sam2", "cropformer"
    ] = "auto"
    weights: str = ""  # safetensors of the network; empty = those of the package
    max_pixels: int = 320 * 240  # larger frames are segmented smaller
    ids_agree: bool = False  # given labels: the same id means the same object in every frame (a tracker's)
    min_mask_pixels: int = 25  # smaller masks, or pieces of one, are left out
    # Public weights.  mask2former and sam2: a folder in the format of transformers (config.json,
    # model.safetensors); cropformer: its .pth file
    checkpoint: str = ""
    cropformer_root: str = ""  # folder Entityv2/CropFormer of a checkout of EntitySeg ...
    cropformer_config: str = "configs/entityv2/entity_segmentation/cropformer_hornet_3x.yaml"  # ... in it
    device: Literal["auto", "cpu", "cuda"] = "auto"  # where they run; "auto": on a GPU where torch sees one
    min_mask_score: float = 0.5  # masks of a lower score are left out
    max_mask_overlap: float = 0.7  # IoU above which two masks are one and the better scored stays
    # Who gets a pixel of several masks: the best score, or the smallest mask (parts before the whole)
    overlap_order: Literal["score", "smallest"] = "score"
    min_visible_share: float = 0.3  # of a mask's pixels that others must leave to it
    max_structure_share: float = 0.5  # of a mask's pixels on the support, a wall or beyond: more is no object
    sam2_points_per_side: int = 32  # grid of prompts; its square is what the time goes into
    sam2_points_per_batch: int = 16  # prompts at a time; bounds the memory: 1.6 GB, at 64 3.4 GB
    sam2_min_predicted_iou: float = 0.8
    sam2_min_stability: float = 0.95  # IoU of the masks cut at logits of ...
    sam2_stability_offset: float = 1.0  # ... plus and minus this
    # Support plane and walls.  "scale" is the median distance of the surface from its cameras.
    support_points: int = 40_000  # points fused for the plane search
    max_planes: int = 8
    plane_trials: int = 300
    plane_tolerance: float = 0.01  # of the scale: first, generous inlier distance
    plane_sigmas: float = 4.0  # final tolerance in standard deviations of the planes' own noise
    min_plane_share: float = 0.03  # of all points
    up_known_degrees: float = 30.0  # the support may tilt this much from the given up direction ...
    up_guess_degrees: float = 60.0  # ... or from what the cameras suggest
    min_level_facing: float = 0.5  # share of the points at the support's level that face up
    extent_margin: float = 0.03  # of the scale: objects may stick out over the support's edge
    min_wall_share: float = 0.05  # of the points over the support's extent
    max_behind_wall: float = 0.03  # of them
    min_weak_share: float = 0.004  # of all points: a support nearly hidden under its objects
    # Network
    join_log_odds: float = 2.6  # added to affinities: training weighs a cut as four joins
    min_foreground: float = 0.5  # probability of being an object
    max_affinity_cut: float = 0.5  # mean probability of "two objects" above which regions stay apart
    # Its evidence gathered on the fused surface (builtin)
    min_surface_foreground: float = 0.6  # mean over all views
    border_distance: float = 12.0  # elements' spacings that a sure border counts in the growth of patches
    contact_weights: str = ""  # safetensors of the model that judges pairs of patches; empty = the package's
    contact_log_odds: float = 1.0  # added to its log odds of two objects: few pairs are, in its training
    apart_weight: float = 0.02  # of a pixel pair that links patches apart, against an element pair in contact
    max_apart: float = 30.0  # pixel pairs that count, at most
    fill_pixels: float = 4.0  # foreground this near to an object's mask is part of it
    # Geometric segmenter: the fused surface and its cuts.
    element_pixels: float = 1.5  # spacing of surface elements in pixels at the median distance
    patch_spacings: float = 5.0  # size of a patch in elements
    concave_low_degrees: float = 20.0  # inward bend between patches that is still one surface ...
    concave_high_degrees: float = 50.0  # ... and that is surely a contact of two
    singular_cut: float = 0.6  # of a convex contact that is a point rather than an edge
    color_difference: float = 10.0  # Lab units (lightness halved) that make two patches differ
    same_color_trust: float = 0.3  # what a crease counts between patches of exactly one colour
    contact_doubt: float = 4.0  # element pairs that speak for a cut at every contact
    hollow_bend: float = 0.08  # radians per element; patches do not start where the surface bends in more
    max_cut: float = 0.35  # mean of that (0 … 1) over a contact, above which two parts stay apart
    min_part_elements: int = 80  # smaller parts are noise or belong to a neighbour
    lookup_spacings: float = 2.0  # a pixel takes the part of the nearest element within this


@dataclass(frozen=True)
class AssociationConfig:
    """Mask clustering (InstaScene section 3.1; MaskClustering).  Ratios lie in [0, 1]."""

    min_transmittance: float = 0.5  # a Gaussian behind less than this is not on the visible surface
    max_trace_pixels: int = 320 * 240  # larger images are traced smaller; bounds time and memory
    structure_max_masked: float = 0.2  # share of a structure Gaussian's weight that may be in masks
    min_weight: float = 0.25  # blending weight below which a Gaussian does not show in a pixel
    min_gaussians: int = 20  # smaller masks and instances are dropped (the paper's 50 is for finer scenes)
    max_unseen: float = 0.7  # a mask is visible in a frame unless more of it is unseen or unlabelled there
    containment: float = 0.8  # share of a mask's labelled Gaussians that makes it contained in a mask
    split_ratio: float = 0.3  # a mask that splits in this share of its frames is under-segmented
    split_margin: float = 0.05  # agreement beyond 1 - split_ratio that joins: shares of some views scatter
    consensus: float = 0.9  # view consensus above which masks are merged
    first_percentile: int = 95  # observer-count thresholds: this percentile, then down to 0 ...
    percentile_step: int = 5  # ... in steps of this
    split_spacings: float = 5.0  # DBSCAN radius in units of the Gaussians' own spacing
    split_min_points: int = 4
    min_visible_ratio: float = 0.5  # share of an instance's frames that must show a Gaussian in it
    min_surface_share: float = 0.1  # of a Gaussian's weight on the visible surface, for masks to count
    smoothing_neighbours: int = 6  # on the surface, asked with a Gaussian that masks disagree on ...
    smoothing_rounds: int = 2  # ... this often in succession
    min_views: int = 2  # frames with a mask of an instance
    merge_overlap: float = 0.8  # instances that share more of the smaller one are one
    # "consensus": the paper's mask graph; "votes": of the frames on pairs of Gaussian patches; "ids": masks
    # of one id are of one object
    clustering: Literal["consensus", "votes", "ids"] = "votes"
    patch_spacings: float = 4.0  # "votes": size of a patch in units of the Gaussians' own spacing
    patch_min_gaussians: int = 3
    max_patches: int = 1200  # patches are made larger where there would be more
    vote_prior: float = 1.0  # frames of doubt added to every pair of groups, but never more than ...
    vote_prior_share: float = 0.05  # ... this share of all frames: three that agree must be enough for three
    recovery: float = 0.8  # a mask counts for a new cluster when that holds this share of it
    refit_rounds: int = 4  # in which masks and Gaussians choose their instance by one another, at most
    min_shown: float = 0.05  # of the most that one frame shows of a cluster; less does not count as seen


@dataclass(frozen=True)
class FeaturesConfig:
    """Spatial contrastive learning (InstaScene section 3.2); a loss weight of 0 switches it off."""

    dimension: int = 16
    seed: int = 0
    iterations: int = 400  # at most; training stops once the assignment has settled
    learning_rate: float = 2.5e-2
    final_learning_rate: float = 0.05  # share of it left at the last iteration (exponential decay)
    view_weight: float = 1.0  # L_CF on one view's pixels (the paper's ratios 1 : 1 : 2.5)
    cross_view_weight: float = 1.0  # L_CF on the pixels of neighbouring views together
    cluster_weight: float = 2.5  # L_CF on the Gaussians of the 3D instances
    filtered_masks: bool = True  # supervise by masks that 3D instances agree with; False = as they came
    keep_votes: bool = True  # Gaussians that the masks of all views gave an instance keep it
    cross_view_every: int = 5  # iterations
    cross_view_span: int = 2  # neighbours on each side
    pixels_per_view: int = 8192  # kept in memory per view
    pixels_per_batch: int = 4096
    gaussians_per_batch: int = 8192
    alpha: float = 10.0  # in the temperature
    min_temperature: float = 0.2  # lower, and the pull within an instance ends before τ is reached
    check_every: int = 50  # iterations between two looks at the assignment
    settled_change: float = 0.002  # share of Gaussians that may still change
    similarity: float = 0.9  # τ: cosine with the instance's mean feature
    neighbours: int = 8  # for Gaussians below τ
    neighbour_agreement: float = 0.75  # share of the neighbours that must agree
    neighbour_spacings: float = 4.0  # how far a neighbour may be, in units of the Gaussians' spacing
    min_id_overlap: float = 0.2  # IoU with a previous instance whose id is kept


@dataclass(frozen=True)
class ClickConfig:
    """A segment from one click (InstaScene section 3.2); τ is `features.similarity`.  Spacings are in
    units of the Gaussians' own."""

    neighbours: int = 8  # of each Gaussian on the surface ...
    reach_spacings: float = 4.0  # ... and how far they may be
    smoothing: int = 3  # rounds of agreeing with the neighbours on a feature
    min_similarity: float = 0.0  # features of what was never one mask are opposed: coarser levels end here
    min_coverage: float = 0.5  # of a pixel by Gaussians, else nothing is there
    max_point_spacings: float = 8.0  # how far a clicked 3D point may be from the surface
    min_gaussians: int = 10  # smaller segments are no level of their own
    same_size: float = 0.1  # levels that differ by less in size are one
    min_gap: float = 0.05  # range of thresholds over which a level must stay the same
    match_overlap: float = 0.5  # IoU with a known instance that makes a segment that instance
    min_rest: float = 0.2  # share of an instance that must be left for it to stay one
    # What no mask ever covered, and parts inside one feature: growth over the surface.
    growth: float = 0.5  # smoothness a Gaussian needs to be grown over
    crease_degrees: float = 50.0  # inward bend over which nothing grows
    color_difference: float = 30.0  # Lab units (lightness halved) that count as much as ...
    color_share: float = 0.4  # ... this share of a crease: colour alone gives parts, not objects


@dataclass(frozen=True)
class CompletionConfig:
    """In-situ completion.  Lengths are relative (voxels, pixels, noise), since a scene from RGB only
    has an arbitrary scale."""

    prior: str = "learned"  # "carving" asks no network: hull and footprint, less what was seen to be empty
    candidates: bool = True  # boxes, cylinders and balls replace the prior's guess where the evidence says so
    num_samples: int = 1
    seed: int = 0
    # Observation
    max_views: int = 48  # views fused, the widest spread of those that see the object best
    max_points: int = 30000  # surface points checked against all views
    min_points: int = 40  # with fewer confirmed surface points there is too little to complete
    mask_erosion: int = 1  # pixels at a mask's rim that belong to nobody
    box_scale: float = 1.15  # object box / observed box; a prior that touches its faces grows it
    max_growths: int = 3  # times the box is grown by 1.25
    max_voxels: int = 600_000
    max_thin_voxels: int = 1_200_000  # of a vessel whose walls need finer ones
    min_voxel_pixels: float = 0.5  # a voxel is not finer than this many pixels' footprint
    # Meshing
    smoothing_iterations: int = 4
    max_observed_move: float = 0.001  # metres, and never more than half a voxel
    simplify_voxels: float = 0.12  # tolerance of the adaptive triangle count
    max_triangles: int = 20_000
    shape_share: float = 0.7  # of them at most for the shape; the rest go where the colour varies
    color_tolerance: float = 5.0  # deviation from linear colour along an edge (0 … 255) that is left
    max_edge: float = 0.06  # longest edge of the mesh, as a share of its box's diagonal
    # Convex parts
    convex_threshold: float = 0.1  # concavity left in a part, relative to the object's size
    max_convex_parts: int = 12
    convex_max_triangles: int = 500


@dataclass(frozen=True)
class ExportConfig:
    """Files of one completed object."""

    formats: tuple[Literal["ply", "glb", "stl", "collision", "urdf", "sdf", "mjcf"], ...] = (
        "ply", "glb", "stl", "collision", "urdf", "sdf", "mjcf",
    )  # fmt: skip
    density: float = 400.0  # kg/m³, household things between foam and full cans; for the inertia
    friction: float = 0.8


@dataclass(frozen=True)
class SyntheticConfig:
    """A procedural scene (`instascene synth`)."""

    seed: int = 0
    num_objects: int = 8
    num_views: int = 60
    width: int = 320  # pixels
    height: int = 240
    fov_degrees: float = 50.0  # horizontal field of view
    elevations_degrees: tuple[float, ...] = (28.0, 42.0, 58.0)  # one arc of cameras each
    arc_degrees: float = 360.0  # how far the arcs go round
    arc_start_degrees: float = 0.0
    distance: float = 0.0  # metres from camera to pile; 0 = so that the pile fills the image
    layout: str = "pile"  # a key of synthetic.layouts.LAYOUTS
    kinds: tuple[str, ...] = ()  # object kinds to choose from; empty = all
    table_size: float = 1.2  # metres, side of the square table
    room: bool = True  # floor and walls around the table
    shadows: bool = True
    supersampling: int = 2  # colour rays a pixel = supersampling²
    depth_noise: str = "none"  # a key of synthetic.noise.DEPTH_NOISES
    plain_fraction: float = 0.0  # share of objects in one plain colour, without print
    min_observed_fraction: float = 0.15  # share of each object's surface that some view must see


@dataclass(frozen=True)
class Config:
    """The whole pipeline."""

    # Direction against gravity in the world frame; REP 103 says z.  Empty = not known: the support
    # plane decides.
    up: tuple[float, ...] = (0.0, 0.0, 1.0)
    # Frames held; of more, the most redundant ones go.  A frame of 640×480 takes about 9 MB with all that
    # is made from it.
    max_frames: int = 240
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    click: ClickConfig = field(default_factory=ClickConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
