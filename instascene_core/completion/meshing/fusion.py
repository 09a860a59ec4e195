"""Join the observed surface and a prior's guess into one closed, outward-facing mesh."""

import logging

import numpy as np

from instascene_core.completion.meshing import sheets, texture
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.observing.regridding import observe_beyond_face
from instascene_core.config.meshing import MeshingConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.transforms import apply

logger = logging.getLogger(__name__)


def fuse_guess(observation: Observation, predicted: np.ndarray, config: MeshingConfig) -> np.ndarray:
    """Signed distance [nx, ny, nz] float32 (metres, negative inside) of one solid body.

    Where surface was observed its fused distance holds; elsewhere `predicted` ([nx, ny, nz] metres),
    smoothed by about a voxel.
    Known-free space, neighbours' surface and what lies under the support stay outside.  One
    connected body remains, without cavities.
    Raises InputError when nothing remains.
    """
    from scipy.ndimage import gaussian_filter

    grid = observation.grid
    trust = observation.trust
    tsdf = np.nan_to_num(observation.volume.tsdf)
    limit = np.float32(observation.volume.truncation)
    predicted = np.clip(predicted, -limit, limit)
    believed = observation.believed
    # Trust fades over a voxel, so that observed and guessed surface meet without a step.
    smooth_trust = np.minimum(trust, gaussian_filter(trust, config.trust_blur) * config.trust_gain)
    mean = 0.5 * (tsdf + predicted)
    joined = np.where(trust > 0, np.where(believed, tsdf, mean), predicted)
    field = smooth_trust * joined + (1 - smooth_trust) * gaussian_filter(joined, config.guess_blur)
    outside = np.float32(config.outside * grid.voxel)
    forbidden = (observation.free | observation.neighbour) & ~believed
    field = np.where(forbidden, np.maximum(field, outside), field)
    if observation.support is not None:
        height = observation.support.height(grid.centers()).astype(np.float32)
        field = np.maximum(field, -height)
    return keep_one_body(field, outside)


def keep_one_body(field: np.ndarray, outside: float | np.float32) -> np.ndarray:
    """`field` with only its largest body, and that without cavities.

    outside: what the field is in place of other bodies; its negative fills cavities.
    Raises InputError when there is no body.
    """
    from scipy.ndimage import label

    bodies, count = label(field < 0)
    if count == 0:
        raise InputError("Nothing of the instance remains after carving; its depth contradicts its labels.")
    sizes = np.bincount(bodies.ravel())
    sizes[0] = 0
    field = np.where((bodies > 0) & (bodies != np.argmax(sizes)), outside, field)
    empties, _ = label(np.pad(field >= 0, 1, constant_values=True))
    cavity = (empties > 0) & (empties != empties[0, 0, 0])
    return np.where(cavity[1:-1, 1:-1, 1:-1], -outside, field).astype(np.float32)


def touches_unseen_face(observation: Observation, field: np.ndarray) -> bool:
    """Whether the body reaches a face of the box where nothing says that it must end there.

    It must end where the voxel beyond the face is known to be free, a neighbour's, or under the support.
    """
    inside = field < 0
    for axis in range(3):
        for end in (0, -1):
            touching = inside.take(end, axis=axis)
            if touching.any() and (touching & ~_ends_beyond(observation, axis, end)).any():
                return True
    return False


def _ends_beyond(observation: Observation, axis: int, end: int) -> np.ndarray:
    """Bool over a face of the box: whether the body cannot go on in the layer of voxels beyond it.

    axis: 0, 1, 2; end: 0 (low) or -1 (high).
    """
    layer = observe_beyond_face(observation, axis, end)
    ends = layer.free | layer.neighbour
    if observation.support is not None:
        ends |= observation.support.height(layer.grid.centers()) < 0
    return ends.squeeze(axis=axis)


def mesh_body(observation: Observation, field: np.ndarray, config: MeshingConfig) -> TriangleMesh:
    """Closed mesh in the world frame, metres, with as many triangles as its shape and print need.

    Raises InputError if no closed 2-manifold can be made of the field (never an open mesh).
    """
    world = close_surface(observation, field, config)
    for_shape = int(config.shape_share * config.max_triangles)
    world = meshes.simplify(world, config.simplify_voxels * observation.grid.voxel, for_shape)
    world = meshes.largest_solid(world)
    # A flat unseen face must have vertices of its own to be marked as unseen.
    longest = config.max_edge * float(np.linalg.norm(np.ptp(world.vertices, axis=0)))
    world = meshes.refine(world, longest, config.max_triangles)
    world = texture.refine_for_colors(observation, world, config.max_triangles, config.appearance)
    return meshes.separated(world)


def close_surface(observation: Observation, field: np.ndarray, config: MeshingConfig) -> TriangleMesh:
    """Closed surface of a fused field, smoothed; world frame, metres, triangles as the voxels give them.

    Raises InputError if no closed 2-manifold can be made of the field.
    """
    grid = observation.grid
    mesh = _extract_closed_surface(field, config.repair_blurs)
    world = TriangleMesh(apply(grid.world_from_grid, mesh.vertices * grid.voxel), mesh.triangles)
    move = np.where(
        grid.sample(observation.trust, world.vertices) > config.observed_trust,
        min(config.max_observed_move, config.max_observed_move_voxels * grid.voxel),
        config.max_guessed_move_voxels * grid.voxel,
    )
    world = meshes.smooth(world, config.smoothing_iterations, move)
    return sheets.settle(observation, world, config.sheets)


def _extract_closed_surface(field: np.ndarray, blurs: tuple[float, ...]) -> TriangleMesh:
    """Marching cubes; a field whose surface touches itself is blurred by more and more voxels (`blurs`,
    standard deviations) until it does not."""
    from scipy.ndimage import gaussian_filter

    for sigma in (0.0, *blurs):
        candidate = field if sigma == 0 else keep_one_body(gaussian_filter(field, sigma), np.float32(1e-3))
        mesh = meshes.surface_from_field(candidate)
        if meshes.as_manifold(mesh) is not None:
            if sigma > 0:
                logger.info("The completed surface touched itself; it was blurred by %.1f voxels.", sigma)
            return meshes.largest_solid(mesh)
    raise InputError("No closed surface could be made of this instance; observe it from more sides.")
