"""Gaps between an object and what carries it, closed by surface that nobody has seen."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.resting import RestingConfig
from instascene_core.geometry import Plane
from instascene_core.scene.resting.carrying import Contact
from instascene_core.scene.resting.things import Thing, spread


def closed(things: Sequence[Thing], carrying: Sequence[Contact], config: RestingConfig) -> list[Thing]:
    """The things with their unseen surface moved onto what carries them, wherever they face each other across
    no more than the widest gap that forces have to cross.  An observed vertex moves by its error at most."""
    things = list(things)
    widest: dict[tuple[int, int], float] = {}
    for contact in carrying:
        pair = (contact.upper, contact.lower)
        pair = pair if contact.lower < 0 else (min(pair), max(pair))
        widest[pair] = max(widest.get(pair, 0.0), contact.gap)
    for (a, b), gap in widest.items():
        if gap <= config.grain:
            continue
        if b < 0:
            things[a] = _onto_plane(things[a], things[a].planes[-1 - b], gap, config)
        else:
            first, second = (a, b) if _looser(things, carrying, a, b) else (b, a)
            things[first] = _onto(things[first], things[second], gap, config)
    return things


def _looser(things: Sequence[Thing], carrying: Sequence[Contact], a: int, b: int) -> bool:
    """Whether the first of two things was seen less where they touch than the second."""
    points = np.array([c.point for c in carrying if {c.upper, c.lower} == {a, b}])
    unseen = []
    for thing in (things[a], things[b]):
        _, triangle, _ = thing.closest(points)
        unseen.append(thing.generated[thing.mesh.triangles[triangle]].mean() if thing.moves else -1.0)
    return unseen[0] >= unseen[1]


def _onto_plane(thing: Thing, plane: Plane, gap: float, config: RestingConfig) -> Thing:
    height = plane.height(thing.mesh.vertices)
    facing = -(thing.normals @ plane.normal) > config.facing
    there = (height > 0) & (height < gap + config.slack) & facing
    return _moved(thing, there, -height[there][:, None] * plane.normal, config)


def _onto(thing: Thing, other: Thing, gap: float, config: RestingConfig) -> Thing:
    index = thing.near(other, gap + config.slack)
    points = thing.mesh.vertices[index]
    way, distance = other.closest(points)[0] - points, other.distance(points)
    facing = (way * thing.normals[index]).sum(axis=1) > config.facing * np.abs(distance)
    near = (distance > 0) & (distance < gap + config.slack) & facing
    there = np.zeros(len(thing.error), dtype=bool)
    there[index[near]] = True
    return _moved(thing, there, way[near], config)


def _moved(thing: Thing, there: np.ndarray, ways: np.ndarray, config: RestingConfig) -> Thing:
    """With the vertices `there` [V] bool moved by ways [K, 3] as far as they may be, and the unseen surface
    around with them."""
    if not there.any() or not thing.moves:
        return thing
    length = np.linalg.norm(ways, axis=1)
    most = np.where(thing.loose, config.max_generated, thing.error)[there]
    moves = np.zeros_like(thing.mesh.vertices)
    moves[there] = ways * np.minimum(1, most / np.maximum(length, 1e-12))[:, None]
    return thing.at(thing.mesh.vertices + spread(thing, moves, config.spread))
