"""Whole objects moved a little: apart where they still overlap, onto what carries them across what gap is
left."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.resting import RestingConfig
from instascene_core.scene.resting.carrying import Contact
from instascene_core.scene.resting.things import Thing

STEPS = 50  # of Newton's method; a handful is enough
SETTLED = 1e-6  # of the pull at the start: no pull


def shifts(
    things: Sequence[Thing], found: Sequence[Contact], carrying: np.ndarray, config: RestingConfig
) -> np.ndarray:
    """[things, 3] metres, each at most `max_shift` long.

    found: contacts; carrying [contacts] bool: those whose gaps shall close; across all others nothing may
    overlap, each to within `left`.

    The likeliest places: an object lies where it was seen, give or take the error of its observed surface,
    and a contact holds, give or take `left`; least squares of both.  Contacts that contradict each other
    leave the objects where they are instead of driving them as far as they may go.
    """
    known = [k for k, thing in enumerate(things) if thing.moves]
    active = np.flatnonzero(carrying | np.array([c.gap < config.max_shift for c in found], dtype=bool))
    moves = np.zeros((len(things), 3))
    if not known or not len(active):
        return moves
    off = np.repeat([_place_error(things[k], config) for k in known], 3)
    pairs = _Pairs(
        np.array([found[c].gap for c in active]) / config.left,
        _directions([found[c] for c in active], known) * off / config.left,
        np.asarray(carrying)[active],
    )
    moves[known] = (off * pairs.likeliest()).reshape(-1, 3)
    length = np.linalg.norm(moves, axis=1, keepdims=True)
    return moves * np.minimum(1, config.max_shift / np.maximum(length, 1e-12))


def _place_error(thing: Thing, config: RestingConfig) -> float:
    """Metres that the object as a whole may be off: the median error of its observed surface, and `left`
    where nothing of it was seen."""
    seen = thing.error[~thing.loose]
    return max(float(np.median(seen)), config.grain) if len(seen) else config.left


def _directions(found: Sequence[Contact], known: Sequence[int]) -> np.ndarray:
    """[contacts, 3 · known] by how much each gap widens with each coordinate of each object that may move."""
    place = {k: 3 * i for i, k in enumerate(known)}
    rows = np.zeros((len(found), 3 * len(known)))
    for row, contact in zip(rows, found):
        for k, sign in ((contact.upper, 1.0), (contact.lower, -1.0)):
            if k in place:
                row[place[k] : place[k] + 3] += sign * contact.normal
    return rows


class _Pairs:
    """½ |moves|² + ½ |misfit|² over all contacts: convex, and a quadratic between the places where contacts
    begin to hold.

    All without units: gaps [C] in `left`, moves [M] in the error of their object; rows [C, M].
    """

    def __init__(self, gaps: np.ndarray, rows: np.ndarray, pulls: np.ndarray) -> None:
        self._gaps, self._rows, self._pulls = gaps, rows, pulls

    def likeliest(self) -> np.ndarray:
        """[M] moves, by Newton's method with steps that are halved until they help."""
        moves = np.zeros(self._rows.shape[1])
        first = max(float(np.abs(self._slope(moves)).max()), 1e-12)
        for _ in range(STEPS):
            slope = self._slope(moves)
            if np.abs(slope).max() <= SETTLED * first:
                break
            rows = self._rows[self._misfit(moves) != 0]
            step = np.linalg.solve(np.eye(len(moves)) + rows.T @ rows, -slope)
            while self._cost(moves + step) > self._cost(moves) and np.abs(step).max() > 1e-9:
                step = step / 2
            moves = moves + step
        return moves

    def _misfit(self, moves: np.ndarray) -> np.ndarray:
        """[C]: below 0 an overlap, above 0 a gap that should be none, both beyond 1."""
        gaps = self._gaps + self._rows @ moves
        return np.minimum(gaps + 1, 0) + np.where(self._pulls, np.maximum(gaps - 1, 0), 0)

    def _cost(self, moves: np.ndarray) -> float:
        return float(moves @ moves + (self._misfit(moves) ** 2).sum())

    def _slope(self, moves: np.ndarray) -> np.ndarray:
        return moves + self._rows.T @ self._misfit(moves)
