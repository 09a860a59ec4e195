"""Objects on their way to where they rest: what of their surface may move, and how far."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject


@dataclass(frozen=True)
class Thing:
    """A closed mesh of which some was seen."""

    mesh: TriangleMesh
    generated: np.ndarray  # [V] 0 observed … 1 generated
    error: np.ndarray  # [V] metres: how far an observed vertex may be off
    moves: bool = True  # False: neither its surface nor itself may change
    planes: tuple[Plane, ...] = ()  # of the room, that bound it

    @cached_property
    def normals(self) -> np.ndarray:
        """[V, 3] outward."""
        return meshes.vertex_normals(self.mesh)

    @cached_property
    def surface(self) -> Any:
        """For distances and closest points."""
        return meshes.raycasting_scene(self.mesh)

    @cached_property
    def around(self) -> Any:
        """Sparse [V, V]: means over the neighbouring vertices."""
        from scipy.sparse import diags

        joined = meshes.neighbours(self.mesh)
        return diags(1.0 / np.maximum(np.asarray(joined.sum(axis=1)).ravel(), 1)) @ joined

    @cached_property
    def thickness(self) -> np.ndarray:
        """[V] metres straight through the body to its other side."""
        start = 1e-5 * float(np.linalg.norm(np.ptp(self.mesh.vertices, axis=0)))
        begin = self.mesh.vertices - start * self.normals
        return meshes.first_hit(self.mesh, begin, -self.normals)[0] + start

    @property
    def loose(self) -> np.ndarray:
        """[V] bool: vertices that nobody has seen."""
        return self.generated > 0.5 if self.moves else np.zeros(len(self.generated), dtype=bool)

    def near(self, other: "Thing", reach: float) -> np.ndarray:
        """[K] indices of the vertices in the other's box, grown by `reach` metres."""
        points, box = self.mesh.vertices, other.mesh.vertices
        low, high = box.min(axis=0) - reach, box.max(axis=0) + reach
        return np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """[K] metres of points [K, 3] from the surface, negative inside."""
        return self.surface.compute_signed_distance(points.astype(np.float32)).numpy().astype(np.float64)

    def closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of points [K, 3]: where on the surface each is nearest [K, 3], the triangle there [K], and its
        normal [K, 3]."""
        found = self.surface.compute_closest_points(points.astype(np.float32))
        names = ("points", "primitive_ids", "primitive_normals")
        places, triangles, normals = (found[name].numpy() for name in names)
        normals = normals.astype(np.float64)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        return places.astype(np.float64), triangles.astype(np.int64), normals

    def at(self, vertices: np.ndarray) -> "Thing":
        """With the same vertices elsewhere [V, 3]."""
        return replace(self, mesh=TriangleMesh(vertices, self.mesh.triangles))


def thing_of(obj: CompletedObject, moves: bool, planes: Sequence[Plane], farthest: float) -> Thing:
    """planes: those that it does not reach behind by more than `farthest` metres bound it."""
    bounds = tuple(plane for plane in planes if plane.height(obj.mesh.vertices).min() > -farthest)
    unseen = 1 - obj.observed.astype(np.float64)
    return Thing(obj.mesh, unseen, obj.vertex_uncertainty.astype(np.float64), moves, bounds)


def spread(thing: Thing, wanted: np.ndarray, rounds: int) -> np.ndarray:
    """Moves [V, ...] that fade out over the unseen surface around the vertices that have one and keep it."""
    free = thing.loose & ~np.any(wanted.reshape(len(wanted), -1) != 0, axis=1)
    moves = wanted.copy()
    for _ in range(rounds):
        moves[free] = (thing.around @ moves)[free]
    return moves
