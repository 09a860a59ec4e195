"""Settings of the 2D instance masks, one class for each segmenter or for what several of them share.

The model that judges pairs of patches was trained with the defaults of `FusedSurfaceConfig`: other values
there, of its patches or its creases, want weights of their own
(`python -m instascene_core.training.segmenter.judges`).
"""

from dataclasses import dataclass, field
from typing import Literal

from instascene_core.config.points import PointsConfig
from instascene_core.config.ranges import Angle, Cosine, Count, Positive, Share, Signed


@dataclass(frozen=True)
class MaskConfig:
    """How a label image is tidied, whoever made it."""

    min_mask_pixels: int = 25  # smaller masks, or pieces of one, are left out
    max_hole_distance: float = 1.5  # pixels: an unlabelled pixel this near to a mask may be closed ...
    min_hole_surroundings: Share = 0.6  # ... where more than this share of its 3×3 pixels is labelled


@dataclass(frozen=True)
class EdgeConfig:
    """How borders of labels that come from depth are brought to where things end in the image."""

    weights: str = ""  # safetensors of the network that finds the true borders; empty = the package's
    frames: Count = 12  # from which it is measured how far the borders lie from the image's edges, at most
    # Pixels they lie off, as measured, to be moved: those by exact depth seem to lie 0.8 to 1.0 off, those of
    # simulated sensors 1.3 to 2.1
    least_offset: float = 1.1
    label_images: bool = True  # the label images of the instances, too; False: only masks


@dataclass(frozen=True)
class SupportConfig:
    """The support plane and the walls.  "scale" is the median distance of the surface from its cameras."""

    support_points: Count = 40_000  # points fused for the plane search ...
    support_frames: Count = 40  # ... from at most so many frames
    min_support_points: int = 100  # fewer tell nothing
    # Planes by RANSAC.  An "alignment" is the least cosine between a point's normal and the plane's.
    max_planes: Count = 8
    plane_trials: Count = 300  # planes through three random points, of which the best is taken
    trial_points: Count = 6000  # that a trial is judged by, about
    plane_tolerance: Positive = 0.01  # of the scale: first, generous inlier distance
    trial_alignment: Share = 0.85  # of a trial's inliers
    fit_alignment: Share = 0.8  # of the points a plane is fitted to
    min_fit_points: Count = 30  # a plane is fitted to
    last_fit_tolerance: float = 0.5  # of `plane_tolerance`, in the last of three fits
    plane_alignment: Share = 0.7  # of the points that belong to a plane once it is found
    min_plane_share: Share = 0.03  # of all points
    plane_sigmas: float = 4.0  # final tolerance in standard deviations of the planes' own noise ...
    min_tolerance: float = 0.25  # ... but at least this and ...
    max_tolerance: float = 1.5  # ... at most that many times `plane_tolerance`
    # Which of the planes is the support
    up_known_degrees: Angle = 30.0  # the support may tilt this much from the given up direction ...
    up_guess_degrees: Angle = 60.0  # ... or from what the cameras suggest
    up_axis_degrees: Angle = 1.0  # an axis of the world that is so near to the found up is taken for it
    up_warn_degrees: Angle = 15.0  # between up and the support's normal, or the cameras' up: it is said
    up_tilted_share: Share = 0.25  # of all points, for a plane that is to count against level cameras
    up_facing_alignment: Cosine = 0.7  # cosine to the plane's normal above which a point faces up
    min_level_facing: Share = 0.5  # share of the points at the support's level that face up
    min_weak_share: Share = 0.004  # of all points: a support nearly hidden under its objects
    # How far it reaches
    extent_margin: float = 0.03  # of the scale: objects may stick out over the support's edge
    extent_gap_cells: int = 3  # of half a margin each: patches less than twice this apart are one
    foot_tolerances: float = 2.0  # a thing's foot lies within so many tolerances of the plane ...
    min_foot_points: int = 3  # ... with so many points in 3×3 cells ...
    deep_tolerances: float = 6.0  # ... and from `foot_tolerances` down to this below the plane lie ...
    max_deep_share: float = 0.5  # ... at most so many points for each of the foot
    # Which of the others are walls
    wall_alignment: Cosine = 0.7  # cosine to the wall's normal of its points
    min_wall_share: Share = 0.05  # of the points over the support's extent
    behind_tolerances: float = 2.0  # a point is behind a wall beyond so many tolerances
    max_behind_wall: float = 0.03  # of the points over the extent


@dataclass(frozen=True)
class NetworkConfig:
    """The trained network and what is made of its answer for one view."""

    weights: str = ""  # safetensors of the network; empty = those of the package
    join_log_odds: Signed = 2.6  # added to affinities: training weighs a cut as four joins
    min_foreground: Share = 0.5  # probability of being an object
    border_steps: Count = 4  # of its steps: the first, short enough to say where exactly a border runs
    # Regions of a single view that are joined to objects
    far_border_weight: float = 0.15  # of a cut over three pixels, against one of neighbours, for a border
    border_blur_pixels: float = 0.5  # standard deviation
    seed_cell_pixels: Count = 8  # between the seeds of the regions, about
    max_seed_border: Share = 0.6  # probability of a border below which seeds are set
    max_affinity_cut: Share = 0.5  # mean probability of "two objects" above which regions stay apart


@dataclass(frozen=True)
class PatchConfig:
    """Small patches of the fused surface that respect creases and borders; "spacing": of its elements."""

    neighbour_spacings: Positive = 1.9  # elements this near are neighbours
    patch_spacings: Positive = 5.0  # size of a patch
    min_patch_fill: float = 0.15  # of a square patch's elements, for a seed of its own
    hollow_bend: float = 0.08  # radians per element; patches do not start where the surface bends in more
    max_bend: float = 1.0  # radians per element: more counts as this
    # What the way from element to element counts besides its length in spacings:
    turn_distance: float = 15.0  # times 1 − cosine between their normals ...
    max_turn: float = 1.0  # ... of which no more than this counts
    border_distance: float = 12.0  # for a border that the network is sure of


@dataclass(frozen=True)
class CreaseConfig:
    """How surely two patches that touch belong to two bodies, 0 … 1, by their shape and colours."""

    concave_low_degrees: Angle = 20.0  # inward bend between patches that is still one surface ...
    concave_high_degrees: Angle = 50.0  # ... and that is surely a contact of two
    singular_cut: Share = 0.6  # of a convex contact that is a point rather than an edge
    # Such a contact: the line between the patches lies within an angle of the edge that both planes share.
    # The angle grows with the bend between them along a sigmoid (LCCP, equation 4).
    singular_limit_degrees: Angle = 60.0  # at most
    singular_middle_degrees: Angle = 25.0  # bend at which it is half of that
    singular_slope: float = 0.25  # per degree of bend
    singular_max_degrees: Angle = 150.0  # bends beyond are two sides of a thin wall
    color_difference: Positive = 10.0  # Lab units that make two patches differ ...
    lightness_weight: float = 0.5  # ... of which lightness counts this: shading changes it most
    same_color_trust: float = 0.3  # what a crease counts between patches of exactly one colour


@dataclass(frozen=True)
class GeometricCutConfig:
    """The geometric segmenter's decision on patches."""

    contact_doubt: float = 4.0  # element pairs that speak for a cut at every contact
    max_cut: Share = 0.35  # mean of the creases' 0 … 1 over a contact, above which two parts stay apart


@dataclass(frozen=True)
class SecondOpinionConfig:
    """What another segmenter's instances of the whole scene count beside the evidence (builtin+points)."""

    min_share: Share = 0.8  # of a patch's elements that one instance must have; else the patch is silent
    same_log_odds: float = 0.5  # that two patches of one instance are one object
    different_log_odds: float = 0.5  # that two patches of two instances are two


@dataclass(frozen=True)
class EvidenceConfig:
    """The built-in segmenter's decision on patches: the network's evidence of all views, and the shape."""

    contact_weights: str = ""  # safetensors of the model that judges pairs of patches; empty = the package's
    min_surface_foreground: Share = 0.4  # mean over all views, for an element to be of an object
    min_facing: Cosine = 0.05  # a view counts for an element by the cosine at which it sees it, at least this
    contact_log_odds: Signed = 1.0  # added to its log odds of two objects: few pairs are, in its training
    apart_weight: float = 0.02  # of a pixel pair that links patches apart, against an element pair in contact
    max_apart: float = 30.0  # pixel pairs that count, at most
    # How patches become objects: "objectness" judges the nodes of the merge tree, with weights of all three
    # models that belong together; "threshold" joins up to `max_evidence_cut`.
    choice: Literal["threshold", "objectness"] = "objectness"
    objectness_weights: str = ""  # safetensors of the model that judges nodes; empty = the package's
    min_parent_cut: Share = 0.08  # a node that joins another at less than this mean cut is a piece
    false_cost: Share = 0.5  # expected IoU that a node must exceed: what a false object costs
    image_border_pixels: int = 3  # this near to the image's border a thing is cut by it
    # "threshold", and with given masks: mean probability of "two objects" above which parts stay apart
    max_evidence_cut: Share = 0.5
    fill_pixels: float = 4.0  # foreground this near to an object's mask is part of it
    second: SecondOpinionConfig = field(default_factory=SecondOpinionConfig)


@dataclass(frozen=True)
class GivenMasksConfig:
    """Label images of some of the views, carried to the others over the fused surface."""

    # Share of the frames with a label image from which on the masks alone decide; below it the built-in
    # segmenter's evidence of all views counts as well.  0 = the masks always decide alone.  Measured on pile
    # and flush: at 25 % of the views damaged masks gain 0.06 mIoU by it and exact ones lose 0.01, at 10 %
    # they gain 0.46 and 0.02; at 50 % damaged masks alone reach what they reach with it at 25 %.
    alone_from: float = 0.5
    min_patch_pixels: int = 4  # of a patch in a view, for that view's masks to say something of it ...
    min_patch_share: Share = 0.6  # ... most of which, this share, lies in one mask or in none
    # What is said of pairs of patches (one mask, two masks, only one in a mask), before it is estimated:
    one_object: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of pairs within one object
    two_objects: tuple[float, float, float] = (0.1, 0.6, 0.3)  # of pairs across two
    prior_masks: float = 3.0  # that this counts as much as, against all masks
    pooled_masks: float = 5.0  # that the rates of all views count as much as, against the masks of one view
    rounds: int = 15  # of estimating the rates and the pairs by one another, at most
    settled_log_odds: float = 0.01  # largest change of a pair after which they stay
    apart_weight: float = 1.8  # of a pair apart that has masks, against an element pair in contact
    # What is known of a pair without masks counts as log odds of at most this: three views whose masks agree
    # must be able to part what nothing else parts.
    max_own_log_odds: float = 3.0
    known_share: Share = 0.5  # of a mask that the surface shows; less of it, and the mask is added as given


@dataclass(frozen=True)
class FusedSurfaceConfig:
    """The surface fused of all views, which builtin and geometric cut; "spacing": of its elements."""

    element_pixels: Positive = 1.5  # spacing in pixels at the median distance ...
    min_spacing_noises: float = 1.5  # ... but at least so many standard deviations of the depth's noise
    # Probability of being an object that overrules the geometry:
    surely_structure: float = 0.25  # what is not above it is structure, even in free space
    surely_object: float = 0.75  # what is above it is an object, even within the structure's tolerance
    min_element_views: int = 2  # an element is kept that so many frames saw ...
    many_views: int = 5  # ... where there are this many frames; else one is enough
    smoothing_spacings: Positive = 2.0  # elements are moved to the mean of their neighbours within this ...
    smoothing_alignment: Cosine = 0.6  # ... whose normals have a greater cosine than this
    lookup_spacings: Positive = 2.0  # a pixel takes the part of the nearest element within this ...
    seen_again_spacings: float = 0.75  # ... within this even where its own view takes it for structure
    min_part_elements: int = 80  # smaller parts are noise or belong to a neighbour
    edges: EdgeConfig = field(default_factory=EdgeConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    creases: CreaseConfig = field(default_factory=CreaseConfig)
    geometric: GeometricCutConfig = field(default_factory=GeometricCutConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)


@dataclass(frozen=True)
class Sam2Config:
    """Automatic mask generation with SAM 2."""

    points_per_side: Count = 32  # grid of prompts; its square is what the time goes into
    points_per_batch: Count = 16  # prompts at a time; bounds the memory: 1.6 GB, at 64 3.4 GB
    min_predicted_iou: float = 0.8  # of a mask, by the network itself
    min_stability: float = 0.95  # IoU of the masks cut at logits of ...
    stability_offset: float = 1.0  # ... plus and minus this


@dataclass(frozen=True)
class CropFormerConfig:
    """CropFormer from a checkout of EntitySeg."""

    root: str = ""  # folder Entityv2/CropFormer of the checkout ...
    config: str = "configs/entityv2/entity_segmentation/cropformer_hornet_3x.yaml"  # ... in it
    min_pixel_probability: float = 0.5  # of a pixel of a mask, where the model gives probabilities


@dataclass(frozen=True)
class PublicSegmentersConfig:
    """Segmenters with public weights of your own: mask2former, sam2, cropformer."""

    # mask2former and sam2: a folder in the format of transformers (config.json, model.safetensors);
    # cropformer: its .pth file
    checkpoint: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"  # where they run; "auto": on a GPU where torch sees one
    min_mask_score: float = 0.5  # masks of a lower score are left out
    max_mask_overlap: Share = 0.7  # IoU above which two masks are one and the better scored stays
    # Who gets a pixel of several masks: the best score, or the smallest mask (parts before the whole)
    overlap_order: Literal["score", "smallest"] = "score"
    min_visible_share: Share = 0.3  # of a mask's pixels that others must leave to it
    max_structure_share: Share = 0.5  # of a mask's pixels on the support, a wall or beyond: more is no object
    sam2: Sam2Config = field(default_factory=Sam2Config)
    cropformer: CropFormerConfig = field(default_factory=CropFormerConfig)


@dataclass(frozen=True)
class SegmentationConfig:
    """2D instance masks."""

    # "labels": given label images; "builtin": trained network and fused geometry; "network" and
    # "geometric": either alone; "points": a network on the points of the whole scene at once, and
    # "builtin+points": its instances as votes beside builtin's; "auto": labels where any are given, else
    # builtin; "mask2former", "sam2" and "cropformer": public weights of your own, see `public`
    segmenter: Literal[
        "auto",
        "labels",
        "builtin",
        "network",
        "geometric",
        "points",
        "builtin+points",
        "mask2former",
        "sam2",
        "cropformer",
    ] = "auto"
    max_pixels: Count = 320 * 240  # builtin and geometric segment larger frames smaller
    ids_agree: bool = False  # given labels: the same id means the same object in every frame (a tracker's)
    masks: MaskConfig = field(default_factory=MaskConfig)
    support: SupportConfig = field(default_factory=SupportConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    fused_surface: FusedSurfaceConfig = field(default_factory=FusedSurfaceConfig)
    given: GivenMasksConfig = field(default_factory=GivenMasksConfig)
    points: PointsConfig = field(default_factory=PointsConfig)
    public: PublicSegmentersConfig = field(default_factory=PublicSegmentersConfig)
