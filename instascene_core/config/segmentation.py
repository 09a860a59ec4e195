"""Settings of the 2D instance masks."""

from dataclasses import dataclass
from typing import Literal


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
