"""Planes behind removed objects: where they are holes, and new Gaussians that cover these.

Every plane is seen head on, as one image; what only the object hid is painted there, new disks cover it, and
the disks at the object's foot, which took on some of its colour, are coloured anew with them so that together
they look as painted.  The image is parallel to the plane, so the painting is the same from all sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from instascene_core.config import RemovalConfig
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import Plane
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.scene.background.disks import PlaneDisks, disks_like, select
from instascene_core.scene.background.head_on import HeadOn, main_direction, plane_axes
from instascene_core.scene.background.painters import Painter
from instascene_core.segmentation import Support
from instascene_core.segmentation.support import Extent


@dataclass(frozen=True)
class StructuralPlane:
    """A plane that bounds the scene, and the Gaussians on it."""

    plane: Plane
    label: InstanceId  # of its Gaussians
    own: np.ndarray  # [K] indices
    extent: Extent | None  # the support's; a wall is where its Gaussians are


def structural_planes(
    gaussians: GaussianModel, instances: InstanceMap, support: Support | None, config: RemovalConfig
) -> list[StructuralPlane]:
    """The support plane and the walls, as far as the instances have a label for them."""
    labels, means = instances.gaussian_labels, gaussians.means.detach().numpy()
    label_of = {instance.kind: instance.id for instance in reversed(instances.instances)}
    found = []
    if instances.support is not None and "support" in label_of:
        own = np.flatnonzero(labels == label_of["support"])
        extent = support.extent if support is not None else None
        found.append(StructuralPlane(instances.support, label_of["support"], own, extent))
    if support is not None and "background" in label_of:
        reach = config.wall_tolerances * support.tolerance
        normals = gaussians.normals.detach().numpy()
        for wall in support.walls:
            near = np.abs(wall.height(means)) < reach
            facing = np.abs(normals @ wall.normal) > config.wall_cosine
            own = np.flatnonzero((labels == label_of["background"]) & near & facing)
            found.append(StructuralPlane(wall, label_of["background"], own, None))
    visible = gaussians.opacities.detach().numpy() >= config.min_visible
    found = [StructuralPlane(s.plane, s.label, s.own[visible[s.own]], s.extent) for s in found]
    return [s for s in found if len(s.own) >= config.min_known]


@dataclass(frozen=True)
class Fill:
    """What covers a plane's holes."""

    disks: GaussianModel  # new ones
    label: InstanceId  # of the new ones
    foot: np.ndarray  # [K] indices of the plane's disks at the object's foot
    foot_sh: torch.Tensor  # [K, C, 3] their new colours


@dataclass(frozen=True)
class Hidden:
    """What an object hides in the views."""

    instance_id: InstanceId
    views: Sequence[Frame]
    images: Mapping[str, np.ndarray]  # label images by name
    things: Sequence[InstanceId]  # the other objects
    tolerance: float  # metres, of the planes

    def on(self, plane: Plane, config: RemovalConfig) -> np.ndarray:
        """[K, 3] points of a plane on rays through the object's pixels: its foot and its shadows."""
        points = [np.zeros((0, 3))]
        for view in self.views:
            rows, columns = np.nonzero(self.images[view.name] == self.instance_id)
            step = max(1, len(rows) // config.pixels_per_view)
            rays = view.camera.rays[rows[::step], columns[::step]] @ view.world_from_camera[:3, :3].T
            origin = view.world_from_camera[:3, 3]
            falling = rays @ plane.normal < -1e-6
            along = -plane.height(origin) / (rays[falling] @ plane.normal)
            points.append(origin + along[along > 0, None] * rays[falling][along > 0])
        return np.concatenate(points)

    def at(self, places: np.ndarray, config: RemovalConfig) -> np.ndarray:
        """[K] bool: places [K, 3] that the object hides in more views than other things do, and through which
        no view looks."""
        hides = np.zeros(len(places), dtype=np.int64)
        for view in self.views:
            at, shown = view.locate(places), self.images[view.name]
            mine = self._grown(view, config)[at.row, at.column]
            hides += at.inside & mine
            hides -= at.inside & ~mine & np.isin(shown[at.row, at.column], self.things)
        return (hides > 0) & ~self.seen_through(places, config)

    def seen_through(self, places: np.ndarray, config: RemovalConfig) -> np.ndarray:
        """[K] bool: places [K, 3] behind which a view has measured something."""
        through, reach = np.zeros(len(places), dtype=bool), config.seen_through * self.tolerance
        for view in self.views:
            if view.depth is not None:
                at, mine = view.locate(places), self._grown(view, config)
                behind = view.depth[at.row, at.column] > at.z + reach
                through |= at.inside & ~mine[at.row, at.column] & behind
        return through

    def _grown(self, view: Frame, config: RemovalConfig) -> np.ndarray:
        """[H, W] bool: the object's pixels in a view and those at its outline."""
        mine = self.images[view.name] == self.instance_id
        return np.asarray(binary_dilation(mine, iterations=config.outline_pixels), dtype=bool)


def fill_plane(
    structure: StructuralPlane,
    others: Sequence[Plane],
    gaussians: GaussianModel,
    foot: np.ndarray,
    hidden: Hidden,
    painter: Painter,
    config: RemovalConfig,
) -> Fill | None:
    """New disks where the plane has holes, and new colours of its disks at the object's foot; None where the
    object hid nothing of it.

    others: the other planes, behind which nothing is; foot: [N] bool, Gaussians near the removed ones.
    """
    clean, at_foot = structure.own[~foot[structure.own]], structure.own[foot[structure.own]]
    if len(clean) < config.min_known:
        return None
    means, around = gaussians.means.detach().numpy(), select(gaussians, clean)
    axes = plane_axes(structure.plane)
    flat = means[clean] @ axes[:, :2]
    spacing = float(np.median(cKDTree(flat).query(flat, k=4)[0][:, -1]))
    shadows = hidden.on(structure.plane, config)
    shadows = shadows[_within(structure, means[clean], shadows)]
    if not len(shadows):
        return None
    view = _aligned_view(structure.plane, shadows, spacing, around, config)
    places = view.places.reshape(-1, 3)
    gone = _within(structure, means[clean], places)
    for other in others:
        gone &= other.height(places) > 0
    gone[gone] = hidden.at(places[gone], config)
    gone = gone.reshape(view.camera.height, view.camera.width)
    image, cover = view.rendered(around)
    _, whole = view.rendered(select(gaussians, structure.own))
    known = cover >= config.covered
    hole, wanted = gone & (whole < config.covered), gone & ~known
    if not wanted.any() or not known.any():
        return None
    disks = disks_like(around, view, hole, spacing, config)
    scene = PlaneDisks(view, around, select(gaussians, at_foot), disks)
    recolored = scene.recolored(painter.paint(image, known, wanted), known, wanted, config)
    return Fill(recolored.new, structure.label, at_foot, recolored.foot.sh)


def _aligned_view(
    plane: Plane, places: np.ndarray, spacing: float, around: GaussianModel, config: RemovalConfig
) -> HeadOn:
    """The plane's image around `places` [K, 3], its rows along the direction in which the plane's own
    Gaussians change least."""
    size = config.margin_spacings * spacing, config.pixel_spacings * spacing, config.max_side
    axes = plane_axes(plane)
    first = HeadOn.over(plane, axes, places, *size)
    image, cover = first.rendered(around)
    angle = main_direction(image, cover >= config.covered)
    along = np.cos(angle) * axes[:, 0] + np.sin(angle) * axes[:, 1]
    return HeadOn.over(plane, plane_axes(plane, along), places, *size)


def _within(structure: StructuralPlane, known: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[K] bool: points [K, 3] in the hull of the plane's Gaussians at `known` [M, 3] and on its extent."""
    from scipy.spatial import ConvexHull, QhullError

    axes = plane_axes(structure.plane)[:, :2]
    try:
        hull = ConvexHull(known @ axes)
    except QhullError:  # all in one line
        return np.zeros(len(points), dtype=bool)
    inside = (points @ axes @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0).all(axis=1)
    return inside if structure.extent is None else inside & structure.extent.contains(points)
