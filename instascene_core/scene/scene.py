"""The paper in order: frames → Gaussians → masks → instances → completed objects.

One readable method a stage.  The class owns all state of a scene and is not thread-safe: exactly
one thread may call it (the ROS worker, the command line).
"""

import logging
import math
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from instascene_core import completion, features, reconstruction, segmentation
from instascene_core.config import AssociationConfig, Config
from instascene_core.errors import InputError, NotReadyError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.rendering import RenderResult, choose_device, device_name, rasterize
from instascene_core.scene import editing, removal
from instascene_core.scene.decomposition import decompose
from instascene_core.scene.keyframes import most_redundant

logger = logging.getLogger(__name__)

MIN_COVERAGE = 0.5  # alpha below which a rendered depth says nothing


class Scene:
    """A cluttered scene seen by a camera with known poses (InstaScene, ICCV 2025, figure 2)."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        # What reconstructs: "cpu" or the name of the GPU.  A GPU asked for that is not there is refused here.
        self.device = device_name(choose_device(self.config.reconstruction.device))
        self.reset()

    def reset(self) -> None:
        """Forget everything; the configuration stays."""
        self.frames: list[Frame] = []
        self.gaussians: GaussianModel | None = None
        self.instances: InstanceMap | None = None
        self.objects: dict[int, CompletedObject] = {}
        self.metrics: dict = {"seconds": {}}
        self.posed_frames: list[Frame] = []  # those reconstructed, with refined poses where that is on
        self._background: torch.Tensor | None = None  # [3] colour behind the Gaussians
        self._online: reconstruction.OnlineReconstruction | None = None  # what `work_ahead` has done
        self._support: segmentation.Support | None = None
        self._views: list[Frame] = []  # frames with dense depth
        self._surface: tuple[GaussianModel, features.Surface] | None = None  # and whose it is
        self.highest_id = 0  # ever given to an instance
        self.origin: dict = {}  # where the frames can be read again: source and options of open_dataset
        self._earlier: tuple[np.ndarray, np.ndarray] | None = None  # means [N, 3] and ids [N] of before

    # ── frames ────────────────────────────────────────────────────────────────────────────────────

    def add_frame(self, frame: Frame) -> Frame | None:
        """Take one posed image; stages that ran before are redone on the next request.

        With `max_frames` in the scene already, the most redundant one, which may be the new one, has to go
        and is returned: memory stays bounded however long the camera runs.
        """
        if any(frame.name == other.name for other in self.frames):
            raise InputError(f"A frame named '{frame.name}' is already in the scene.")
        self.frames.append(frame)
        if len(self.frames) <= self.config.max_frames:
            return None
        gone = self.frames.pop(most_redundant(self.frames))
        self.posed_frames = [posed for posed in self.posed_frames if posed.name != gone.name]
        if self._online is not None:
            self._online.drop(gone.name)
        return gone

    def work_ahead(self, seconds: float) -> bool:
        """Use idle time while frames still come: fold new ones into the Gaussians, and optimise.

        Takes about `seconds`; False when there is nothing to do before the next frame.  What is done here
        shortens the next `reconstruct`, which then only polishes.
        """
        end = time.perf_counter() + seconds
        if self._online is None:
            self._online = self._new_online()
        self._fold_in(end)
        return self._online.work(end - time.perf_counter())

    def _new_online(self) -> reconstruction.OnlineReconstruction:
        """Goes on from the Gaussians where there are any."""
        online = reconstruction.OnlineReconstruction(self.config.reconstruction)
        if self.gaussians is not None:
            online.adopt(self.posed_frames, self.gaussians, self._background)
        return online

    def _fold_in(self, end: float = math.inf) -> None:
        """Give the frames that are new to it to `_online`, until perf_counter() passes `end`."""
        known = self._online.names
        for frame in self.frames:
            if frame.name not in known:
                self._online.add(frame)
                if time.perf_counter() > end:
                    return

    def restore(
        self,
        gaussians: GaussianModel,
        frames: Sequence[Frame],
        instances: InstanceMap | None,
        objects: Mapping[int, CompletedObject] | None = None,
        background: torch.Tensor | None = None,
        highest_id: int = 0,
    ) -> None:
        """Take over a scene that was reconstructed before, in place of the present one.

        frames: those it was made from, with the poses it ended with; background: [3] colour;
        highest_id: ever given to an instance, also to one that is gone.
        """
        self.reset()
        self.frames, self.posed_frames = list(frames), list(frames)
        self.gaussians, self._background = gaussians, background
        self._online = self._new_online()  # the next reconstruction goes on from these Gaussians
        self.metrics.update(gaussians=len(gaussians), frames=len(frames))
        if instances is not None:
            self.instances, self.objects = instances, dict(objects or {})
            self._views = self._dense_views(no_progress)
            self._support = segmentation.find_support(self._views, self._up, self.config.segmentation)
            self.metrics["instances"] = len(instances.objects)
            self.highest_id = highest_id
            self._note_ids()

    @property
    def is_reconstructed(self) -> bool:
        """Whether the Gaussians explain every frame taken so far."""
        explained = [frame.name for frame in self.posed_frames]
        return self.gaussians is not None and explained == [frame.name for frame in self.frames]

    # ── section 3: the 2DGS scene ─────────────────────────────────────────────────────────────────

    def reconstruct(
        self,
        progress: ProgressCallback = no_progress,
        iterations: int | None = None,
        time_budget_s: float | None = None,
    ) -> None:
        """Optimise the Gaussians on all frames; after `work_ahead` only finish what that has begun.

        Raises NotReadyError with fewer than 2 frames.
        """
        if len(self.frames) < 2:
            raise NotReadyError(
                f"The scene has {len(self.frames)} frame(s) with a pose; at least 2 are needed, "
                "so move the camera and check the pose topic."
            )
        with self._timed("reconstruct"):
            limits = {"iterations": iterations, "time_budget_s": time_budget_s}
            result = None
            if self._online is not None:
                self._fold_in()
                result = self._online.polish(self.frames, progress, **limits)
            if result is None:
                result = reconstruction.reconstruct(
                    self.frames, self.config.reconstruction, progress, **limits
                )
        self.gaussians, self._background = result.gaussians, result.background
        if self._online is not None:
            self._online.adopt(self.frames, self.gaussians, self._background)
        self.posed_frames = [
            frame.with_(world_from_camera=pose) for frame, pose in zip(self.frames, result.world_from_camera)
        ]
        self.instances, self._views, self._support = None, [], None
        self.objects = {}
        self.metrics.update(
            psnr=result.psnr_train,
            gaussians=len(result.gaussians),
            frames=len(self.frames),
            iterations=result.iterations,
        )

    def render(self, frame: Frame) -> RenderResult:
        """The Gaussians as `frame`'s camera sees them."""
        gaussians = self.require_gaussians()
        return rasterize(gaussians, frame.camera, frame.world_from_camera, background=self._background)

    def evaluate_held_out(self, frames: Sequence[Frame]) -> None:
        """Note how well the Gaussians predict frames they were not trained on."""
        summary = reconstruction.evaluate(
            self.require_gaussians(),
            list(frames),
            background=self._background,
            align=self.config.reconstruction.refine_poses,
        ).summary()
        self.metrics.update({f"held_out_{name}": value for name, value in summary.items()})
        self.metrics["held_out_frames"] = len(frames)

    # ── sections 3.1, 3.2: instances ──────────────────────────────────────────────────────────────

    def segment(self, progress: ProgressCallback = no_progress) -> InstanceMap:
        """Find every object once (reconstructs first where frames are new)."""
        if not self.is_reconstructed:
            self.reconstruct(progress)
        with self._timed("depth"):
            views = self._dense_views(progress)
            self._support = segmentation.find_support(views, self._up, self.config.segmentation)
        with self._timed("masks"):
            masks, how = self._masks(views, progress)
        with self._timed("decompose"):
            config = replace(self.config, association=how)
            self.instances = decompose(
                views, masks, self.gaussians, self._support, config, self._previous_labels(), progress,
                first_free_id=self.highest_id + 1,
            )  # fmt: skip
        self._views, self._surface, self.objects = views, None, {}
        self._note_ids()
        self.metrics["instances"] = len(self.instances.objects)
        return self.instances

    def segment_at(
        self,
        frame: str = "",
        pixel: tuple[int, int] | None = None,
        point: np.ndarray | None = None,
        threshold: float | None = None,
        level: int = 0,
        preview: bool = False,
    ) -> editing.Selection:
        """The instance at a pixel (column, row) of a frame ("" = the newest), or at a point [3] in metres.

        Made where no mask ever was; a `threshold` other than τ grows or shrinks what is known, `level`
        steps to coarser (> 0) or finer (< 0) answers.  preview: only tell, change nothing.
        """
        gaussians, known = self.require_gaussians(), self.require_instances()
        surface, settings = self.surface(), self.config.click
        if (pixel is None) == (point is None):
            raise InputError("Give either a pixel of a frame or a point.")
        if pixel is not None:
            view = self._posed(frame)
            labels = known.gaussian_labels
            click = features.click_pixel(
                gaussians, view.camera, view.world_from_camera, pixel, labels, settings
            )
        else:
            click = features.click_point(surface, point, known.gaussian_labels, settings)
        changed, selection = editing.answer(
            click, surface, known, gaussians, self._views, self.config, self.highest_id + 1, threshold, level
        )
        if not preview and changed is not known:
            self.instances = changed
            # A completed mesh is that of the extent it was made from.
            same = {i.id for i in changed.instances if any(i is other for other in known.instances)}
            self.objects = {k: v for k, v in self.objects.items() if k in same}
            self._note_ids()
        return selection

    def remove(self, instance_id: int) -> removal.Removal:
        """An object was taken away: its Gaussians leave, the support plane under it is covered, its pixels
        no longer count."""
        gaussians, known = self.require_gaussians(), self.require_instances()
        images = {name: known.label_images[name] for name in known.label_images}

        def cleared(frames: Sequence[Frame]) -> list[Frame]:
            return [
                removal.without_pixels(f, images[f.name], instance_id) if f.name in images else f
                for f in frames
            ]

        views = cleared(self._views)
        result = removal.without_instance(instance_id, known, gaussians, self.surface(), views, self._support)
        self.frames, self.posed_frames = cleared(self.frames), cleared(self.posed_frames)
        self._views = views
        self.gaussians, self.instances, self._surface = result.gaussians, result.instances, None
        self.objects.pop(instance_id, None)
        if self._online is not None:  # else the next reconstruction would bring it back
            self._online.adopt(self.posed_frames, self.gaussians, self._background)
        self._note_ids()
        return result

    def surface(self) -> features.Surface:
        """The Gaussians as a graph over the surface, made once for a decomposition."""
        gaussians = self.require_gaussians()
        if self._surface is None or self._surface[0] is not gaussians:
            surface = features.make_surface(gaussians, self._views, self.config.click)
            self._surface = (gaussians, surface)
        return self._surface[1]

    # ── section 4: in-situ completion ─────────────────────────────────────────────────────────────

    def complete(
        self,
        instance_id: int,
        num_samples: int | None = None,
        seed: int | None = None,
        progress: ProgressCallback = no_progress,
    ) -> CompletedObject:
        """The closed mesh of one instance of the latest decomposition (made first where there is none).

        Frames that arrived since then do not count until `segment` is called again: ids stay valid.
        num_samples, seed: None takes the configuration's.
        """
        if self.instances is None:
            self.segment(progress)
        instance = self.instances[instance_id]
        if instance.kind != "object":
            raise InputError(
                f"Instance {instance_id} is the {instance.kind} and cannot be completed; ask for an object."
            )
        with self._timed("complete"):
            labels = self.instances.label_images
            result = completion.complete(
                [view.with_(labels=labels[view.name]) for view in self._views],
                instance_id,
                support=self.instances.support,
                up=self._up,
                config=self.config.completion,
                num_samples=num_samples,
                seed=seed,
                progress=progress,
            )
        self.objects[instance_id] = result
        return result

    def complete_all(
        self,
        num_samples: int | None = None,
        seed: int | None = None,
        progress: ProgressCallback = no_progress,
    ) -> dict[int, str]:
        """Complete every object; by id, why those that could not be were not.

        Where `progress` cancels, what is complete by then stays.
        """
        if self.instances is None:
            self.segment(progress)
        ids, failures = [instance.id for instance in self.instances.objects], {}
        for index, instance_id in enumerate(ids):

            def report(stage: str, fraction: float, message: str = "", index: int = index) -> None:
                progress(stage, (index + fraction) / len(ids), f"object {ids[index]}: {message}")

            try:
                self.complete(instance_id, num_samples, seed, report)
            except InputError as error:
                failures[instance_id] = str(error)
        progress("complete", 1.0, f"{len(ids) - len(failures)} of {len(ids)} objects")
        return failures

    # ── inside ────────────────────────────────────────────────────────────────────────────────────

    @property
    def background_color(self) -> np.ndarray | None:
        """[3] colour behind the Gaussians, where one was learned."""
        return None if self._background is None else self._background.detach().cpu().numpy()

    def require_gaussians(self) -> GaussianModel:
        """The Gaussians, or NotReadyError."""
        if self.gaussians is None:
            raise NotReadyError(
                "There is no reconstruction yet; call segment_instances or build_scene first."
            )
        return self.gaussians

    def require_instances(self) -> InstanceMap:
        """The latest decomposition, or NotReadyError."""
        if self.instances is None:
            raise NotReadyError("There are no instances yet; call segment_instances first.")
        return self.instances

    def _posed(self, name: str) -> Frame:
        """The frame of that name among those reconstructed; "" is the newest."""
        if not name and self.posed_frames:
            return self.posed_frames[-1]
        for frame in self.posed_frames:
            if frame.name == name:
                return frame
        known = ", ".join(f.name for f in self.posed_frames[:3]) or "none"
        raise InputError(f"There is no frame '{name}' in the scene; its frames are {known} …")

    def _note_ids(self) -> None:
        """Remember the ids given, for the next decomposition and so that none is given twice."""
        self._earlier = (self.gaussians.means.numpy(), self.instances.gaussian_labels)
        self.highest_id = max([self.highest_id, *(i.id for i in self.instances.instances)])

    def _dense_views(self, progress: ProgressCallback) -> list[Frame]:
        """The frames with their measured depth, or the rendered one where a frame has none.

        Holes of a sensor stay holes: shiny things make them, and the Gaussians put the mirror image
        there.  A rendered depth counts where the Gaussians cover the pixel.
        """
        views = []
        for index, frame in enumerate(self.posed_frames):
            progress("depth", index / len(self.frames), frame.name)
            if frame.depth is None or not (frame.depth > 0).any():
                rendered = self.render(frame)
                depth = np.where(rendered.alpha.numpy() >= MIN_COVERAGE, rendered.depth.numpy(), 0)
                frame = frame.with_(depth=depth.astype(np.float32))
            views.append(frame)
        return views

    def _masks(
        self, views: Sequence[Frame], progress: ProgressCallback
    ) -> tuple[list[np.ndarray], AssociationConfig]:
        """One label image a view, from the configured 2D segmenter, and how to associate them."""
        segmenter = segmentation.make_segmenter(
            self.config.segmentation, views, self._support, progress, up=self._up, seek_support=False
        )
        self.metrics["mask_warnings"], masks = 0, []
        for index, view in enumerate(views):
            progress("masks", index / len(views), view.name)
            found = segmenter.segment(view)
            masks.append(found.labels)
            for warning in found.warnings:
                logger.warning("%s", warning)
            self.metrics["mask_warnings"] += len(found.warnings)
        if segmenter.name == "labels" and segmenter.ids_are_global:
            return masks, replace(self.config.association, clustering="ids")
        return masks, self.config.association

    @property
    def _up(self) -> np.ndarray | None:
        return np.array(self.config.up) if self.config.up else None

    def _previous_labels(self) -> np.ndarray | None:
        """[N] int32: the id each Gaussian would have had in the decomposition before this one."""
        if self._earlier is None:
            return None
        return features.transfer_labels(*self._earlier, self.require_gaussians().means.numpy())

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add the stage's wall time to the metrics and note the process' peak memory."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = self.metrics["seconds"]
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
            self.metrics["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            logger.info("%s: %.1f s", stage, seconds[stage])
