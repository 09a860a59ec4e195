"""What carries what: the contacts by which a scene can stand still.

A scene that was recorded stood still, so at some contacts forces balanced every object's weight.  Of the
places where surfaces come near each other, those are looked for that can do so and leave the least to be
closed: a linear program over all objects at once, whose cost is force times gap.  Gravity is also turned a
little in all directions, so that what is found carries with something to spare.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.config.resting import RestingConfig
from instascene_core.scene.resting.things import Thing

RAYS = 4  # of the pyramid that stands for the friction cone
LEANS = 4  # directions in which gravity is turned
HELD = 10.0  # times `reach`: the cost of holding an object up by nothing


@dataclass(frozen=True)
class Contact:
    """A place where one thing may press on another, or on a plane."""

    upper: int  # index of the thing that is pressed along the normal
    lower: int  # of the thing that is pressed against it, or −1 − k for plane k that bounds the upper one
    point: np.ndarray  # [3] metres, between the surfaces
    normal: np.ndarray  # [3] unit
    gap: float  # metres; ≤ 0 where they touch


def contacts(
    things: Sequence[Thing], config: RestingConfig, ignored: Collection[frozenset[int]] = ()
) -> list[Contact]:
    """Places where things come within `reach` of each other or of a plane, some for each pair.

    ignored: pairs of things that say nothing about each other.
    """
    found = []
    for a, thing in enumerate(things):
        for k, plane in enumerate(thing.planes if thing.moves else ()):
            height = plane.height(thing.mesh.vertices)
            for v in _spread_out(thing.mesh.vertices, height, config):
                found.append(Contact(a, -1 - k, thing.mesh.vertices[v], plane.normal, float(height[v])))
        for b, other in enumerate(things):
            if b != a and frozenset((a, b)) not in ignored and (thing.moves or other.moves):
                found += _between(a, thing, b, other, config)
    return found


def _between(a: int, thing: Thing, b: int, other: Thing, config: RestingConfig) -> list[Contact]:
    """Of the vertices of one thing with the other's surface."""
    index = thing.near(other, config.reach)
    if not len(index):
        return []
    points = thing.mesh.vertices[index]
    gap = other.distance(points)
    chosen = _spread_out(points, gap, config)
    if not len(chosen):
        return []
    _, _, normals = other.closest(points[chosen])
    facing = -(normals * thing.normals[index[chosen]]).sum(axis=1) > 0
    return [
        Contact(a, b, points[v], normal, float(gap[v]))
        for v, normal, faces in zip(chosen, normals, facing)
        if faces
    ]


def _spread_out(points: np.ndarray, gap: np.ndarray, config: RestingConfig) -> list[int]:
    """Indices of points within reach: the nearest one, then those far from the chosen ones and near the
    other's surface."""
    near = np.flatnonzero(gap < config.reach)
    if not len(near):
        return []
    cost = np.maximum(gap[near], 0) + 0.2 * config.reach
    chosen = [int(cost.argmin())]
    apart = np.full(len(near), np.inf)
    while len(chosen) < min(config.contacts, len(near)):
        apart = np.minimum(apart, np.linalg.norm(points[near] - points[near[chosen[-1]]], axis=1))
        if apart.max() <= 0:
            break
        chosen.append(int((apart / cost).argmax()))
    return near[chosen].tolist()


def carrying(
    found: Sequence[Contact], things: Sequence[Thing], up: np.ndarray, config: RestingConfig
) -> np.ndarray:
    """[contacts] bool: those that forces go through."""
    used = np.zeros(len(found), dtype=bool)
    moving = [k for k, thing in enumerate(things) if thing.moves]
    if not found or not moving:
        return used
    solids = {k: _weight(things[k]) for k in moving}
    rays = np.stack([_pyramid(contact.normal, config.friction) for contact in found])  # [C, R, 3]
    balance = _balance(found, rays, solids)
    for gravity in _gravities(up, np.radians(config.lean)):
        used |= _forces(found, rays, balance, solids, gravity, config) > 1e-4
    return used


def _weight(thing: Thing) -> tuple[float, np.ndarray, float]:
    """Volume (a weight, of one density), centre of mass [3], and size in metres."""
    corners = thing.mesh.vertices[thing.mesh.triangles]
    middle = thing.mesh.vertices.mean(axis=0)
    volumes = np.linalg.det(corners - middle) / 6
    centers = (corners - middle).sum(axis=1) / 4
    total = max(float(volumes.sum()), 1e-12)
    size = float(np.linalg.norm(np.ptp(thing.mesh.vertices, axis=0)))
    return total, middle + (volumes[:, None] * centers).sum(axis=0) / total, size


def _pyramid(normal: np.ndarray, friction: float) -> np.ndarray:
    """[RAYS, 3] edges of the cone of forces along a normal."""
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    return normal + friction * (np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second)


def _gravities(up: np.ndarray, lean: float) -> list[np.ndarray]:
    """Directions [3] of weight: down, and turned from it."""
    turned = _pyramid(up, float(np.tan(lean)))[: LEANS if lean > 0 else 0]
    return [-up, *(-ray / np.linalg.norm(ray) for ray in turned)]


def _balance(found: Sequence[Contact], rays: np.ndarray, solids: dict):
    """Sparse [6 · moving, C · R]: force and torque (over size) on each moving thing, by weight."""
    from scipy.sparse import coo_matrix

    row_of = {k: 6 * i for i, k in enumerate(solids)}
    rows, columns, values = [], [], []
    for c, contact in enumerate(found):
        for k, sign in ((contact.upper, 1.0), (contact.lower, -1.0)):
            if k not in solids:
                continue
            weight, center, size = solids[k]
            force = sign * rays[c] / weight
            torque = np.cross(contact.point - center, force) / size
            both = np.concatenate([force, torque], axis=1)  # [R, 6]
            for r in range(RAYS):
                rows += range(row_of[k], row_of[k] + 6)
                columns += [RAYS * c + r] * 6
                values += both[r].tolist()
    return coo_matrix((values, (rows, columns)), shape=(6 * len(solids), RAYS * len(found))).tocsr()


def _forces(
    found: Sequence[Contact],
    rays: np.ndarray,
    balance,
    solids: dict,
    gravity: np.ndarray,
    config: RestingConfig,
) -> np.ndarray:
    """[contacts] forces over the weight of the lighter thing, of the balance that needs the least closing."""
    from scipy.optimize import linprog
    from scipy.sparse import hstack, identity

    weights = np.array([solids[k][0] for k in solids])
    gap = np.array([max(contact.gap, 0.0) for contact in found]) + config.grain
    cost = (
        np.concatenate([np.repeat(gap, RAYS), np.tile(np.repeat(HELD * config.reach * weights, 6), 2)])
        / weights.mean()
    )
    slack = identity(6 * len(weights), format="csr")
    pulled = -np.concatenate([np.concatenate([gravity, np.zeros(3)]) for _ in weights])
    answer = linprog(cost, A_eq=hstack([balance, slack, -slack]), b_eq=pulled, method="highs-ds")
    if answer.x is None:  # with slack there is always an answer, but for numbers that are none
        return np.zeros(len(found))
    forces = answer.x[: RAYS * len(found)].reshape(-1, RAYS).sum(axis=1)
    lighter = [min(solids[k][0] for k in (c.upper, c.lower) if k in solids) for c in found]
    return forces / np.array(lighter)
