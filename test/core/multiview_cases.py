"""Bodies, views and known pixels for the tests of in-situ generation."""

import numpy as np
import trimesh

from instascene_core.completion.priors.multiview.inputs import Given, Known
from instascene_core.completion.priors.multiview.ring import ObjectFrame, fitting_focal, ring
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes

UP = np.array([0.0, 0.0, 1.0])
FRAME = ObjectFrame(np.eye(4), 1.0)


def box(size=(1.0, 0.6, 0.4), center=(0.0, 0.0, 0.0)) -> TriangleMesh:
    corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    return meshes.convex_hull(corners * size + center)


def ball(radius=0.9) -> TriangleMesh:
    sphere = trimesh.creation.icosphere(3, radius)
    return TriangleMesh(np.array(sphere.vertices), np.array(sphere.faces))


def given_of(mesh: TriangleMesh, side: int = 16) -> Given:
    views = ring(fitting_focal(mesh.vertices), side)
    seen = render_geometry(mesh, views)
    return Given(views, seen.depth, seen.coverage, seen.normals, np.zeros_like(seen.depth), -0.5)


def nothing(given: Given) -> Known:
    return Known(np.zeros((*given.depth.shape, 3), np.float32), np.zeros(given.depth.shape, np.float32))


def half_known(given: Given, color=(1.0, 0.0, 0.0)) -> Known:
    """Where x > 0 in the frame, `color` is known."""
    known = nothing(given)
    known.rgb[:] = color
    known.weight[(given.depth > 0) & (given.views.points(given.depth)[..., 0] > 0)] = 1
    return known
