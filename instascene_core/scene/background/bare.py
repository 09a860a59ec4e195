"""The support without the things on it, and without holes: a static body for a simulator."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config import Config
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.instances import THINGS, InstanceId
from instascene_core.scene.background.disks import select
from instascene_core.scene.background.filling import Hidden, structural_planes
from instascene_core.scene.background.head_on import HeadOn, plane_axes
from instascene_core.scene.background.painters import PropagationPainter, make_painter
from instascene_core.scene.results import Decomposition

MAX_SIDE = 128  # cells of the slab's top: each has its colour


@dataclass(frozen=True)
class BareSupport:
    """A closed slab whose top is the support plane."""

    mesh: TriangleMesh  # the scene's frame
    colors: np.ndarray  # [V, 3] uint8


def bare_support(decomposition: Decomposition, config: Config, thickness: float = 0.01) -> BareSupport:
    """The support's extent as a slab of `thickness` metres; what things hide of it and what nobody saw of it
    is painted (settings `removal`).

    Raises InputError where no support plane is known or nothing of it was seen between the things.
    """
    settings, instances, gaussians = config.removal, decomposition.instances, decomposition.gaussians
    planes = structural_planes(gaussians, instances, decomposition.support, settings)
    found = [structure for structure in planes if structure.extent is not None]
    if not found:
        raise InputError("No support plane is known in this scene, so there is none to export.")
    structure, extent = found[0], found[0].extent
    assert extent is not None and decomposition.support is not None
    things = np.isin(instances.gaussian_labels, [i.id for i in instances.instances if i.kind in THINGS])
    means, own = gaussians.means.detach().numpy(), structure.own
    if things.any():
        away = settings.foot_spacings * decomposition.surface.spacing
        own = own[cKDTree(means[things]).query(means[own])[0] > away]
    axes = plane_axes(structure.plane)
    cells = extent.origin + extent.cell * (np.argwhere(extent.mask) + 0.5)
    on_plane = cells @ extent.axes + structure.plane.offset * structure.plane.normal
    view = HeadOn.over(structure.plane, axes, on_plane, 0.5 * extent.cell, extent.cell, MAX_SIDE)
    image, cover = view.rendered(select(gaussians, own))
    known = cover >= settings.covered
    places = view.places.reshape(-1, 3)
    hidden = Hidden(
        InstanceId(0), decomposition.views, instances.label_images, (), decomposition.support.tolerance
    )
    inside = extent.contains(places) & ~hidden.seen_through(places, settings)
    inside = _without_corner_contacts(inside.reshape(known.shape) | known)
    if not known.any():
        raise InputError("Nothing of the support plane was seen beside the things on it.")
    painter = make_painter(settings) or PropagationPainter()
    return slab(view, inside, painter.paint(image, known, inside & ~known), thickness)


def slab(view: HeadOn, inside: np.ndarray, image: np.ndarray, thickness: float) -> BareSupport:
    """The pixels `inside` [H, W] of a plane's image [H, W, 3] as a closed body below the plane."""
    height, width = inside.shape
    corner = np.arange((height + 1) * (width + 1)).reshape(height + 1, width + 1)
    nw, ne, se, sw = (c[inside] for c in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    top = np.concatenate([np.stack([nw, sw, se], axis=1), np.stack([nw, se, ne], axis=1)])
    low = corner.size
    edges = np.concatenate([top[:, [0, 1]], top[:, [1, 2]], top[:, [2, 0]]])
    keys = np.sort(edges, axis=1) @ [low, 1]
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    a, b = edges[first[count == 1]].T  # along the rim, the body on the left
    sides = np.concatenate([np.stack([b, a, a + low], axis=1), np.stack([b, a + low, b + low], axis=1)])
    triangles = np.concatenate([top, top[:, ::-1] + low, sides])
    u = view.low[0] + view.pixel * np.arange(width + 1)
    v = view.low[1] + view.pixel * (height - np.arange(height + 1))
    grid = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1).reshape(-1, 2)
    upper = grid @ view.axes[:, :2].T + view.plane.offset * view.axes[:, 2]
    vertices = np.concatenate([upper, upper - thickness * view.axes[:, 2]])
    colors = np.tile(_at_corners(image, inside).reshape(-1, 3), (2, 1))
    used, index = np.unique(triangles, return_inverse=True)
    mesh = TriangleMesh(vertices[used], index.reshape(-1, 3).astype(np.int32))
    return BareSupport(mesh, np.rint(255 * np.clip(colors[used], 0, 1)).astype(np.uint8))


def _without_corner_contacts(inside: np.ndarray) -> np.ndarray:
    """The pixels and those beside two that touch at a corner alone, where the slab would not be a body."""
    inside = inside.copy()
    while True:
        nw, ne, sw, se = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
        bad = np.argwhere((nw == se) & (ne == sw) & (nw != ne))
        if not len(bad):
            return inside
        for row, column in bad:
            inside[row : row + 2, column : column + 2] = True


def _at_corners(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """[H + 1, W + 1, 3] mean of the pixels inside around every corner."""
    weight = np.pad(inside.astype(np.float64), 1)[..., None]
    values = np.pad(image, ((1, 1), (1, 1), (0, 0))) * weight
    total, count = (x[:-1, :-1] + x[:-1, 1:] + x[1:, :-1] + x[1:, 1:] for x in (values, weight))
    return total / np.maximum(count, 1)
