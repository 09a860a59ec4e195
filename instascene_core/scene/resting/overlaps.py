"""Surfaces that reach into a neighbour draw back: generated ones first, observed ones by their noise."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.resting import RestingConfig
from instascene_core.geometry import mesh as meshes
from instascene_core.scene.resting.things import Thing, spread


def apart(things: Sequence[Thing], config: RestingConfig) -> list[Thing]:
    """The things with their vertices drawn in, along their normals, by as little as takes the surfaces apart.

    A vertex in a neighbour, and the neighbour's surface there, share the way by how readily they move.  No
    vertex moves farther than a share of the way through its body, and no observed one farther than its error.
    Where two things reach into each other by more than `max_generated`, one of them is not what it seems, and
    neither surface moves.
    """
    ignored = strangers(things, config)
    start, limits = list(things), [_limit(thing, config) for thing in things]
    drawn = [np.zeros(len(thing.error)) for thing in things]
    for _ in range(config.rounds):
        wanted = _wanted(things, drawn, limits, ignored, config)
        if max((float(w.max(initial=0)) for w in wanted), default=0.0) < config.grain:
            break
        for k, thing in enumerate(start):
            move = spread(thing, wanted[k], config.spread) if wanted[k].any() else wanted[k]
            drawn[k] = np.minimum(limits[k], drawn[k] + move)
        things = [
            thing if not drawn[k].any() else thing.at(thing.mesh.vertices - drawn[k][:, None] * thing.normals)
            for k, thing in enumerate(start)
        ]
    return [_still_solid(before, _before_planes(thing)) for before, thing in zip(start, things)]


def _limit(thing: Thing, config: RestingConfig) -> np.ndarray:
    """[V] metres that vertices may be drawn in."""
    if not thing.moves:
        return np.zeros(len(thing.error))
    most = np.where(thing.loose, config.max_generated, thing.error)
    return np.minimum(most, config.max_share * thing.thickness)


def strangers(things: Sequence[Thing], config: RestingConfig) -> set[frozenset[int]]:
    """Pairs of things that cannot both be right."""
    found = set()
    for a, thing in enumerate(things):
        for b, other in enumerate(things):
            index = thing.near(other, 0.0) if a != b and (thing.moves or other.moves) else []
            if len(index) and other.distance(thing.mesh.vertices[index]).min() < -config.max_generated:
                found.add(frozenset((a, b)))
    return found


def _wanted(
    things: Sequence[Thing],
    drawn: Sequence[np.ndarray],
    limits: Sequence[np.ndarray],
    ignored: set[frozenset[int]],
    config: RestingConfig,
) -> list[np.ndarray]:
    """[V] metres for each thing, by which its vertices should still be drawn in."""
    wanted = [np.zeros(len(thing.error)) for thing in things]
    ready = [
        np.where(limit > done, thing.generated + config.observed_readiness, 0.0)
        for thing, limit, done in zip(things, limits, drawn)
    ]
    for a, thing in enumerate(things):
        for b, other in enumerate(things):
            if a == b or frozenset((a, b)) in ignored or not (thing.moves or other.moves):
                continue
            index = thing.near(other, 0.0)
            if not len(index):
                continue
            depth = -other.distance(thing.mesh.vertices[index])
            index, depth = index[depth > config.grain], depth[depth > config.grain]
            if not len(index):
                continue
            _, triangle, _ = other.closest(thing.mesh.vertices[index])
            corners = other.mesh.triangles[triangle]
            mine, its = ready[a][index], ready[b][corners].mean(axis=1)
            share = mine / np.maximum(mine + its, 1e-12)
            np.maximum.at(wanted[a], index, share * depth)
            np.maximum.at(wanted[b], corners, ((1 - share) * depth * (its > 0))[:, None])
    return wanted


def _before_planes(thing: Thing) -> Thing:
    """With the vertices that lie behind a plane on it."""
    vertices = thing.mesh.vertices
    for plane in thing.planes if thing.moves else ():
        vertices = vertices - np.minimum(plane.height(vertices), 0)[:, None] * plane.normal
    return thing if vertices is thing.mesh.vertices else thing.at(vertices)


def _still_solid(before: Thing, after: Thing) -> Thing:
    """`after`, unless it is no closed body any more."""
    return after if meshes.as_manifold(after.mesh) is not None and meshes.volume(after.mesh) > 0 else before
