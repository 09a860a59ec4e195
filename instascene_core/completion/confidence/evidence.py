"""What is known about a completed object once it is made, as numbers free of the unit of length.

Lengths count in the body's mean thickness, V / A, because an error of that many metres on the surface costs
about that share of the volume.  `model` turns the numbers into a probability.
"""

import numpy as np

from instascene_core.completion.confidence.sightings import compare_with_views
from instascene_core.completion.meshing.appearance import mean_over_surface
from instascene_core.completion.observing.observation import Observation
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.instances import Instance

# Every number of `collect_evidence`, and what it is.
EVIDENCE = {
    "observed": "share of the surface that was observed",
    "hidden_top": "share of the surface facing up that was not: whether it is hollow is not known then",
    "doubt": "log10 of the error that the prior expects of what was not observed, as a mean over the "
    "surface, in thicknesses",
    "noise": "log10 of one depth reading's standard deviation, in thicknesses",
    "pixel": "log10 of a pixel's footprint, in thicknesses",
    "misfit": "share of the observed points that lie off the finished surface by more than their error",
    "silhouette": "how far the views show the mesh where it is, and nothing of the object elsewhere (0 … 1)",
    "strangers": "share of the surface seen where the mesh is that the masks give to others",
    "views": "log2 of the number of views that confirm its surface",
    "cut": "share of these views whose image ends before the object does",
    "contact": "share of the surface that touches something else's",
    "height": "log10 of the height over the support (the body's, where none is known), in pixels' footprints",
    "fullness": "volume over that of the convex hull",
    "explained": "1 where it is a plain body or one of revolution, 0 where the prior alone made it",
    "agreement": "how well the views' masks agree on it, and the features of its Gaussians (0 … 1)",
    "mask_score": "overlap with a true object that the segmenter expects of its masks (0 … 1)",
}
UPWARD = 0.5  # cosine between normal and up, from which a piece of surface faces up
NEAR = 2.0  # voxels or footprints within which two surfaces touch
LEAST = 1e-3  # thicknesses or footprints: smaller is as good as none
MAX_POINTS = 5000  # observed points whose misfit is looked at


def collect_evidence(
    observation: Observation,
    mesh: TriangleMesh,
    observed: np.ndarray,
    expected: np.ndarray,
    *,
    explained: bool,
    instance: Instance | None,
) -> dict[str, float]:
    """The numbers of EVIDENCE for a closed mesh (world frame, metres).

    observed: [V] 0 … 1; expected: [V] metres, the prior's expected error where nothing was observed;
    instance: as the decomposition describes it, None = its masks are beyond doubt.
    """
    thickness = max(meshes.volume(mesh), 1e-12) / max(_areas(mesh).sum(), 1e-12)  # metres
    up = meshes.vertex_normals(mesh) @ observation.up  # [V]
    silhouette, strangers = compare_with_views(observation, mesh)
    return {
        "observed": mean_over_surface(mesh, observed),
        "hidden_top": _hidden_top(mesh, observed, up),
        "doubt": _log(mean_over_surface(mesh, (1 - observed) * expected) / thickness),
        "noise": _log(observation.noise / thickness),
        "pixel": _log(observation.pixel / thickness),
        "misfit": _misfit(observation, mesh),
        "silhouette": silhouette,
        "strangers": strangers,
        "views": float(np.log2(max(observation.num_views, 1))),
        "cut": observation.cut_views,
        "contact": _contact(observation, mesh),
        "height": _log(_height(observation, mesh) / observation.pixel),
        "fullness": _fullness(mesh),
        "explained": float(explained),
        "agreement": 1.0 if instance is None else instance.confidence,
        "mask_score": 1.0 if instance is None else instance.mask_score,
    }


def _log(ratio: float) -> float:
    return float(np.log10(max(ratio, LEAST)))


def _areas(mesh: TriangleMesh) -> np.ndarray:
    """[T] square metres."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _hidden_top(mesh: TriangleMesh, observed: np.ndarray, up: np.ndarray) -> float:
    """Share of what faces up that was not observed; 1 where nothing faces up."""
    upward = (up[mesh.triangles].mean(axis=1) > UPWARD) * _areas(mesh)
    seen = observed[mesh.triangles].mean(axis=1)
    return float(1 - (upward * seen).sum() / upward.sum()) if upward.sum() > 0 else 1.0


def _misfit(observation: Observation, mesh: TriangleMesh) -> float:
    positions = observation.points.positions
    positions = positions[:: max(1, len(positions) // MAX_POINTS)]
    error = max(2 * observation.noise, observation.pixel, observation.grid.voxel)
    return float((meshes.distance(mesh, positions) > error).mean())


def _contact(observation: Observation, mesh: TriangleMesh) -> float:
    """Share of the surface within NEAR of what other instances show of theirs."""
    from scipy.spatial import cKDTree

    known = [points for points in observation.neighbour_points if len(points)]
    if not known:
        return 0.0
    reach = NEAR * max(observation.pixel, observation.grid.voxel)
    distance, _ = cKDTree(np.concatenate(known)).query(mesh.vertices, distance_upper_bound=reach)
    return mean_over_surface(mesh, np.isfinite(distance).astype(np.float64))


def _height(observation: Observation, mesh: TriangleMesh) -> float:
    """Metres."""
    if observation.support is not None:
        return float(observation.support.height(mesh.vertices).max())
    return float(np.ptp(mesh.vertices @ observation.up))


def _fullness(mesh: TriangleMesh) -> float:
    hull = meshes.volume(meshes.convex_hull(mesh.vertices))
    return float(np.clip(meshes.volume(mesh) / max(hull, 1e-12), 0, 1))
