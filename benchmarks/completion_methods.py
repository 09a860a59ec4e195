"""What completion is compared with: from an observation to a mesh."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from instascene_core.completion import PRIORS, complete_observation, make_prior
from instascene_core.completion.observing.observation import Observation
from instascene_core.config import CompletionConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply

Method = Callable[[Observation], CompletedObject | TriangleMesh]


def methods(config: CompletionConfig) -> dict[str, Method]:
    """All of them by name, ours last: every prior alone and with plain bodies as candidates."""
    ours: dict[str, Method] = {}
    for name in PRIORS:
        for candidates in (False, True):
            label = f"{name} + candidates" if candidates else name
            ours[label] = _with_prior(name, replace(config, candidates=candidates))
    return {
        "observed surface": observed_surface,
        "convex hull": hull,
        "screened Poisson": poisson,
        "mirror + hull": mirror_hull,
        **ours,
    }


def _with_prior(name: str, config: CompletionConfig) -> Method:
    def run(observation: Observation) -> CompletedObject:
        return complete_observation(observation, make_prior(name), config, config.num_samples, config.seed)

    return run


def observed_surface(observation: Observation) -> TriangleMesh:
    """The fused surface where it was seen, open elsewhere."""
    from skimage.measure import marching_cubes

    grid, volume = observation.grid, observation.volume
    known = observation.trust > 0.1
    field = np.where(known, np.nan_to_num(volume.tsdf), np.nan)
    vertices, triangles, _, _ = marching_cubes(field, 0.0, mask=known)
    vertices = vertices.astype(np.float64)
    valid = np.all(np.isfinite(vertices), axis=1)[triangles].all(axis=1)
    mesh = TriangleMesh(vertices, triangles[valid].astype(np.int32))
    mesh = meshes.compact(mesh)
    return TriangleMesh(apply(grid.world_from_grid, mesh.vertices * grid.voxel), mesh.triangles)


def hull(observation: Observation) -> TriangleMesh:
    """Convex hull of the observed points."""
    return meshes.convex_hull(observation.points.positions)


def mirror_hull(observation: Observation) -> TriangleMesh:
    """Hull of the points and of their mirror image behind the upright plane through their outline as
    the cameras see it."""
    points, normals = observation.points.positions, observation.points.normals
    cameras = np.mean([view.world_from_camera[:3, 3] for view in observation.views], axis=0)
    toward = cameras - points.mean(axis=0)
    toward -= (toward @ observation.up) * observation.up
    toward /= np.linalg.norm(toward)
    along = points @ toward
    outline = np.abs(normals @ toward) < 0.2
    plane = np.median(along[outline]) if outline.sum() > 20 else np.quantile(along, 0.02)
    mirrored = points - 2 * (along - plane)[:, None] * toward
    return meshes.convex_hull(np.concatenate([points, mirrored]))


def poisson(observation: Observation) -> TriangleMesh:
    """Screened Poisson (Kazhdan & Hoppe 2013); closed only by luck."""
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(observation.points.positions))
    cloud.normals = open3d.utility.Vector3dVector(observation.points.normals)
    mesh, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=7, n_threads=1)
    return TriangleMesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles, dtype=np.int32))
