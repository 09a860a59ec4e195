"""What threads other than the worker may see of the scene."""

import math
from dataclasses import dataclass, field

import numpy as np

from instascene_core.gaussians import GaussianModel
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.scene import Scene
from instascene_core.scene.following import Change


@dataclass(frozen=True)
class Snapshot:
    """The scene as of the last finished job; other threads read this, never the scene."""

    stamp: float = 0.0  # seconds, of the newest frame
    num_frames: int = 0
    gaussians: GaussianModel | None = None
    psnr: float = math.nan  # dB, on the frames reconstructed from; NaN before there is one
    instances: InstanceMap | None = None
    objects: dict[InstanceId, CompletedObject] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()  # what was seen to leave, move or appear, in order
    selected: int = 0  # the instance to highlight; 0 = none
    device: str = "cpu"  # what reconstructs
    # [3] float64 metres: map frame = the scene's frame + this (`instascene_core.local_frame`)
    world_offset: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @staticmethod
    def of(scene: Scene, selected: int = 0) -> "Snapshot":
        return Snapshot(
            stamp=max((f.stamp for f in scene.frames), default=0.0),
            num_frames=len(scene.frames),
            gaussians=scene.gaussians,
            psnr=float(scene.metrics.get("psnr", math.nan)),
            instances=scene.instances,
            objects=dict(scene.objects),
            changes=scene.state.changes,
            selected=selected,
            device=scene.device,
            world_offset=scene.world_offset,
        )

    @property
    def instances_in_map(self) -> InstanceMap | None:
        """The instances with boxes and support plane in the map frame."""
        return None if self.instances is None else self.instances.moved(self.world_offset)

    def objects_since(self, earlier: "Snapshot") -> dict[InstanceId, CompletedObject]:
        """By id, the completed objects that are new or were completed again."""
        return {k: v for k, v in self.objects.items() if earlier.objects.get(k) is not v}

    def has_objects_of(self, other: "Snapshot") -> bool:
        """Whether the completed objects are the very same."""
        return self.objects.keys() == other.objects.keys() and not self.objects_since(other)

    def changes_since(self, earlier: "Snapshot") -> tuple[str, ...]:
        """In words, which results are not those of the earlier snapshot."""
        changes = {
            "Gaussians": self.gaussians is not earlier.gaussians,
            "instances": self.instances is not earlier.instances,
            "completed objects": not self.has_objects_of(earlier),
        }
        return tuple(name for name, changed in changes.items() if changed)
