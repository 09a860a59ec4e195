"""What may be wrong with a recording, as changes of its poses that would make it right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from instascene_core.corrections import interpolated
from instascene_core.pose_conventions import POSE_CONVENTIONS, read_as

# Kinds of hypotheses
GIVEN, CONVENTION, SCALE, RANGE, TIME = "given", "convention", "scale", "range", "time"
SCALES = 10.0 ** np.arange(-4.0, 4.01, 0.125)
OFFSETS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)  # frame periods, ±


@dataclass(frozen=True)
class Hypothesis:
    """One way in which a recording may be meant."""

    kind: str
    value: str | float = ""  # convention; factor on the translations; seconds added to the images' stamps
    is_range: bool = False


class Trajectory:
    """The poses of all frames, and of those looked at under a hypothesis."""

    def __init__(self, poses: np.ndarray, stamps: np.ndarray, indices: np.ndarray, convention: str) -> None:
        """poses: [N, 4, 4]; stamps: [N] seconds; indices: [V] the views; convention: read as that."""
        order = np.argsort(stamps, kind="stable")
        steps = np.diff(stamps[order])
        ordered = len(stamps) > 1 and bool((steps > 0).all())
        self._times = stamps if ordered else np.arange(len(poses), dtype=np.float64)
        self._order = order if ordered else np.arange(len(poses))
        self.has_stamps = ordered
        self.period = float(np.median(steps)) if ordered else 1.0
        self._all, self._indices, self._convention = poses, indices, convention

    def under(self, hypothesis: Hypothesis) -> np.ndarray:
        """world_from_camera [V, 4, 4] of the views; NaN where the hypothesis has none."""
        poses = self._all[self._indices]
        if hypothesis.kind == CONVENTION:
            return read_as(poses, self._convention, str(hypothesis.value))
        if hypothesis.kind == SCALE:
            center = poses[:, :3, 3].mean(axis=0)
            scaled = poses.copy()
            scaled[:, :3, 3] = (poses[:, :3, 3] - center) * float(hypothesis.value)
            return scaled
        if hypothesis.kind == TIME:
            wanted = self._times[self._indices] + float(hypothesis.value)
            return interpolated(self._all[self._order], self._times[self._order], wanted)
        return poses

    def conventions(self) -> Iterator[Hypothesis]:
        """Conventions other than the given one."""
        for name in POSE_CONVENTIONS:
            if name != self._convention:
                yield Hypothesis(CONVENTION, name)

    def offsets(self) -> Iterator[Hypothesis]:
        """Of the images' time, both ways, up to a third of the recording."""
        for periods in OFFSETS:
            if periods <= len(self._all) / 3:
                yield Hypothesis(TIME, periods * self.period)
                yield Hypothesis(TIME, -periods * self.period)


def refined(
    start: float, step: float, score: Callable[[float], float], rounds: int = 4, multiply: bool = False
) -> float:
    """The value near `start` of the best score: steps to both sides, halved each round."""
    best, best_score = start, score(start)
    for _ in range(rounds):
        for sign in (-1, 1):
            value = best * (1 + step) ** sign if multiply else best + sign * step
            found = score(value)
            if found > best_score:
                best, best_score = value, found
        step /= 2
    return best
