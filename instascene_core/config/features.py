"""Settings of the contrastive features and of the segments that a click selects."""

from dataclasses import dataclass

from instascene_core.config.ranges import Angle, Cosine, Count, Positive, Rate, Seed, Share


@dataclass(frozen=True)
class FeaturesConfig:
    """Spatial contrastive learning (InstaScene section 3.2); a loss weight of 0 switches it off.

    The spacing of Gaussians is their median distance to the third neighbour, metres.
    """

    dimension: Count = 16  # of a Gaussian's feature
    seed: Seed = 0  # of the features' start and of the batches
    iterations: Count = 400  # at most; training stops once the assignment has settled
    learning_rate: Rate = 2.5e-2  # of Adam
    final_learning_rate: Share = 0.05  # share of it left at the last iteration (exponential decay)
    view_weight: float = 1.0  # L_CF on one view's pixels (the paper's ratios 1 : 1 : 2.5)
    cross_view_weight: float = 1.0  # L_CF on the pixels of neighbouring views together
    cluster_weight: float = 2.5  # L_CF on the Gaussians of the 3D instances
    filtered_masks: bool = True  # supervise by masks that 3D instances agree with; False = as they came
    keep_votes: bool = True  # Gaussians that the masks of all views gave an instance keep it
    cross_view_every: Count = 5  # iterations
    cross_view_span: int = 2  # neighbours on each side
    pixels_per_view: Count = 8192  # kept in memory per view
    pixels_per_batch: Count = 4096  # drawn from the labelled ones
    gaussians_per_batch: Count = 8192  # drawn from those that masks hit
    alpha: Positive = 10.0  # in the temperature
    min_temperature: Positive = 0.2  # lower, and the pull within an instance ends before τ is reached
    check_every: Count = 50  # iterations between two looks at the assignment
    settled_change: Share = 0.002  # share of Gaussians that may still change ...
    settled_checks: Count = 2  # ... at this many looks in succession
    similarity: Cosine = 0.9  # τ: cosine with the instance's mean feature
    neighbours: int = 8  # for Gaussians below τ
    neighbour_agreement: Share = 0.75  # share of the neighbours that must agree
    neighbour_spacings: Positive = 4.0  # how far a neighbour may be, in units of the Gaussians' spacing
    min_id_overlap: Share = 0.2  # IoU with a previous instance whose id is kept
    # How far the Gaussian of an earlier model may be from a new one that takes its label, in units of the
    # earlier Gaussians' spacing.
    transfer_spacings: float = 3.0


@dataclass(frozen=True)
class ClickConfig:
    """A segment from one click (InstaScene section 3.2); τ is `features.similarity`.

    The spacing of Gaussians is their median distance to the third neighbour, metres.
    """

    neighbours: Count = 8  # of each Gaussian on the surface ...
    reach_spacings: Positive = 4.0  # ... and how far they may be, in spacings
    smoothing: int = 3  # rounds of agreeing with the neighbours on a feature ...
    # ... by the cosine with each, to this power: at 4, a cosine of 0.5 counts a sixteenth of one of 1
    agreement_power: Count = 4
    enclosing_rounds: int = 2  # in which a segment takes in Gaussians most of whose neighbours it has
    min_similarity: Cosine = 0.0  # features of what was never one mask are opposed: coarser levels end here
    min_coverage: Share = 0.5  # of a pixel by Gaussians, else nothing is there
    max_point_spacings: float = 8.0  # how far a clicked 3D point may be from the surface, in spacings
    min_gaussians: int = 10  # smaller segments are no level of their own
    same_size: float = 0.1  # levels that differ by less in size are one
    min_gap: float = 0.05  # range of thresholds over which a level must stay the same
    match_overlap: Share = 0.5  # IoU with a known instance that makes a segment that instance
    min_rest: Share = 0.2  # share of an instance that must be left for it to stay one
    # What no mask ever covered, and parts inside one feature: growth over the surface.
    growth: float = 0.5  # smoothness a Gaussian needs to be grown over
    min_growth: float = 0.1  # the same for the coarsest segment by growth
    orienting_views: Count = 24  # enough to see every surface from its outside
    # Share of a pixel's depth: a Gaussian no further than this from it, along the axis, shows there.
    visible_share: Share = 0.02
    crease_degrees: Angle = 50.0  # inward bend over which nothing grows
    lightness_weight: float = 0.5  # of lightness among the Lab units of a step of colour: shading is no edge
    color_difference: Positive = 30.0  # Lab units that count as much as ...
    color_share: Share = 0.4  # ... this share of a crease: colour alone gives parts, not objects
