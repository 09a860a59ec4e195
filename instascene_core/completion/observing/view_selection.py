"""Which viewpoints around an instance show it, what they show of its unseen side, and where to look next.

As in the paper (InstaScene, supplementary): viewpoints on a circle 30° above the object, its depth alone
against the depth of the whole scene.  A view is unoccluded if at 85 % of the object's pixels the two
differ by less than 0.05 of the object's longest side (`NextViewConfig`).  The scene around it is what the
frames measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.completion.observing.observation import Observation
from instascene_core.config.completion import NextViewConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import BORDER, NOTHING, TARGET, DepthView
from instascene_core.transforms import apply, inverse, lengths, look_at


@dataclass(frozen=True)
class ViewScores:
    """K viewpoints and what they show of one object."""

    world_from_camera: np.ndarray  # [K, 4, 4]
    visible: np.ndarray  # [K] share in [0, 1] of the object's pixels that nothing hides
    reveals: np.ndarray  # [K] share in [0, 1] of the generated surface that would be seen
    required: float  # visible share from which a view is unoccluded

    @property
    def occluded(self) -> np.ndarray:
        """[K] share in [0, 1] of the object's pixels behind something else."""
        return 1 - self.visible

    @property
    def unoccluded(self) -> np.ndarray:
        """[K] bool, by the paper's rule."""
        return self.visible >= self.required


@dataclass(frozen=True)
class NextView:
    """Where a camera would see most of what is only guessed."""

    world_from_camera: np.ndarray  # [4, 4], optical axes, looking at the object
    reveals: float  # share of the generated surface in [0, 1]


def circle_poses(
    center: np.ndarray, distance: float, up: np.ndarray, count: int = 16, elevation: float = 30.0
) -> np.ndarray:
    """[count, 4, 4] cameras `elevation` degrees above `center` [3], looking at it; azimuths uniform.

    up: [3] unit; distance in metres.
    """
    along, across = meshes.smallest_rectangle(np.eye(3), up)[:, :2].T
    rise = np.deg2rad(elevation)
    poses = []
    for azimuth in 2 * np.pi * np.arange(count) / count:
        flat = np.cos(azimuth) * along + np.sin(azimuth) * across
        eye = center + distance * (np.cos(rise) * flat + np.sin(rise) * up)
        poses.append(look_at(eye, center, up))
    return np.stack(poses)


def score_views(
    mesh: TriangleMesh,
    observed: np.ndarray,
    occluders: np.ndarray,
    spacing: float,
    poses: np.ndarray,
    config: NextViewConfig,
) -> ViewScores:
    """How well cameras at `poses` [K, 4, 4] would see a completed mesh.

    observed: [V] in [0, 1]; occluders: [N, 3] world points on everything else, `spacing` metres apart.
    """
    from instascene_core.geometry.open3d_loader import open3d

    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
        open3d.core.Tensor(np.ascontiguousarray(mesh.triangles, dtype=np.uint32)),
    )
    points, normals = _generated_points(mesh, observed, config.observed, config.samples)
    near = config.same_depth * float(np.ptp(mesh.vertices, axis=0).max())
    visible, reveals = np.zeros(len(poses)), np.zeros(len(poses))
    for k, pose in enumerate(poses):
        camera = _framing_camera(mesh, pose, config.image)
        rays = camera.rays.reshape(-1, 3) @ pose[:3, :3].T
        origin = np.broadcast_to(pose[:3, 3], rays.shape)
        cast = scene.cast_rays(open3d.core.Tensor(np.concatenate([origin, rays], axis=1).astype(np.float32)))
        alone = cast["t_hit"].numpy().reshape(config.image, config.image)  # rays have z = 1: the depth
        whole = np.minimum(alone, _depth_of_points(camera, pose, occluders, spacing))
        shown = np.isfinite(alone)
        clear = shown & (np.where(shown, alone, 0) - np.where(shown, whole, 0) < near)
        visible[k] = clear.sum() / max(1, shown.sum())
        if len(points):
            in_view = _shown(camera, pose, points, alone, clear, near)
            reveals[k] = (in_view & _facing(pose, points, normals, config.min_cosine)).mean()
    return ViewScores(np.asarray(poses), visible, reveals, config.unoccluded)


def next_best_view(
    observation: Observation, mesh: TriangleMesh, observed: np.ndarray, config: NextViewConfig
) -> NextView | None:
    """The viewpoint, as far away as the cameras were, that reveals most of the generated surface; None
    where all was observed or no viewpoint shows more of it.

    observed: [V] in [0, 1].
    """
    center = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    eyes = np.stack([view.world_from_camera[:3, 3] for view in observation.views])
    radius = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0))) / 2
    distance = float(np.median(np.linalg.norm(eyes - center, axis=1)))
    distance = max(distance, config.min_distance * radius)
    poses = np.concatenate(
        [circle_poses(center, distance, observation.up, config.azimuths, e) for e in config.elevations]
    )
    cell = max(2 * radius / config.image, 2 * observation.pixel)
    # A sight line's image holds the object's sphere, seen from where it appears largest, in its corners, too.
    width = 1.5 * radius * distance / max(distance - radius, 1e-9)
    sightlines = Sightlines(center, observation.up, distance, width, config.elevations)
    around = scene_points(observation.views, sightlines, cell, config.max_views)
    scores = score_views(mesh, observed, around, 1.5 * cell, poses, config)
    best = int(np.argmax(scores.reveals))
    if scores.reveals[best] <= 0:
        return None
    return NextView(poses[best], float(scores.reveals[best]))


@dataclass(frozen=True)
class Sightlines:
    """Where something may hide an object from viewpoints on circles around it."""

    center: np.ndarray  # [3] metres, of the object
    up: np.ndarray  # [3] unit
    distance: float  # metres from the viewpoints to the centre
    width: float  # metres to the side of a sight line that an image reaches at most
    elevations: tuple[float, ...]  # degrees, of the circles

    def near(self, points: np.ndarray) -> np.ndarray:
        """[N] bool: which points [N, 3] lie so that an image may show them before or at the object."""
        offset = points - self.center
        height = offset @ self.up
        square = np.einsum("nc,nc->n", offset, offset)
        across = np.sqrt(np.maximum(square - height**2, 0))
        near = np.zeros(len(points), dtype=bool)
        for elevation in np.deg2rad(self.elevations):
            # Turned about `up`, the sight lines of a circle are one line.
            near |= np.abs(height * np.cos(elevation) - across * np.sin(elevation)) < self.width
        return near & (square < (self.distance + self.width) ** 2)


def scene_points(
    views: Sequence[DepthView], sightlines: Sightlines, cell: float, max_views: int
) -> np.ndarray:
    """[N, 3] world points on everything but the target near the sight lines, at most one in a cube of `cell`
    metres; from at most `max_views` of the views."""
    found = [np.zeros((0, 3))]
    for view in views[:: max(1, -(-len(views) // max_views))]:
        every = max(1, int(cell * view.camera.fx / max(float(np.median(view.depth[::4, ::4])), 1e-6)))
        cut = np.s_[::every, ::every]
        what, depth = view.what[cut], view.depth[cut]
        other = (what != TARGET) & (what != BORDER) & (what != NOTHING)
        local = view.camera.rays[cut][other] * depth[other][:, None]
        points = apply(view.world_from_camera, local.astype(np.float64))
        found.append(points[sightlines.near(points)])
    points = np.concatenate(found)
    cells = np.floor((points - sightlines.center) / cell).astype(np.int64)
    span = int(2 * (sightlines.distance + sightlines.width) / cell) + 4
    keys = ((cells[:, 0] + span) * 2 * span + cells[:, 1] + span) * 2 * span + cells[:, 2] + span
    return points[np.unique(keys, return_index=True)[1]]


def _generated_points(
    mesh: TriangleMesh, observed: np.ndarray, limit: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """About `count` points [N, 3] evenly on the generated triangles (observed [V] below `limit` in the
    mean), and their normals [N, 3]."""
    corners = mesh.vertices[mesh.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = lengths(cross)
    generated = (observed[mesh.triangles].mean(axis=1) < limit) & (doubled > 0)
    if not generated.any():
        return np.zeros((0, 3)), np.zeros((0, 3))
    corners, cross, doubled = corners[generated], cross[generated], doubled[generated]
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(doubled), count, p=doubled / doubled.sum())
    weights = rng.dirichlet(np.ones(3), count)
    points = np.einsum("nk,nkc->nc", weights, corners[chosen])
    return points, cross[chosen] / doubled[chosen, None]


def _framing_camera(mesh: TriangleMesh, pose: np.ndarray, side: int) -> PinholeCamera:
    """A camera at `pose` whose image of `side` × `side` pixels the mesh fills."""
    local = apply(inverse(pose), mesh.vertices)
    spread = float(np.abs(local[:, :2] / np.maximum(local[:, 2:], 1e-6)).max())
    focal = 0.48 * side / max(spread, 1e-6)
    return PinholeCamera(side, side, focal, focal, side / 2, side / 2)


def _depth_of_points(
    camera: PinholeCamera, pose: np.ndarray, points: np.ndarray, spacing: float
) -> np.ndarray:
    """[H, W] nearest depth of a surface given by points [N, 3]; infinite where there is none."""
    import cv2

    depth = np.full(camera.width * camera.height, np.inf, dtype=np.float32)
    pixels, z = camera.project(apply(inverse(pose), points))
    with np.errstate(invalid="ignore"):
        inside = (z > 1e-6) & camera.shows(pixels)
    column, row = pixels[inside].astype(int).T
    np.minimum.at(depth, row * camera.width + column, z[inside].astype(np.float32))
    image = depth.reshape(camera.height, camera.width)
    if not inside.any():
        return image
    # Each point covers as many pixels as lie between it and the next one.
    width = 2 * int(np.ceil(0.5 * spacing * camera.fx / float(np.median(z[inside])))) + 1
    return cv2.erode(image, np.ones((width, width), np.uint8), borderType=cv2.BORDER_REPLICATE)


def _facing(pose: np.ndarray, points: np.ndarray, normals: np.ndarray, least: float) -> np.ndarray:
    """[N] bool: which surface points [N, 3] with normals [N, 3] the camera does not see at a grazing
    angle, that is with a cosine of at least `least`."""
    toward = pose[:3, 3] - points
    cosine = np.einsum("nc,nc->n", toward, normals) / lengths(toward)
    return cosine > least


def _shown(
    camera: PinholeCamera,
    pose: np.ndarray,
    points: np.ndarray,
    alone: np.ndarray,
    clear: np.ndarray,
    near: float,
) -> np.ndarray:
    """[N] bool: which surface points [N, 3] lie within `near` metres of what this view shows.

    alone: [H, W] depth of the object; clear: [H, W] bool, where nothing is in front of it.
    """
    pixels, z = camera.project(apply(inverse(pose), points))
    column, row = np.clip(pixels, 0, camera.width - 1).astype(int).T
    in_front = np.abs(z - alone[row, column]) < near
    return in_front & clear[row, column]
