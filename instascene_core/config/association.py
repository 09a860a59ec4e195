"""Settings of the mask clustering."""

from dataclasses import dataclass
from typing import Annotated, Literal

from instascene_core.config.ranges import Count, Positive, Range, Share


@dataclass(frozen=True)
class AssociationConfig:
    """Mask clustering (InstaScene section 3.1; MaskClustering).

    Ratios and shares lie in [0, 1].  A spacing is the median distance from a Gaussian to its third neighbour.
    """

    # --- which Gaussians a mask shows ---
    min_transmittance: float = 0.5  # a Gaussian behind less than this is not on the visible surface
    max_trace_pixels: Count = 320 * 240  # larger images are traced smaller; bounds time and memory
    min_trace_weight: float = 0.02  # blending weight below which an entry of a trace is not kept
    structure_max_masked: Share = 0.2  # share of a structure Gaussian's weight that may be in masks
    support_tolerances: float = 2.0  # of the support's own: Gaussians this near to its plane are part of it
    min_weight: float = 0.25  # blending weight below which a Gaussian does not show in a pixel
    min_gaussians: int = 20  # smaller masks and instances are dropped (the paper's 50 is for finer scenes)

    # --- which masks show one object ---
    # "consensus": the paper's mask graph; "votes": of the frames on pairs of Gaussian patches; "ids": masks
    # of one id are of one object
    clustering: Literal["consensus", "votes", "ids"] = "votes"
    majority: Share = 0.5  # the share that is "most" of a thing
    max_unseen: Share = 0.7  # a mask is visible in a frame unless more of it is unseen or unlabelled there
    containment: Share = 0.8  # share of a mask's labelled Gaussians that makes it contained in a mask
    split_ratio: Share = 0.3  # a mask that splits in this share of its frames is under-segmented
    split_margin: float = 0.05  # agreement beyond 1 - split_ratio that merges: shares of some views scatter
    min_views: int = 2  # frames with a mask of an instance
    min_shown: float = 0.05  # of the most that one frame shows of a cluster; less does not count as seen
    # Share of the frames with masks that see an instance, in which it must have one.  Of a pile with damaged
    # masks in 60 to 500 frames: mistakes that recur have .06 at most, objects .36 at least
    min_view_share: Share = 0.1

    # --- "consensus" ---
    consensus: Share = 0.9  # view consensus above which masks are merged
    first_percentile: Annotated[int, Range(0, 100)] = (
        95  # observer-count thresholds: this percentile, then down to 0 ...
    )
    percentile_step: Count = 5  # ... in steps of this
    split_spacings: Positive = 5.0  # DBSCAN radius in spacings
    split_min_points: int = 4  # within that radius, for a point inside a part

    # --- "votes" ---
    patch_spacings: Positive = 4.0  # size of a patch in spacings
    patch_min_gaussians: int = 3  # of a patch; smaller ones are left out
    max_patches: Count = 1200  # patches are made larger where there would be more
    patch_divisions: int = 3  # rounds in which a patch is divided where its Gaussians lie in other masks
    min_patch_voters: int = 2  # Gaussians of a patch in one mask below which that frame does not count for it
    # Prior frames (see `vote_prior`) for each pair of patches, to find halves that no frame showed together.
    separation_prior: float = 1.0
    reassign_rounds: int = 2  # in which Gaussians choose the group anew that their masks vote for
    recovery: Share = 0.8  # a mask counts for a new cluster when that holds this share of it

    # --- merging clusters, and fitting masks and Gaussians to one another ---
    vote_prior: float = 1.0  # prior frames against a merge, added to every pair, but never more than ...
    vote_prior_share: Share = 0.05  # ... this share of all frames: three that agree must be enough for three
    min_cohesion: float = 0.5  # a cluster that frames cut more often than this is not excused by that
    min_voters: int = 3  # Gaussians of a cluster below which a frame does not say where it lies
    merge_overlap: Share = 0.8  # instances that share more of the smaller one are one
    refit_rounds: int = 4  # in which masks and Gaussians choose their instance by one another, at most

    # --- whose a Gaussian is ---
    min_visible_ratio: Share = 0.5  # share of an instance's frames that must show a Gaussian in it
    min_surface_share: Share = 0.1  # of a Gaussian's weight on the visible surface, for masks to count
    smoothing_neighbours: Count = 6  # on the surface, asked with a Gaussian that masks disagree on ...
    smoothing_rounds: int = 2  # ... this often in succession ...
    smoothing_strength: Share = 0.5  # ... each time this share of the way to their mean, at most
    box_percentile: Annotated[float, Range(0, 50)] = (
        1.0  # of an instance's Gaussians left out of its box on every side
    )
