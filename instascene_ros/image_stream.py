"""What stamps and poses of a camera's images tell: how many got lost, whether time ran back, whether the
camera was somewhere else all at once.

No ROS in here: stamps are seconds.
"""

from collections import deque
from statistics import median

import numpy as np

RESTART_S = 1.0  # stamps this much older than the newest: the clock went back; less is a message overtaken
REMEMBERED = 60  # intervals between images
ENOUGH = 10  # intervals from which a camera's period is known
PAUSE_S = 5.0  # a longer gap is a camera that stood still, or was asked for single images
REGULAR = 0.2  # of the period: intervals that spread more are those of no camera that runs freely
MISSING = 1.6  # periods: from here on the next image is not merely late
JUMP_M, JUMP_M_S = 0.1, 3.0  # a camera that is farther away, having been faster: nobody carried it there
JUMP_DEGREES, JUMP_DEGREES_S = 15.0, 500.0  # the same for turning


def pose_jump(before: np.ndarray, after: np.ndarray, seconds: float) -> str:
    """What a pose [4, 4] does that no camera can within so many seconds, as a clause; "" where it can."""
    shift = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
    cosine = (np.trace(before[:3, :3].T @ after[:3, :3]) - 1) / 2
    turn = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if shift > max(JUMP_M, JUMP_M_S * seconds):
        return f"moved by {shift:.2f} m within {seconds:.3f} s"
    if turn > max(JUMP_DEGREES, JUMP_DEGREES_S * seconds):
        return f"turned by {turn:.0f}° within {seconds:.3f} s"
    return ""


class ImageStream:
    """The stamps of one camera's images, in the order in which they arrive."""

    def __init__(self) -> None:
        self.lost = 0  # images that never came, by the gaps they left
        self._newest: float | None = None
        self._intervals: deque[float] = deque(maxlen=REMEMBERED)

    def restarts_at(self, stamp: float) -> float | None:
        """The newest stamp so far, where `stamp` lies so far before it that the clock must have gone back."""
        newest = self._newest
        return newest if newest is not None and stamp < newest - RESTART_S else None

    def restart(self) -> None:
        """Time begins anew; what is lost stays counted."""
        self._newest = None
        self._intervals.clear()

    def add(self, stamp: float) -> None:
        """The next image; count those that should have come before it."""
        newest, self._newest = self._newest, stamp if self._newest is None else max(stamp, self._newest)
        if newest is None or stamp == newest:
            return
        if stamp < newest:  # overtaken, and taken for lost then
            self.lost = max(0, self.lost - 1)
            return
        interval = stamp - newest
        period = self._period
        if period is not None and MISSING * period < interval < PAUSE_S:
            self.lost += round(interval / period) - 1
        elif interval < PAUSE_S:
            self._intervals.append(interval)

    @property
    def _period(self) -> float | None:
        """Seconds between two images; None while it is not known, or where there is no such thing."""
        if len(self._intervals) < ENOUGH:
            return None
        period = median(self._intervals)
        spread = median(abs(interval - period) for interval in self._intervals)
        return period if spread <= REGULAR * period else None
