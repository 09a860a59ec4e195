"""What is told of a change."""

from dataclasses import dataclass

import numpy as np

from instascene_core.instances import InstanceId

APPEARED, MOVED, LEFT = "appeared", "moved", "left"


@dataclass(frozen=True, eq=False)
class Change:
    """Something happened to one thing."""

    kind: str  # APPEARED, MOVED or LEFT
    instance_id: InstanceId
    stamp: float  # seconds, of the first frame that shows it
    motion: np.ndarray | None = None  # [4, 4]: where it is = motion · where it was; of MOVED alone
