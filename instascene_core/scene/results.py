"""What each step of the paper hands to the next: frozen values, and the state of a scene made of them.

    frames → Reconstruction → Decomposition → CompletedObject

Nothing here is changed after it was made, also not the arrays and mappings inside.  A step makes a new value
or, where it is cancelled, none.  Values are compared by identity.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.config import ClickConfig
from instascene_core.errors import InputError, NotReadyError
from instascene_core.features import Surface, make_surface
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.segmentation import Support

if TYPE_CHECKING:
    import torch

    from instascene_core.camera import PinholeCamera
    from instascene_core.scene.depth_bend import DepthBend
    from instascene_core.scene.following.changes import Change


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The scene as 2D Gaussians (InstaScene section 3)."""

    posed_frames: tuple[Frame, ...]  # those it explains, with refined poses where refinement is on
    gaussians: GaussianModel  # on the CPU, without instance features
    background: torch.Tensor | None = None  # [3] colour behind the Gaussians; None = black
    metrics: Mapping = field(default_factory=dict)  # psnr, gaussians, frames, iterations, seconds
    bends: tuple[tuple[PinholeCamera, DepthBend], ...] = ()  # that were taken out of the frames' depth

    def explains(self, frames: Sequence[Frame]) -> bool:
        """Whether it was made from exactly these frames."""
        return [frame.name for frame in self.posed_frames] == [frame.name for frame in frames]

    def without_frame(self, name: str) -> Reconstruction:
        """The same Gaussians, without a frame that the scene had to give up."""
        return replace(self, posed_frames=tuple(f for f in self.posed_frames if f.name != name))


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The reconstructed scene as instances (InstaScene sections 3.1 and 3.2)."""

    views: tuple[Frame, ...]  # the posed frames with dense depth, metres
    support: Support | None  # the planes that things stand on and lean against
    masks: tuple[np.ndarray, ...]  # per view [H, W] integer: the 2D masks it was made from; () = not kept
    gaussians: GaussianModel  # those of the reconstruction, with instance features [N, 16]
    instances: InstanceMap
    surface_of: LazySurface = field(repr=False)
    up: np.ndarray | None = None  # [3] unit, the direction against gravity; None = the support's normal
    metrics: Mapping = field(default_factory=dict)  # instances, mask_warnings, seconds

    @property
    def surface(self) -> Surface:
        """The Gaussians as a graph over the surface, for clicks; made once (about 0.7 s for 80,000)."""
        return self.surface_of()

    @property
    def labelled_views(self) -> list[Frame]:
        """The views with the instance ids of their pixels as labels: what completion takes."""
        images = self.instances.label_images
        return [view.with_(labels=images[view.name]) for view in self.views]

    def with_instances(self, instances: InstanceMap) -> Decomposition:
        """The same views and Gaussians in other instances."""
        return replace(self, instances=instances)


class LazySurface:
    """`make_surface` of these, put off until it is first asked for and then kept."""

    def __init__(self, gaussians: GaussianModel, views: Sequence[Frame], config: ClickConfig) -> None:
        self._arguments = gaussians, views, config
        self._made: Surface | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Surface:
        with self._lock:
            if self._made is None:
                self._made = make_surface(*self._arguments)
            return self._made

    def __getstate__(self) -> tuple:
        return self._arguments

    def __setstate__(self, arguments: tuple) -> None:
        self.__init__(*arguments)


@dataclass(frozen=True, eq=False)
class IdHistory:
    """The ids given so far, so that instances keep theirs and none is given twice."""

    means: np.ndarray | None = None  # [N, 3] metres, of the latest decomposition
    labels: np.ndarray | None = None  # [N] int32 ids of the same Gaussians
    highest: int = 0  # InstanceId ever given, also to an instance that is gone; 0 = none was given

    @property
    def next_free(self) -> InstanceId:
        """The id that the next new instance gets."""
        return InstanceId(self.highest + 1)

    def after(self, decomposition: Decomposition) -> IdHistory:
        """The history once these instances were given."""
        instances = decomposition.instances
        return IdHistory(
            decomposition.gaussians.means.detach().numpy(),
            instances.gaussian_labels,
            max([self.highest, *(instance.id for instance in instances.instances)]),
        )


@dataclass(frozen=True, eq=False)
class SceneState:
    """Everything that is known of a scene at one moment."""

    frames: tuple[Frame, ...] = ()  # as they came, but for their poses' frame (world_offset)
    reconstruction: Reconstruction | None = None
    decomposition: Decomposition | None = None
    objects: Mapping[InstanceId, CompletedObject] = field(default_factory=dict)  # by instance id
    ids: IdHistory = IdHistory()
    metrics: Mapping = field(default_factory=dict)  # of all steps, see the results' own
    changes: tuple[Change, ...] = ()  # what was seen to leave, move or appear, in order
    # [3] float64 metres: everything here is in a frame of the world's axes whose origin is there in the
    # world; 0 but for worlds far from the origin (`instascene_core.local_frame`).
    world_offset: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @property
    def is_reconstructed(self) -> bool:
        """Whether the Gaussians explain every frame taken so far."""
        return self.reconstruction is not None and self.reconstruction.explains(self.frames)

    @property
    def gaussians(self) -> GaussianModel | None:
        """The Gaussians; with instance features once there is a decomposition."""
        if self.decomposition is not None:
            return self.decomposition.gaussians
        return None if self.reconstruction is None else self.reconstruction.gaussians

    @property
    def instances(self) -> InstanceMap | None:
        """The instances of the latest decomposition."""
        return None if self.decomposition is None else self.decomposition.instances

    @property
    def labelled_views(self) -> list[Frame]:
        """The frames with the instance ids of their pixels as labels; none where there are no instances."""
        return [] if self.decomposition is None else self.decomposition.labelled_views

    @property
    def posed_frames(self) -> tuple[Frame, ...]:
        """The frames that the Gaussians explain, with their final poses."""
        return () if self.reconstruction is None else self.reconstruction.posed_frames

    def require_reconstruction(self) -> Reconstruction:
        """The reconstruction, or NotReadyError."""
        if self.reconstruction is None:
            raise NotReadyError(
                "There is no reconstruction yet; call segment_instances or build_scene first."
            )
        return self.reconstruction

    def require_decomposition(self) -> Decomposition:
        """The decomposition, or NotReadyError that says which step is missing."""
        self.require_reconstruction()
        if self.decomposition is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        return self.decomposition

    def posed_frame(self, name: str = "") -> Frame:
        """The frame of that name among those reconstructed; "" is the newest.  InputError for another."""
        if not self.posed_frames:
            raise NotReadyError(
                "All frames that were reconstructed have left the scene; call segment_instances again."
            )
        if not name:
            return self.posed_frames[-1]
        for frame in self.posed_frames:
            if frame.name == name:
                return frame
        known = ", ".join(f.name for f in self.posed_frames[:3])
        raise InputError(f"There is no frame '{name}' in the scene; its frames are {known} …")

    def with_reconstruction(self, reconstruction: Reconstruction) -> SceneState:
        """New Gaussians end the instances and objects of the old ones; the ids given are remembered."""
        known = {name: value for name, value in self.metrics.items() if not name.startswith("held_out_")}
        return replace(
            self,
            reconstruction=reconstruction,
            decomposition=None,
            objects={},
            metrics=merged_metrics(known, reconstruction.metrics),
        )

    def with_decomposition(self, decomposition: Decomposition) -> SceneState:
        """New instances end the objects completed from the old ones."""
        return replace(
            self,
            decomposition=decomposition,
            objects={},
            ids=self.ids.after(decomposition),
            metrics=merged_metrics(self.metrics, decomposition.metrics),
        )

    def with_instances(self, instances: InstanceMap) -> SceneState:
        """Instances changed by hand: objects stay whose instance is the very same as before."""
        before = self.require_decomposition()
        known = {id(instance) for instance in before.instances.instances}
        same = {instance.id for instance in instances.instances if id(instance) in known}
        decomposition = before.with_instances(instances)
        return replace(
            self,
            decomposition=decomposition,
            objects={k: v for k, v in self.objects.items() if k in same},
            ids=self.ids.after(decomposition),
            metrics={**self.metrics, "instances": len(instances.objects)},
        )

    def with_object(self, result: CompletedObject, metrics: Mapping) -> SceneState:
        """One more completed object, in place of an earlier one of that instance."""
        return self.with_objects({**self.objects, result.instance_id: result}, metrics)

    def with_objects(self, objects: Mapping[InstanceId, CompletedObject], metrics: Mapping) -> SceneState:
        """These completed objects in place of all."""
        return replace(self, objects=dict(objects), metrics=merged_metrics(self.metrics, metrics))


def merged_metrics(known: Mapping, new: Mapping) -> dict:
    """`known` with what is `new`; the seconds of each stage add up, of its memory the latest counts."""
    seconds = dict(known.get("seconds", {}))
    for stage, value in new.get("seconds", {}).items():
        seconds[stage] = seconds.get(stage, 0.0) + value
    memory = {**known.get("memory_mb", {}), **new.get("memory_mb", {})}
    return {**known, **new, "seconds": seconds, **({"memory_mb": memory} if memory else {})}
