"""The owner of a scene: keeps the newest results, and replaces them in one assignment."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from instascene_core import reconstruction
from instascene_core.config import Config
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.plausibility import Verdict
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.rendering import choose_device, device_name
from instascene_core.scene import editing, following, removal
from instascene_core.scene.begun import BegunWork, Limits
from instascene_core.scene.checking import RecordingCheck
from instascene_core.scene.completing import complete_each
from instascene_core.scene.depth_bend import without_bend
from instascene_core.scene.keyframes import most_redundant
from instascene_core.scene.placing import localised, placed
from instascene_core.scene.reading import SceneReading
from instascene_core.scene.region import local_region
from instascene_core.scene.resting import lay_to_rest
from instascene_core.scene.restoring import restored_state
from instascene_core.scene.results import Reconstruction, SceneState, merged_metrics
from instascene_core.scene.stages import Stopwatch, complete, decompose, timed

logger = logging.getLogger(__name__)

STAGES = ("reconstruct", "segment", "complete")  # of `Scene.run`, in order


class Scene(SceneReading):
    """A cluttered scene seen by a camera with known poses (InstaScene, ICCV 2025, figure 2).

    `state` holds all results as frozen values.  Every method that changes it makes the new state first and
    assigns it last, so a cancelled or failed call leaves the scene as it was, and whoever holds an earlier
    state keeps a consistent one.  Not thread-safe: exactly one thread may call the methods (the ROS worker,
    the command line); other threads may read a `state`.

    Frames and points are given in the world frame.  In a world far from the origin everything that is held
    and handed out is in a local frame: add `world_offset` to be back in the world.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        if self.config.max_frames < 2:
            raise InputError(f"max_frames is {self.config.max_frames}; a scene needs at least 2 frames.")
        # What reconstructs: "cpu" or the name of the GPU.  A GPU asked for that is not there is refused here.
        self.device = device_name(choose_device(self.config.reconstruction.device))
        self.corrections = Corrections()  # how the frames were read, for the check's sentence
        self.reset()

    def reset(self) -> None:
        """Forget everything; the configuration stays."""
        self.state = SceneState()
        self.origin: dict = {}  # where the frames can be read again: source and options of open_dataset
        self._begun = BegunWork()
        self._check = RecordingCheck(self.config.plausibility)

    # ── the paper ─────────────────────────────────────────────────────────────────────────────────

    def run(
        self,
        until: str = "complete",
        progress: ProgressCallback = no_progress,
        *,
        iterations: int | None = None,
        time_budget_s: float | None = None,
        again: bool = False,
    ) -> dict[InstanceId, str]:
        """From frames to objects, up to and including one stage; by id, why objects were not completed.

        iterations, time_budget_s: limits of the reconstruction; None takes the configuration's.
        again: reconstruct also where the Gaussians explain all frames already.  A cancelled or failed
        reconstruction or decomposition leaves the scene as it was, and a reconstruction that was finished by
        then is not made again for the same frames and limits; of a cancelled completion the objects that were
        complete by then stay.  Raises NotReadyError with fewer than 2 frames, and InputError where the frames
        plainly fit another reading of the recording (`check_plausibility`).
        """
        if until not in STAGES:
            raise InputError(f"There is no stage '{until}'; known are {', '.join(STAGES)}.")
        # Section 3: 2D Gaussian Splatting explains all frames.
        state = self._followed(progress)
        if again or until == "reconstruct" or not state.is_reconstructed:
            verdict, limits = self.check_plausibility(), Limits(iterations, time_budget_s)
            state = self._begun.explain(state, self.config, progress, limits, verdict)
        # Sections 3.1 and 3.2: masks of single views become instances of the scene.
        if until != "reconstruct":
            known = state.require_reconstruction()
            region = local_region(self.config.region, state.world_offset)
            config = replace(self.config, region=region)
            state = state.with_decomposition(decompose(known, config, progress, ids=state.ids))
        self._replace(state, state.frames)
        # Section 4: every object is completed under all its observations.
        return self.complete_all(progress=progress) if until == "complete" else {}

    def reconstruct(
        self,
        progress: ProgressCallback = no_progress,
        iterations: int | None = None,
        time_budget_s: float | None = None,
    ) -> None:
        """Optimise the Gaussians on all frames; after `work_ahead` only finish what that has begun."""
        self.run("reconstruct", progress, iterations=iterations, time_budget_s=time_budget_s)

    def follow(self, progress: ProgressCallback = no_progress) -> tuple[following.Change, ...]:
        """What new frames with depth show to have left, moved or appeared, and the scene changed accordingly.

        Ids stay, and so do the completed meshes of what stayed and of what moved.  Nothing where there are no
        instances yet, or no frames that were not looked at.  `run` begins with it.
        """
        before, state = self.state, self._followed(progress)
        if state is not before:
            self._replace(state, state.posed_frames)
        return state.changes[len(before.changes) :]

    def _followed(self, progress: ProgressCallback) -> SceneState:
        """The state after what new frames show to have changed; work ahead forgets what is gone."""
        if not self.config.following.enabled:
            return self.state
        state, changes = following.follow(self.state, self.config, progress)
        if not changes:
            return state
        self._begun.adopt(state, state.posed_frames)
        return replace(state, changes=(*state.changes, *changes))

    @property
    def frames_to_follow(self) -> int:
        """How many frames `follow` would look at."""
        return len(following.frames_to_follow(self.state)) if self.config.following.enabled else 0

    def segment(self, progress: ProgressCallback = no_progress) -> InstanceMap:
        """Find every object once (reconstructs first where frames are new)."""
        self.run("segment", progress)
        return self.require_instances()

    def complete(
        self,
        instance_id: InstanceId,
        num_samples: int | None = None,
        seed: int | None = None,
        progress: ProgressCallback = no_progress,
        *,
        rest: bool = True,
    ) -> CompletedObject:
        """The closed mesh of one instance of the latest decomposition (made first where there is none).

        Frames that arrived since then do not count until `segment` is called again: ids stay valid.
        num_samples, seed: None takes the configuration's.  rest: it gives way to the objects that are
        complete already (`resting`), which stay as they were handed out; False leaves it as it is by itself,
        for who completes several and then calls `lay_to_rest` once.
        """
        if self.state.decomposition is None:
            self.segment(progress)
        state = self.completed_alone(instance_id, num_samples, seed, progress)
        self.state = self._rested(state, {instance_id}, progress) if rest else state
        return self.objects[instance_id]

    def lay_to_rest(
        self, ids: Collection[InstanceId] | None = None, progress: ProgressCallback = no_progress
    ) -> None:
        """Let completed objects lie together: none reaches into another, each stands on what carries it.

        ids: those that may change, all others stay as they are; None = every object that is complete.
        Raises InputError for one that is not.  Nothing is changed where `resting` is switched off.
        """
        moving = set(self.objects) if ids is None else set(ids)
        if unknown := sorted(moving - set(self.objects)):
            raise InputError(f"Object {unknown[0]} is not complete; complete it first.")
        self.state = self._rested(self.state, moving, progress)

    def completed_alone(
        self,
        instance_id: InstanceId,
        num_samples: int | None = None,
        seed: int | None = None,
        progress: ProgressCallback = no_progress,
    ) -> SceneState:
        """The state with an object of the latest decomposition as it is by itself, not laid to rest among the
        others; the scene stays as it was."""
        known, clock = self.state.require_decomposition(), Stopwatch("complete")
        made = complete(known, instance_id, self.config, progress, num_samples=num_samples, seed=seed)
        return self.state.with_object(self._placed(made), clock.metrics())

    def _rested(
        self, state: SceneState, moving: Collection[InstanceId], progress: ProgressCallback
    ) -> SceneState:
        """The state with objects laid to rest among the others, which stay as they are."""
        if not self.config.resting.enabled or not moving:
            return state
        metrics: dict = {"seconds": {}}
        with timed("rest", metrics):
            known = state.require_decomposition()
            support, walls = known.instances.support, known.support.walls if known.support else ()
            planes = [*([] if support is None else [support]), *walls]
            result = lay_to_rest(state.objects, planes, known.up, self.config, moving, progress)
        moved = {str(number): moves.as_dict() for number, moves in result.moved.items()}
        metrics["resting"] = {**state.metrics.get("resting", {}), **moved}
        return state.with_objects(result.objects, metrics)

    def complete_all(
        self,
        num_samples: int | None = None,
        seed: int | None = None,
        progress: ProgressCallback = no_progress,
    ) -> dict[InstanceId, str]:
        """Complete every object, and lay them to rest together; by id, why those that could not be were not.

        Where `progress` cancels, what is complete by then stays, each as it is by itself.
        """
        if self.state.decomposition is None:
            self.segment(progress)
        ids = [instance.id for instance in self.require_instances().objects]
        known, completed = self.state.require_decomposition(), set()
        clock = Stopwatch("complete")

        def make(instance_id: InstanceId, report: ProgressCallback) -> CompletedObject:
            return complete(known, instance_id, self.config, report, num_samples=num_samples, seed=seed)

        def take(result: CompletedObject) -> None:
            self.state = self.state.with_object(self._placed(result), clock.metrics())
            completed.add(result.instance_id)

        failures = complete_each(ids, make, take, self.config.completion, progress)
        progress("complete", 1.0, f"{len(ids) - len(failures)} of {len(ids)} objects")
        self.state = self._rested(self.state, completed, progress)
        return failures

    def _placed(self, result: CompletedObject) -> CompletedObject:
        """With the world's offset, where there is one."""
        return replace(result, world_offset=self.world_offset) if self.world_offset.any() else result

    def check_plausibility(self) -> Verdict | None:
        """Whether poses, images and depth of the frames fit each other; None where that is not to be asked.

        Raises InputError where another reading of the recording clearly fits instead (`RecordingCheck`).
        """
        return self._check.verdict(self.state.frames, self.corrections)

    # ── frames ────────────────────────────────────────────────────────────────────────────────────

    def add_frame(self, frame: Frame) -> Frame | None:
        """Take one posed image; stages that ran before are redone on the next request.

        With `max_frames` in the scene already, the most redundant one, which may be the new one, has to go
        and is returned: memory stays bounded however long the camera runs.
        """
        state = self.state
        if any(frame.name == other.name for other in state.frames):
            raise InputError(f"A frame named '{frame.name}' is already in the scene.")
        self._begun.end_run()  # it is of other frames from now on
        if not state.frames and not state.world_offset.any():  # one that was set holds
            state = placed(state, frame)
        frame = localised(frame, state.world_offset)
        frames = [*state.frames, frame]
        if len(frames) <= self.config.max_frames:
            self.state = replace(state, frames=tuple(frames))
            return None
        gone = frames.pop(most_redundant(frames))
        known = state.reconstruction
        self.state = replace(
            state, frames=tuple(frames), reconstruction=known.without_frame(gone.name) if known else None
        )
        self._begun.drop(gone.name)
        return gone

    def work_ahead(self, seconds: float) -> bool:
        """Use idle time while frames still come: fold new ones into the Gaussians, and optimise.

        Takes about `seconds`; False when there is nothing to do before the next frame.  What is done here
        shortens the next `reconstruct`, which then only polishes.
        """
        return self._begun.ahead(self.state, self.config, seconds)

    # ── changes by hand ───────────────────────────────────────────────────────────────────────────

    def segment_at(
        self,
        frame: str = "",
        pixel: tuple[int, int] | None = None,
        point: np.ndarray | None = None,
        threshold: float | None = None,
        level: int = 0,
        preview: bool = False,
    ) -> editing.Selection:
        """The instance at a pixel (column, row) of a frame ("" = the newest), or at a point [3] in metres, of
        the world.

        Made where no mask ever was; a `threshold` other than τ grows or shrinks what is known, `level`
        steps to coarser (> 0) or finer (< 0) answers.  preview: only tell, change nothing.
        """
        offset = self.world_offset
        point = None if point is None else np.asarray(point, dtype=np.float64) - offset
        click = editing.click_on(self.state, self.config.click, frame, pixel, point)
        known = self.state.require_decomposition()
        instances, selection = editing.answer_click(
            click, known, self.config, self.state.ids.next_free, threshold, level
        )
        if not preview and instances is not known.instances:
            # A completed mesh is that of the extent it was made from.
            self.state = self.state.with_instances(instances)
        return replace(selection, point=selection.point + offset) if offset.any() else selection

    def remove(self, instance_id: InstanceId) -> removal.Removal:
        """An object was taken away: its Gaussians leave, the planes under and behind it are covered, its
        pixels no longer count."""
        state, result = removal.remove_instance(self.state, instance_id, self.config)
        self._replace(state, state.posed_frames)  # else the next reconstruction would bring it back
        return result

    def restore(
        self,
        gaussians: GaussianModel,
        frames: Sequence[Frame],
        instances: InstanceMap | None,
        objects: Mapping[InstanceId, CompletedObject] | None = None,
        background: torch.Tensor | None = None,
        highest_id: int = 0,
        metrics: Mapping | None = None,
        world_offset: np.ndarray | None = None,
    ) -> None:
        """Take over a scene that was reconstructed before, in place of the present one.

        gaussians: with instance features where there are instances; frames: those it was made from, with the
        poses it ended with; background: [3] colour; highest_id: ever given to an instance, also to one that
        is gone; metrics: of then; world_offset: [3] metres, see `SceneState`.
        """
        state = restored_state(
            self.config, gaussians, frames, instances, objects, background, highest_id, metrics, world_offset
        )
        self.reset()
        self.state = state
        self._begun.go_on_from(state, self.config)  # the next reconstruction goes on from these Gaussians

    def take_reconstruction(self, reconstructed: Reconstruction) -> None:
        """Take over a reconstruction of the scene's frames made elsewhere; InputError for other frames'."""
        if not reconstructed.explains(self.state.frames):
            raise InputError("The reconstruction is of other frames than the scene holds.")
        self._replace(self.state.with_reconstruction(reconstructed), reconstructed.posed_frames)

    def take_objects(
        self,
        objects: Sequence[CompletedObject],
        metrics: Mapping | None = None,
        progress: ProgressCallback = no_progress,
    ) -> None:
        """Take over objects of the latest decomposition that were completed elsewhere, each by itself
        (`completed_alone`), in place of all that there are, and lay them to rest together, as `complete_all`
        does.

        metrics: of their completion.
        """
        taken = {thing.instance_id: thing for thing in objects}
        for instance_id in taken:
            _ = self.require_instances()[instance_id]  # InputError for one that is of another scene
        self.state = self._rested(self.state.with_objects(taken, metrics or {}), taken.keys(), progress)

    # ── reading (the rest is SceneReading's) ──────────────────────────────────────────────────────

    @property
    def psnr(self) -> float:
        """dB, mean over the training views, of the newest reconstruction; NaN before there is one.

        While a `run` goes on this is the reconstruction it has made, if it has got so far.
        """
        begun = self._begun.psnr
        return float(self.state.metrics.get("psnr", math.nan) if begun is None else begun)

    def note(self, metrics: Mapping) -> None:
        """Put among the metrics what whoever fills the scene knows of its frames."""
        self.state = replace(self.state, metrics=merged_metrics(self.state.metrics, metrics))

    def evaluate_held_out(self, frames: Sequence[Frame]) -> None:
        """Note how well the Gaussians predict frames (of the world) they were not trained on."""
        local = [localised(frame, self.world_offset) for frame in frames]
        summary = reconstruction.evaluate(
            self.require_gaussians(),
            without_bend(local, self.state.require_reconstruction().bends),
            background=self._background,
            align=self._poses_moved,
        ).summary()
        noted = {f"held_out_{name}": value for name, value in summary.items()}
        self.note({**noted, "held_out_frames": len(frames)})

    def _replace(self, state: SceneState, frames: Sequence[Frame]) -> None:
        """Assign the new state; where its Gaussians are new, work ahead goes on from them on these frames."""
        before, self.state = self.state.reconstruction, state
        self._begun.end_run()
        if state.reconstruction is not before:
            self._begun.adopt(state, frames)
