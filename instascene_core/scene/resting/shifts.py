"""Whole objects moved a little: apart where they still overlap, onto what carries them across what gap is
left."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.resting import RestingConfig
from instascene_core.scene.resting.carrying import Contact
from instascene_core.scene.resting.things import Thing

SWEEPS = 300


def shifts(
    things: Sequence[Thing], found: Sequence[Contact], carrying: np.ndarray, config: RestingConfig
) -> np.ndarray:
    """[things, 3] metres, each at most `max_shift` long.

    found: contacts; carrying [contacts] bool: those whose gaps shall close; across all others nothing may
    overlap, each to within `left`.  The least squares under these conditions by Hildreth's method: each
    contact in turn is moved to where its condition just holds, by forces that push, and only at carrying
    contacts pull.
    """
    moves, forces = np.zeros((len(things), 3)), np.zeros(len(found))
    active = [c for c, contact in enumerate(found) if carrying[c] or contact.gap < config.max_shift]
    for _ in range(SWEEPS):
        largest = 0.0
        for c in active:
            contact = found[c]
            ends = [
                (k, sign)
                for k, sign in ((contact.upper, 1.0), (contact.lower, -1.0))
                if k >= 0 and things[k].moves
            ]
            if not ends:
                continue
            gap = contact.gap + sum(sign * float(moves[k] @ contact.normal) for k, sign in ends)
            change = _force(gap - len(ends) * forces[c], carrying[c], config.left) / len(ends) - forces[c]
            forces[c] += change
            for k, sign in ends:
                moves[k] += sign * change * contact.normal
            largest = max(largest, abs(change))
        if largest < 0.1 * config.grain:
            break
    length = np.linalg.norm(moves, axis=1, keepdims=True)
    return moves * np.minimum(1, config.max_shift / np.maximum(length, 1e-12))


def _force(gap: float, pulls: bool, left: float) -> float:
    """Metres by which a gap has to widen; negative where it has to close."""
    if gap < -left:
        return -left - gap
    return left - gap if pulls and gap > left else 0.0
