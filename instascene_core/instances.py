"""The scene decomposed: which Gaussian, and which pixel of each frame, belongs to which instance.

An instance has one number everywhere outside association: its `InstanceId`.  Association itself counts masks
(rows of its mask table) and clusters (0 … C−1); the scene gives every cluster an id once, by
`features.stable_ids`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NewType

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import Plane

# ≥ 1, never 0, stable from one update to the next.  In arrays of labels (int32) UNLABELLED = −1 means none.
InstanceId = NewType("InstanceId", int)
FIRST_ID = InstanceId(1)
THINGS = ("object", "fixture", "outside")  # kinds that are single things, so that they can be completed


def instance_id_from(value: object) -> InstanceId:
    """The id that a file or a caller gives; InputError for anything else, because files are named by it."""
    number = value.__index__() if isinstance(value, int | np.integer) and not isinstance(value, bool) else 0
    if number < FIRST_ID:
        raise InputError(f"The instance id {value!r} is not a whole number from {FIRST_ID} on.")
    return InstanceId(number)


@dataclass(frozen=True)
class Instance:
    """One thing in the scene."""

    id: InstanceId
    # "object", "fixture" (hangs at a wall), "outside" (a thing outside of the region of interest), "support"
    # (a plane things stand on) or "background"
    kind: str
    # [0, 1]: how well the views agree on what it is, and its Gaussians' features; how far the completed mesh
    # is to be believed is another question (`CompletedObject.confidence`)
    confidence: float
    box_min: np.ndarray  # [3] metres, world frame
    box_max: np.ndarray  # [3]
    feature: np.ndarray  # [16] float32 unit mean feature
    num_gaussians: int
    num_views: int  # frames with a mask of it
    # [0, 1]: the overlap (IoU) with a true object that the 2D segmenter expects of its masks; 1 where nobody
    # doubts them (a click, or a segmenter that says nothing)
    mask_score: float = 1.0


@dataclass(frozen=True)
class InstanceMap:
    """Result of association and features."""

    instances: tuple[Instance, ...]
    gaussian_labels: np.ndarray  # [N] int32, UNLABELLED or an InstanceId
    label_images: Mapping[str, np.ndarray] = field(default_factory=dict)  # frame name → [H, W], the same
    support: Plane | None = None  # the plane the objects stand on, if one was found

    def moved(self, offset: np.ndarray) -> "InstanceMap":
        """The same instances, boxes and support plane moved by `offset` [3] metres; itself where that is 0.

        From the scene's local frame to the world by its offset (`instascene_core.local_frame`).
        """
        if not np.any(offset):
            return self
        instances = tuple(
            replace(i, box_min=i.box_min + offset, box_max=i.box_max + offset) for i in self.instances
        )
        plane = self.support
        support = None if plane is None else replace(plane, offset=plane.offset + plane.normal @ offset)
        return replace(self, instances=instances, support=support)

    def __getitem__(self, instance_id: InstanceId) -> Instance:
        """The instance of that id; InputError where there is none."""
        for instance in self.instances:
            if instance.id == instance_id:
                return instance
        known = ", ".join(str(i.id) for i in self.instances) or "none"
        raise InputError(f"There is no instance {instance_id}; known ids: {known}.")

    @property
    def objects(self) -> tuple[Instance, ...]:
        """The instances that are objects within the region of interest."""
        return tuple(i for i in self.instances if i.kind == "object")
