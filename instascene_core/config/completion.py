"""Settings of the completion, one frozen dataclass per package of `completion/`.

Lengths are relative (voxels, pixels, noise, shares of a size) wherever they can be, since a scene from RGB
only has an arbitrary scale.  "Footprint" is what one pixel covers at the object, "noise" the standard
deviation of one depth reading; both are measured from the frames.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from instascene_core.config.external import QueueConfig, SixViewsConfig
from instascene_core.config.meshing import MeshingConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.config.ownership import SurfaceAdoptionConfig
from instascene_core.config.ranges import Cosine, Count, Positive, Range, Seed, Share

# --- observing ---


@dataclass(frozen=True)
class WallConfig:
    """When the observed surface is that of a thin-walled vessel, and how thick its wall is."""

    max_thickness: Share = 0.06  # longest walk into the body, as a share of the observed diagonal ...
    min_walk: float = 2.5  # ... and at least, voxels
    step: Positive = 0.5  # voxels, of that walk
    max_points: Count = 4000  # observed points from which a walk starts
    min_share: Share = 0.04  # of the points have empty space or surface close behind them ...
    min_confirmed: float = 0.015  # ... and so many the other side of the wall, observed ...
    min_opposite: Cosine = 0.5  # ... facing the other way: between both normals, one turned round


@dataclass(frozen=True)
class ObservingConfig:
    """From frames to confirmed points, a fused volume and the object's box."""

    # Views
    max_views: Count = 48  # views fused, the widest spread of those that see the object best
    unseen_value: Share = 0.02  # of a frame that does not show the object, next to 1 of the best one
    mask_erosion: int = 1  # pixels at a mask's rim that belong to nobody
    thin_weight: float = 0.5  # trust in parts of a mask too thin to survive the erosion
    flying_step: float = 0.03  # of the depth: a pixel with such steps to both sides hangs in the air
    min_facing: Cosine = 0.05  # cosine between normal and ray, the least that weighs a reading
    # Points
    max_points: Count = 30000  # surface points checked against all views
    min_points: int = 40  # with fewer confirmed surface points there is too little to complete
    agreeing_footprints: float = 3.0  # two readings show one surface when they differ by less than this ...
    agreeing_depth: Share = 0.012  # ... or than this share of the depth
    unowned_vote: float = 0.5  # of a view that sees an unlabelled surface at a point, against the instance
    min_agreeing_views: int = 2  # views that confirm a point, unless only one sees its place
    min_noise: float = 0.1  # footprints: depth is not taken to be better than this
    min_readings: int = 50  # readings compared, from which the noise is measured
    min_side_cosine: Cosine = 0.2  # between a point's normal and the way to a camera that sees its side
    rough_noise: float = 0.3  # footprints of noise from which normals are taken from a neighbourhood ...
    normal_footprints: float = 3.0  # ... of this radius, footprints ...
    normal_noise: float = 4.0  # ... or this, standard deviations of the noise ...
    normal_points: Count = 40  # ... of at most so many points
    piece_cell: float = 2.0  # footprints: cells that touch hold one piece of the surface
    min_piece: float = 0.03  # of the points that a separate piece must hold
    piece_gap: float = 0.5  # of the main piece's extent: a piece as large may be that far away ...
    min_piece_gap: Share = 0.3  # ... a smaller one proportionally less, but this share of it
    # Neighbours
    neighbour_views: Count = 16  # frames in which neighbours are looked for
    neighbour_points: Count = 1500  # pixels of one frame taken
    # Voxels
    max_voxels: Count = 600_000
    min_voxel_pixels: Positive = 0.5  # a voxel is not finer than this many pixels' footprint
    band_voxels: float = 1.5  # a view sees into a surface as deep as the largest of: so many voxels,
    band_noise: float = 2.5  # standard deviations of the noise,
    band_footprints: float = 0.5  # footprints
    truncation_bands: float = 2.0  # surface distances are collected that many bands before it ...
    truncation_voxels: float = 3.0  # ... or voxels
    many_views: int = 6  # views of the object from which empty space needs two that look through it
    free_ratio: int = 2  # views that look through a voxel, per view that sees surface there: it is empty
    full_views: Count = 2  # views that make a voxel's surface fully trusted
    full_weight: float = 0.3  # of the weight of such a view that does, too
    believed_trust: float = 0.5  # trust from which a voxel's surface is believed
    # Box
    box_scale: Annotated[float, Range(1)] = (
        1.15  # object box / observed box; a prior that touches its faces grows it
    )
    min_box_footprints: float = 4.0  # shortest side of the observed box
    min_support_cosine: Cosine = 0.3  # between up and the support's normal, in looking for its lowest point
    # Notes
    below_support: float = 3.0  # footprints under the support plane: a point there contradicts it ...
    max_below_support: float = 0.5  # ... and of so many of the points the plane is not used
    few_views: int = 3  # with fewer, the notes say that most is a guess
    cut_rim: int = 3  # pixels at an image's border: an object that reaches them goes on outside ...
    cut_length: float = 0.2  # ... along this many, as a share of the square root of its pixels
    many_cut: Share = 0.5  # share of cut views that is noted
    min_common_up: float = 0.1  # length of the mean of the cameras' up: with less it is not believed
    ownership: SurfaceAdoptionConfig = field(default_factory=SurfaceAdoptionConfig)
    wall: WallConfig = field(default_factory=WallConfig)


@dataclass(frozen=True)
class NextViewConfig:
    """Where to look next, and when a view counts as unoccluded (InstaScene, supplementary)."""

    unoccluded: Share = 0.85  # share of the object's pixels
    same_depth: float = 0.05  # of the object's longest side
    image: Count = 64  # pixels, side of the square images in which occlusion is judged
    min_cosine: Cosine = 0.2  # between normal and ray, below which a surface is not taken for seen
    azimuths: Count = 16  # viewpoints on a circle
    elevations: tuple[float, ...] = (30.0, 60.0)  # degrees above the object
    min_distance: Positive = 1.5  # of the object's radius
    samples: Count = 1500  # points on the generated surface
    observed: float = 0.5  # a triangle with less is generated
    max_views: Count = 12  # whose pixels stand for the rest of the scene


# --- explanations ---


@dataclass(frozen=True)
class SurfaceConfig:
    """How closely the observed surface must follow a body that explains it."""

    tolerance_noise: float = 1.5  # standard deviations of the noise ...
    tolerance_footprints: float = 1.0  # ... or footprints that the averaged surface may lie beside it
    point_footprints: float = 0.3  # error of a point besides the noise
    max_points: Count = 6000  # observed points of a thing, thinned out
    neighbours: Count = 16  # points over which distances are averaged


@dataclass(frozen=True)
class FittingConfig:
    """Boxes, cylinders and balls through observed points."""

    max_points: Count = 3000  # observed points that a body is fitted to
    rim: Share = 0.995  # quantile at which a face that was not seen is put, where seen ones end
    tries: Count = 2  # starts of a kind that are refined
    start_sigmas: float = 5.0  # a point lies on a start within so many standard deviations
    start_share: Share = 0.5  # of the points must lie on a start
    max_planes: Count = 4  # of which boxes are made
    plane_sigmas: float = 3.0  # a point lies on a plane within so many standard deviations ...
    plane_cosine: Cosine = 0.85  # ... and its normal agrees with the plane's
    plane_share: Share = 0.04  # of the points left unexplained, with fewer no plane is looked for
    plane_draws: Count = 120  # points whose tangent planes are tried
    parallel_planes: Cosine = 0.9  # cosine between planes from which they are one direction
    square_planes: Cosine = 0.2  # cosine between planes below which a box may lie along both
    face_cosine: Cosine = 0.8  # a point faces as a face does
    face_share: Share = 0.02  # of the points that make a face
    face_gap: float = 0.1  # of the body's length: such a face lies no farther from where the points end ...
    face_gap_footprints: float = 2.0  # ... plus this
    min_half_footprints: float = 0.5  # least half side
    axis_plane_cosine: Cosine = 0.9  # points of the best plane, left out in looking for a cylinder's axis
    same_axis: Cosine = 0.98  # cosine between axes from which one is tried only
    side_cosine: Cosine = 0.5  # against the axis, below which a normal is the side's
    side_share: Share = 0.1  # of the points that make a side
    round_sigmas: float = 2.0  # standard deviations at which a point's weight in a circle is halved
    max_radius: float = 4.0  # of the points' diagonal: a larger circle is no circle
    outward_share: Share = 0.8  # of the normals that leave the centre
    refine_points: Count = 400  # in the least squares


@dataclass(frozen=True)
class PlainBodyConfig:
    """When a box, a cylinder or a ball is what was seen."""

    explained: float = 0.95  # of the observed surface that lies on it
    systematic: float = 0.3  # of the tolerance: rms of what is left of the distances after averaging
    filled: float = 0.01  # of its inside that may be known to be empty or another's
    seen: float = 0.2  # of its surface that must have been observed
    samples: Count = 1500  # points on a body's surface
    seen_face: float = 0.3  # of a flat face: it was seen
    seen_cosine: Cosine = 0.5  # between an observed normal and the surface's
    seen_reach: float = 2.0  # footprints or voxels, plus the tolerance, within which a place was seen
    lid_cosine: Cosine = 0.7  # against up, from which a face closes the body at the top: a mouth may be there
    foot_cosine: Cosine = 0.9  # against the support, from which a face stands on it ...
    foot_reach: float = 2.0  # ... from this far, voxels or twice as many footprints, plus the tolerance
    rim_slack: float = 2.0  # voxels and footprints, plus the band, in which a seen face's rim is looked for
    rim_quantile: Share = 0.995  # of the points: where what was seen ends
    rim_empty: float = 0.5  # of the places beyond the rim that must be known to be empty
    margin_offsets: float = 3.0  # times the fit's offset that the fused body may stick out of it ...
    margin_tolerance: Share = 0.1  # ... or this share of the tolerance
    doubt_tolerance: float = 0.5  # of the tolerance, doubt about a body that fits perfectly
    doubt_prior: float = 0.25  # of the distance between body and prior, doubt because of that
    fitting: FittingConfig = field(default_factory=FittingConfig)


@dataclass(frozen=True)
class OutlineConfig:
    """The curve of radius over height that the points of a body of revolution make."""

    cell_footprints: float = 0.5  # points are averaged within so many footprints ...
    cell_noise: float = 0.7  # ... or standard deviations of the noise
    min_normal: float = 0.7  # part of a normal that must lie in the half plane
    straightened: float = 2.5  # cells around a place whose line it is moved onto
    same_side: Cosine = 0.3  # cosine between normals that face the same way
    neighbourhood: float = 5.0  # cells within which the densest place is looked for
    density_same_side: float = 0.15  # of the densest that faces the same way, and ...
    density: Positive = 0.06  # ... of the densest at all, that a place must have
    end: float = 1.5  # cells beyond the last place, where the curve has ended
    interpolation: float = 0.2  # cells, softens the weights 1/distance² of the nearest places
    opposed: Cosine = -0.8  # cosine between the normals of a wall's two sides
    straight: float = 0.9  # of the way between them that must lie along the normal
    ring_trust: float = 0.3  # from which a voxel of a ring was seen
    min_ring_voxels: int = 3  # known to be empty, or seen
    ring_free: Share = 0.5  # voxels seen on an empty ring, as a share of the empty ones, at most


@dataclass(frozen=True)
class RevolutionConfig:
    """When what was seen is a body of revolution."""

    agrees: float = 0.85  # of the observed surface, and of its side alone, that agrees with the axis
    agrees_vessel: float = 0.75  # of a vessel's, which may have handles; both sides of its wall agree
    better: float = 0.01  # by which a later axis must agree better than an earlier one
    side_cosine: Cosine = 0.7  # against the axis, below which a normal is the side's: ends agree with any
    steady_noise: float = 0.6  # of the noise: rms of what is left of the agreeing surface's distances ...
    steady_size: float = 0.0025  # ... or of the observed diagonal: a pebble is nearly round, too
    around: float = 0.33  # of the circle on which rings of it were seen, on average
    around_sectors: Count = 24  # of that circle
    around_level: float = 4.0  # voxels, height of a ring
    contradicted: float = 0.04  # of the turned surface that may lie in known empty space
    contradicted_points: Count = 1500  # of the surface that are turned for that
    both_sides: float = 0.1  # of an outline with another side behind it, from which a body is a vessel
    turns: Count = 12  # copies of the observed points about the axis
    max_points: Count = 30000  # of all copies together
    apart: float = 0.06  # of the observed diagonal: so far around what does not agree, nothing is turned
    lying_cosine: Cosine = 0.7  # between axis and up, below which the body lies: its underside is known
    surface_reach: float = 2.0  # voxels on both sides of the outline that take its distance
    wall_voxels: int = 2  # across a vessel's wall
    max_thin_voxels: Count = 1_200_000  # of a vessel whose walls need finer ones
    doubt_tolerance: float = 0.5  # of the tolerance, doubt about what was turned
    # Finding the axis
    axis_points: Count = 4000
    axis_error: float = 0.05  # of the diagonal: distance from the axis that halves a normal's weight
    upright_error: float = 0.03  # the same for upright axes
    upright_cosine: Cosine = 0.98  # against up, from which an axis counts as upright
    refine_points: Count = 1500  # that the axis is refined on
    refine_sigmas: tuple[float, ...] = (8.0, 4.0, 3.0)  # a point farther off its ring is left out, in turn
    refine_min_points: int = 20  # fewer, and the axis stays as it was found
    refine_rings: Count = 40  # of equal height that the points are sorted into
    end_cosine: Cosine = 0.7  # against the axis, from which a normal is an end's
    within_quantile: Share = 0.01  # of the surface that must lie on either side of the axis
    outline: OutlineConfig = field(default_factory=OutlineConfig)


@dataclass(frozen=True)
class ExplanationsConfig:
    """Plain bodies first, then bodies of revolution."""

    lost: Share = 0.03  # of the seen surface that an explanation may lose, more than the prior alone loses
    lost_noise: float = 2.0  # standard deviations of the noise ...
    lost_voxels: float = 0.5  # ... or voxels or footprints off the body: there the surface is lost

    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    plain_body: PlainBodyConfig = field(default_factory=PlainBodyConfig)
    revolution: RevolutionConfig = field(default_factory=RevolutionConfig)


# --- priors ---


@dataclass(frozen=True)
class VesselConfig:
    """What is not filled inside a thin-walled vessel; multiples of its wall's thickness where not said."""

    rim_depth: float = 1.5  # inside the hull, where a neighbour's surface still bounds the vessel
    hull_slack: float = 2.0  # voxels beyond a wall's thickness outside the hull, where a lid is no wall
    surface_reach: float = 3.0  # behind the observed surface
    cavity_width: float = 1.5  # a narrower cavity is none: the core of a stem
    opening: int = 2  # voxels between a cavity and the empty space that leads to it
    surrounded: float = 0.2  # of the observed points in a neighbour's hull: that one surrounds the vessel
    hull_points: Count = 2000  # observed points looked at for that
    min_neighbour: int = 20  # points of a neighbour that counts
    support_footprints: float = 2.0  # median height below which a neighbour is the support itself
    floor_cosine: Cosine = 0.7  # between the way to a surface and its normal: right under it
    floor_up: Cosine = 0.5  # cosine against up: a surface that faces up is a floor


@dataclass(frozen=True)
class CarvingConfig:
    """Space carving.  The learned prior was trained with these values: with others it errs more."""

    error_growth: float = 0.35  # expected error of the guessed surface per metre from the observed one
    surface_trust: float = 0.3  # from which a voxel is part of the observed surface
    hull_resolution: float = 0.06  # of a hull's normals: facets that differ less are merged
    start_below: int = 2  # voxels under an observed point, where letting it down starts
    facing_up: Cosine = 0.7  # cosine against up: a point of the top
    top_only: float = 0.85  # of the points: nothing but the top was seen, all of it is let down
    fall_quantile: Share = 0.02  # of the falls: the lowest points' fall ...
    fall_range: Share = 0.06  # ... and, as a share of the height, how much more still stands on something
    vessel: VesselConfig = field(default_factory=VesselConfig)


@dataclass(frozen=True)
class LearnedConfig:
    """The network's grid and what is done with its answers."""

    side: Count = 64  # cube root of the number of voxels
    floor_below: float = 1.0  # voxels under the support ...
    floor_above: float = 3.0  # ... to over it: there a vessel keeps the floor of its carved body
    mixture_likelihood: float = 2.0  # concentration of the mixtures (Dirichlet) per likelihood ...
    mixture_base: float = 0.1  # ... and of every hypothesis
    min_doubt: float = 0.1  # of the noise


# --- the whole ---


@dataclass(frozen=True)
class ConvexPartsConfig:
    """Convex parts for collision checks."""

    max_parts: Count = 64  # of an object; 1 = its hull
    max_vertices: Annotated[int, Range(8)] = 60  # of a part: GPU physics takes no more than 64
    max_triangles: Count = 2000  # of the mesh that is divided
    # The parts may lie as far off the surface as the larger of both
    max_error: Positive = 0.003  # metres
    max_error_share: Share = 0.03  # of the diagonal of the object's box
    # Share of that which they are made to: fitting them to neighbours adds some
    aim: Annotated[float, Range(0.1, 1)] = 0.7


@dataclass(frozen=True)
class ConfidenceConfig:
    """How likely a completed object is a good one, and what the notes say."""

    weights: str = ""  # safetensors of the model of the confidence; empty = those of the package
    # Another guess is told in the notes where its volume is less than this share of the object's, or the
    # object's of its ...
    alternative_volume: Share = 0.6
    alternative_hull: Share = (
        0.8  # ... in a convex hull alike, that is, at least this share of the larger one's
    )
    low_fraction: Share = 0.3  # observed, below which the notes warn
    high_fraction: Share = 0.9  # observed, above which the notes suggest no further view


@dataclass(frozen=True)
class CompletionConfig:
    """In-situ completion."""

    # "carving" asks no network: hull and footprint, less what was seen to be empty; "multiview" gives the
    # learned shape the colours of views around it, generated by a diffusion model, "zero123plus" those that a
    # public one generates from one image; "queue" lets another program guess the shape from one image
    prior: Literal["learned", "carving", "multiview", "zero123plus", "queue"] = "learned"
    candidates: bool = True  # plain bodies and bodies of revolution are tried before the prior's guess
    at_once: Count = 2  # objects completed side by side, where there are as many threads
    num_samples: Annotated[int, Range(1, 1000)] = 1  # of different seeds; their spread is the uncertainty
    seed: Seed = 0  # same seed, same object
    max_growths: int = 3  # times the box is grown ...
    growth: Annotated[float, Range(1)] = 1.25  # ... by this, where the body does not fit into it
    observing: ObservingConfig = field(default_factory=ObservingConfig)
    explanations: ExplanationsConfig = field(default_factory=ExplanationsConfig)
    carving: CarvingConfig = field(default_factory=CarvingConfig)
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    multiview: MultiviewConfig = field(default_factory=MultiviewConfig)
    zero123plus: SixViewsConfig = field(default_factory=SixViewsConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    meshing: MeshingConfig = field(default_factory=MeshingConfig)
    next_view: NextViewConfig = field(default_factory=NextViewConfig)
    convex_parts: ConvexPartsConfig = field(default_factory=ConvexPartsConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
