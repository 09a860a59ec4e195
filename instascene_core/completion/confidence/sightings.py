"""Whether the finished mesh is what the views show: its silhouettes against masks and depth."""

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import OTHER, TARGET, UNOWNED, DepthView

MAX_VIEWS = 8  # looked at, spread over those there are
MAX_PIXELS = 4000  # of one view
NOISES, FOOTPRINTS, VOXELS = 3.0, 1.5, 1.0  # by which a depth may miss the mesh and still show it


def compare_with_views(observation: Observation, mesh: TriangleMesh) -> tuple[float, float]:
    """(silhouette, strangers) of a closed mesh, world frame, metres.

    silhouette: over all views, pixels that show the object where the mesh is, over these and those that show
    it elsewhere, something else in its place, or what lies behind it.  strangers: of the surface that is
    seen where the mesh is, the share that the masks give to others or to nothing.  Pixels at the borders of
    masks and where nothing was measured do not count.
    """
    limit = max(NOISES * observation.noise, FOOTPRINTS * observation.pixel, VOXELS * observation.grid.voxel)
    views = observation.views[:: max(1, len(observation.views) // MAX_VIEWS)]
    agreeing, taken, through, missing = np.sum([_counts(view, mesh, limit) for view in views], axis=0)
    silhouette = agreeing / max(agreeing + taken + through + missing, 1)
    return float(silhouette), float(taken / max(agreeing + taken, 1))


def _counts(view: DepthView, mesh: TriangleMesh, limit: float) -> tuple[int, int, int, int]:
    """Pixels (agreeing, taken by others, seen through, missing) of one view; limit: metres of depth."""
    step = max(1, int(np.ceil((view.depth.size / MAX_PIXELS) ** 0.5)))
    depth, what = view.depth[::step, ::step], view.what[::step, ::step]
    pose = view.world_from_camera
    rays = view.camera.rays[::step, ::step].reshape(-1, 3) @ pose[:3, :3].T
    there = meshes.first_hit(mesh, np.broadcast_to(pose[:3, 3], rays.shape), rays).reshape(depth.shape)
    measured, hit, target = depth > 0, np.isfinite(there), what == TARGET
    same = hit & measured & (np.abs(np.where(hit, there, 0) - depth) <= limit)
    taken = same & ((what == OTHER) | (what == UNOWNED))
    through = (
        hit & measured & (depth - np.where(hit, there, 0) > limit) & ((what == OTHER) | (what == UNOWNED))
    )
    missing = target & measured & ~same
    return int((same & target).sum()), int(taken.sum()), int(through.sum()), int(missing.sum())
