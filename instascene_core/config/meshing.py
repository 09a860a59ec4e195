"""Settings of the completed mesh (`completion/meshing/`): see `config/completion.py` for the units."""

from dataclasses import dataclass, field

from instascene_core.config.ranges import Cosine, Count, Positive, Share


@dataclass(frozen=True)
class AppearanceConfig:
    """Which vertices were observed, how sure they are, their colours."""

    reach_footprints: float = 1.5  # a vertex was observed within so many footprints, ...
    reach_voxels: float = 1.0  # ... voxels ...
    reach_noise: float = 2.0  # ... or standard deviations of the noise of a confirmed point
    points: Count = 6  # nearest ones looked at
    full_facing: Positive = 2.0  # slope: a point facing the same way counts in full from 1 / this cosine
    full_views: Count = 3  # that agree on a point count in full
    full_trust: Positive = 2.0  # slope: a voxel's trust counts in full from 1 / this
    min_error: float = 0.25  # voxels
    near: float = 0.3  # nearness to a confirmed point from which its colour is taken
    color_footprints: float = 0.3  # softens the weights of the nearest points' colours
    # Colours that reproduce the images
    ray_voxels: float = 2.0  # a pixel shows the mesh within so many voxels, ...
    ray_noise: float = 3.0  # ... standard deviations of the noise ...
    ray_footprints: float = 1.5  # ... or footprints of its depth
    min_cosine: Cosine = 0.02  # between normal and ray, the least that weighs a pixel
    border_weight: float = 0.02  # of a pixel at a mask's border
    min_weight: float = 0.05  # of all pixels that show a vertex, from which it has their colour
    fit_rounds: int = 3  # of the robust fit
    fit_smoothness: float = 0.03  # pull toward the neighbours' colours
    fit_min_residual: float = 6.0  # (0 … 255) at which a pixel's weight is halved ...
    fit_residuals: float = 2.0  # ... or this times the median residual
    # Edges halved where the colour varies
    color_tolerance: float = 5.0  # deviation from linear colour along an edge (0 … 255) that is left
    color_edge_footprints: float = 1.6  # no edge is halved that is shorter
    color_passes: int = 8  # halving edges, at most
    color_known: float = 0.3  # of the voxels around a place that must have a colour


@dataclass(frozen=True)
class SheetsConfig:
    """The seen vertices, moved onto what the views measured, each side of a wall by itself."""

    thin_voxels: float = 6.0  # through the body: with more everywhere the voxels can tell its sides apart ...
    thin_share: Share = 0.2  # ... all but this share of the vertices
    max_noise: float = 0.4  # voxels: noisier views do not tell the sides of a wall apart
    rounds: int = 2  # of moving the vertices
    blurs: int = 3  # times the readings are averaged with those of the neighbouring vertices
    min_readings: Count = 2  # views that must have measured a vertex, unless fewer saw the thing
    min_cosine: Cosine = 0.3  # between ray and normal, below which a view has no say about a side
    band_noise: float = (
        2.5  # standard deviations of the noise: a reading farther off is of something else ...
    )
    band_voxels: float = 1.5  # ... or voxels
    max_share: Share = 0.4  # of the way to the body's other side that a vertex may be moved inward, at most
    ray_start: Share = 1e-5  # of the body's size, where a ray to the other side starts under the surface


@dataclass(frozen=True)
class MeshingConfig:
    """From signed distances to a closed mesh."""

    trust_blur: float = 1.0  # voxels, standard deviation over which trust fades at its border ...
    trust_gain: float = 1.5  # ... and by what it is multiplied then
    guess_blur: float = 0.8  # voxels, standard deviation by which the guess is smoothed
    outside: float = 0.5  # voxels: distance of what is known to be empty
    smoothing_iterations: int = 4  # of the finished surface
    max_observed_move: float = 0.001  # metres, and never more than ...
    max_observed_move_voxels: float = 0.5  # ... this many voxels
    max_guessed_move_voxels: float = 1.0  # that smoothing may move a generated vertex
    observed_trust: float = 0.3  # from which a vertex is moved no farther than an observed one may be
    repair_blurs: tuple[float, ...] = (0.5, 0.8, 1.2)  # voxels, until a surface does not touch itself
    simplify_voxels: float = 0.12  # tolerance of the adaptive triangle count
    max_triangles: Count = 20_000  # of an object
    shape_share: Share = 0.7  # of them at most for the shape; the rest go where the colour varies
    max_edge: Share = 0.06  # longest edge of the mesh, as a share of its box's diagonal
    sheets: SheetsConfig = field(default_factory=SheetsConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
