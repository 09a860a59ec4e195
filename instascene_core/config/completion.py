"""Settings of the completion."""

from dataclasses import dataclass


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
