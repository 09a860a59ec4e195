"""Random choices that makers of composed things share."""

import numpy as np

# kg/m³ over all, hollows included
PLASTIC, TOOL, POTTERY, LIQUID, PAPER, TOY = 700.0, 1500.0, 2000.0, 900.0, 350.0, 600.0
PROUD = 0.0003  # metres a label or strip stands above what it is stuck to


def pick(rng: np.random.Generator, *options):
    return options[rng.integers(len(options))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.uniform() < probability)


def main_paint(rng: np.random.Generator) -> str:
    """What the largest part is made of."""
    return str(rng.choice(["print", "plain", "metal", "wood", "rubber"], p=[0.3, 0.42, 0.1, 0.08, 0.1]))


def other_paint(rng: np.random.Generator, number: int = 2) -> str:
    """What another part is made of; `number` tells its colour from those of others."""
    paint = str(rng.choice(["plain", "rubber", "metal", "wood", "print"], p=[0.45, 0.25, 0.15, 0.08, 0.07]))
    return f"{paint}{number}" if paint in ("plain", "print") else paint
