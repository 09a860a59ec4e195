"""Objects that were completed one by one, made to lie together: none in another, each on what carries it.

1. Surfaces that reach into a neighbour draw back, unseen ones first (`overlaps`).
2. Of the places where they come near each other those are found by which everything can stand (`carrying`),
   and gaps there close, by unseen surface again (`gaps`).
3. What is left is done by moving whole objects a little (`shifts`).
4. Convex bodies of the new meshes are fitted to each other (`bodies`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.config import Config
from instascene_core.config.completion import ConvexPartsConfig
from instascene_core.config.resting import RestingConfig
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.instances import InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.scene.resting.bodies import BodiesBudget, collision_bodies
from instascene_core.scene.resting.carrying import carrying, contacts
from instascene_core.scene.resting.gaps import closed
from instascene_core.scene.resting.overlaps import apart, strangers
from instascene_core.scene.resting.shifts import shifts
from instascene_core.scene.resting.things import Thing, thing_of

LENGTHS = ("max_generated", "grain", "reach", "slack", "left", "max_shift", "max_filled", "touch")


@dataclass(frozen=True)
class Moved:
    """What became of one object; metres."""

    overlap_before: float  # deepest that it reached into a neighbour, or a neighbour into it
    overlap: float  # now
    observed: float  # farthest that observed surface moved in its object ...
    generated: float  # ... and unseen surface
    shift: float  # of the whole object

    def as_dict(self) -> dict[str, float]:
        """For metrics.json."""
        return {f"{name}_m": value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Resting:
    """Objects that lie together."""

    objects: dict[InstanceId, CompletedObject]
    moved: dict[InstanceId, Moved]  # of those that might move


def lay_to_rest(
    objects: Mapping[InstanceId, CompletedObject],
    planes: Sequence[Plane],
    up: np.ndarray | None,
    config: Config,
    moving: Collection[InstanceId] | None = None,
    progress: ProgressCallback = no_progress,
) -> Resting:
    """The objects with surfaces, places and convex parts such that they do not overlap and stand.

    planes: of support and walls; what does not reach far behind one ends there.  up: against gravity; None
    takes the first plane's normal, and without a plane nothing is known to carry.  moving: those that may
    change, the others stay as they are; None = all.  Meshes keep their vertices' and triangles' order.
    """
    progress("rest", 0.0, "surfaces")
    ids = _concerned(objects, moving, config.resting.reach)
    may = [moving is None or number in moving for number in ids]
    settings = _for_size(config.resting, objects)
    far = settings.max_generated
    before = [thing_of(objects[n], moves, planes, far) for n, moves in zip(ids, may)]
    things, ignored = apart(before, settings), strangers(before, settings)
    moves = np.zeros((len(things), 3))
    if up is None and planes:
        up = planes[0].normal
    if up is not None:
        progress("rest", 0.2, "contacts")
        found = contacts(things, settings, ignored)
        carry = carrying(found, things, up, settings)
        progress("rest", 0.3, "gaps")
        things = apart(closed(things, [c for c, used in zip(found, carry) if used], settings), settings)
        things = [_within_error(a, b) for a, b in zip(before, things)]
        progress("rest", 0.5, "shifts")
        found = contacts(things, settings, ignored)
        moves = shifts(things, found, carrying(found, things, up, settings), settings)
    settled = [thing.at(thing.mesh.vertices + move) for thing, move in zip(things, moves)]
    settled = [thing.at(meshes.separated(thing.mesh).vertices) if thing.moves else thing for thing in settled]
    parts = [_carried(objects[n], a, b) for n, a, b in zip(ids, before, settled)]
    bodies = _bodies(settled, parts, settings, config.completion.convex_parts, progress)
    result, moved = dict(objects), {}
    depth_before, depth = _overlaps(before), _overlaps(settled)
    for k, number in enumerate(ids):
        if may[k]:
            result[number] = objects[number].with_mesh(settled[k].mesh, bodies[k], moves[k])
            moved[number] = _moved(before[k], things[k], moves[k], depth_before[k], depth[k])
    progress("rest", 1.0, f"{len(moved)} objects")
    return Resting(result, moved)


def _concerned(
    objects: Mapping[InstanceId, CompletedObject], moving: Collection[InstanceId] | None, reach: float
) -> list[InstanceId]:
    """Ids, ascending, of the objects that may move and of those within their reach."""
    if moving is None:
        return sorted(objects)
    low = {n: thing.mesh.vertices.min(axis=0) - reach for n, thing in objects.items()}
    high = {n: thing.mesh.vertices.max(axis=0) + reach for n, thing in objects.items()}
    return sorted(
        n for n in objects if any((low[n] <= high[m]).all() and (low[m] <= high[n]).all() for m in moving)
    )


def _for_size(settings: RestingConfig, objects: Mapping[InstanceId, CompletedObject]) -> RestingConfig:
    """The settings with shorter lengths where the objects are smaller than what these are for."""
    sizes = [float(np.linalg.norm(thing.dimensions)) for thing in objects.values()]
    share = min(1.0, float(np.median(sizes)) / settings.size) if sizes else 1.0
    return replace(settings, **{name: share * getattr(settings, name) for name in LENGTHS})


def _within_error(before: Thing, after: Thing) -> Thing:
    """With no observed vertex farther from where it was than it may be off."""
    way = after.mesh.vertices - before.mesh.vertices
    length = np.linalg.norm(way, axis=1)
    too_far = (length > before.error) & ~before.loose
    if not too_far.any():
        return after
    way[too_far] *= (before.error[too_far] / length[too_far])[:, None]
    return after.at(before.mesh.vertices + way)


def _carried(obj: CompletedObject, before: Thing, after: Thing) -> tuple[TriangleMesh, ...]:
    """The object's convex parts, each vertex moved as the nearest one of the mesh was."""
    from scipy.spatial import cKDTree

    if not before.moves or not obj.convex_parts:
        return obj.convex_parts
    ways, tree = after.mesh.vertices - before.mesh.vertices, cKDTree(before.mesh.vertices)
    return tuple(
        TriangleMesh(part.vertices + ways[tree.query(part.vertices)[1]], part.triangles)
        for part in obj.convex_parts
    )


def _bodies(
    things: Sequence[Thing],
    parts: Sequence[tuple[TriangleMesh, ...]],
    settings: RestingConfig,
    pieces: ConvexPartsConfig,
    progress: ProgressCallback,
) -> list[tuple[TriangleMesh, ...]]:
    def report(fraction: float) -> None:
        progress("rest", 0.6 + 0.4 * fraction, "convex bodies")

    budget = BodiesBudget(pieces.max_parts, pieces.max_vertices, settings.max_filled, settings.touch)
    bodies, planes = [thing.mesh for thing in things], [thing.planes for thing in things]
    return collision_bodies(bodies, parts, planes, budget, [t.moves for t in things], report)


def _overlaps(things: Sequence[Thing]) -> np.ndarray:
    """[things] metres: deepest overlap of each with another."""
    deepest = np.zeros(len(things))
    for a, thing in enumerate(things):
        for b, other in enumerate(things):
            index = thing.near(other, 0.0) if a != b and (thing.moves or other.moves) else []
            if len(index):
                depth = -float(other.distance(thing.mesh.vertices[index]).min())
                deepest[[a, b]] = np.maximum(deepest[[a, b]], depth)
    return deepest


def _moved(before: Thing, after: Thing, shift: np.ndarray, depth_before: float, depth: float) -> Moved:
    way = np.linalg.norm(after.mesh.vertices - before.mesh.vertices, axis=1)
    observed, generated = way[~before.loose].max(initial=0), way[before.loose].max(initial=0)
    return Moved(
        float(depth_before), float(depth), float(observed), float(generated), float(np.linalg.norm(shift))
    )
