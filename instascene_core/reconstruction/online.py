"""Reconstruction while the camera still moves: frames are folded in as they arrive.

A frame adds Gaussians where the model does not explain it yet; between frames the model is optimised
on the newest frames and on others drawn at random, with its schedules standing still.
What is left to do after the last frame is a short polish (`OnlineReconstruction.polish`).

It needs a depth sensor.  From colour alone a surface is known only once it was seen from several sides;
models started on what a few frames agree on came out 10 dB worse than from all frames at once.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from instascene_core.config import ReconstructionConfig
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel, gaussians_from_points
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.reconstruction.densification import make_strategy
from instascene_core.reconstruction.initialisation import back_project, thin_out
from instascene_core.reconstruction.trainer import (
    ReconstructionResult,
    Trainer,
    gaussian_budget,
    reconstruct,
    training_scale,
)
from instascene_core.reconstruction.views import View
from instascene_core.rendering import rasterize
from instascene_core.rendering.optimiser import PARAMETERS
from instascene_core.transforms import image_motion

_MIN_COVERAGE = 0.5  # alpha below which the model does not explain a pixel
_DEPTH_TOLERANCE = 0.02  # relative depth by which a measured surface may lie before the rendered one
_MIN_NEW_POINTS = 30  # fewer unexplained pixels are edges and noise
_WIDEST = 0.7  # standard deviation of a new disk over the side of the square that its pixels would fill
# Pixels by which poses may have been corrected since, median over the frames: from a surface that was fused
# from other poses a polish ended 4 dB below a reconstruction.
_POSES_KEPT = 0.5
_ONLINE_SHARE = 0.9  # of the budget that densification may fill while frames arrive


class OnlineReconstruction:
    """Grows a model frame by frame; memory is bounded by the frames held and by `max_gaussians`."""

    def __init__(self, config: ReconstructionConfig) -> None:
        self._config = config
        self._trainer: _OnlineTrainer | None = None
        self._waiting: list[Frame] = []  # until there is a first surface

    def adopt(
        self, frames: Sequence[Frame], gaussians: GaussianModel, background: torch.Tensor | None
    ) -> None:
        """Go on from a finished model and the frames it explains (from these alone if they have no depth)."""
        if not any(map(_has_depth, frames)):
            self._trainer, self._waiting = None, list(frames)
            return
        trainer = _OnlineTrainer(list(frames), gaussians, self._config, background)
        trainer.iteration = trainer.last_iteration
        self._trainer, self._waiting = trainer, []

    @property
    def names(self) -> set[str]:
        """Of the frames taken so far."""
        frames = self._waiting if self._trainer is None else [*self._trainer.frames, *self._waiting]
        return {frame.name for frame in frames}

    @property
    def gaussians(self) -> GaussianModel | None:
        """The model so far (a copy), None before the first surface."""
        return None if self._trainer is None else self._trainer.model.detached().to("cpu")

    @property
    def background(self) -> torch.Tensor | None:
        """[3] colour behind the model, where one is learned."""
        return None if self._trainer is None else self._trainer.background

    def add(self, frame: Frame) -> None:
        """Fold a frame in: new Gaussians where it shows what the model does not.

        A frame without depth is only optimised on, once others have brought a surface.
        """
        new = self._unexplained(frame)
        if self._trainer is not None:
            self._trainer.fold_in(frame, new)
        elif new is None:
            self._waiting.append(frame)
        else:
            seen, self._waiting = [*self._waiting, frame], []
            self._trainer = _OnlineTrainer(seen, new, self._config)

    def drop(self, name: str) -> None:
        """Forget a frame; what the model learned from it stays."""
        self._waiting = [frame for frame in self._waiting if frame.name != name]
        if self._trainer is not None:
            self._trainer.drop(name)

    def work(self, seconds: float) -> bool:
        """Optimise for about `seconds`; False when there is nothing to do until the next frame."""
        end = time.perf_counter() + seconds
        while self._trainer is not None and self._trainer.wants_work:
            self._trainer.step()
            if time.perf_counter() > end:
                return self._trainer.wants_work
        return False

    def polish(
        self,
        frames: list[Frame],
        progress: ProgressCallback = no_progress,
        iterations: int | None = None,
        time_budget_s: float | None = None,
    ) -> ReconstructionResult | None:
        """Finish on all `frames` from what there is; None when that is too little, or was made with other
        poses than the frames have by now (reconstruct instead).

        iterations, time_budget_s: None takes `polish_iterations` and `polish_time_s`, after what idle time
        has not sufficed for of `online_least_share`: asked for at once or on a busy machine, the scene
        takes longer and is no worse.
        """
        config = self._config
        limited = iterations is None and time_budget_s is None
        if self._trainer is None or (limited and self._trainer.num_lacking > config.iterations):
            return None
        if self._trainer.pixels_off(frames) > _POSES_KEPT:
            return None
        if limited:
            self._catch_up(self._trainer, progress)
            if config.polish_time_s > 0:
                least = config.polish_least * self._trainer.seconds_per_step
                time_budget_s = max(config.polish_time_s, least)
        return reconstruct(
            frames,
            config,
            progress,
            initial=self._trainer.model.detached(),
            background=self.background,
            iterations=config.polish_iterations if iterations is None else iterations,
            time_budget_s=time_budget_s,
            begin=config.polish_begin,
        )

    def _catch_up(self, trainer: "_OnlineTrainer", progress: ProgressCallback) -> None:
        """The iterations without which a polish would start from too little."""
        total = trainer.num_lacking
        while trainer.num_lacking:
            trainer.step()
            if trainer.num_lacking % 20 == 0:
                done = 1 - trainer.num_lacking / total
                progress("reconstruct", self._config.polish_begin * done, trainer.message)

    def _unexplained(self, frame: Frame) -> GaussianModel | None:
        """Gaussians for the surface that a frame shows and the model does not; None where that is little."""
        if frame.depth is None or not _has_depth(frame):
            return None
        where = frame.depth > 0
        if self._trainer is not None:
            # Half its training resolution is enough to see what is new.
            half = frame.camera.scaled(0.5 * training_scale([frame], self._config))
            small = frame.resized(half.width, half.height)
            assert small.depth is not None  # resizing keeps what the frame has
            rendered = self._trainer.render(small)
            nearer = small.depth < (1 - _DEPTH_TOLERANCE) * rendered.depth.cpu().numpy()
            where &= _enlarge((rendered.alpha.cpu().numpy() < _MIN_COVERAGE) | nearer, where.shape)
        if where.sum() < _MIN_NEW_POINTS:
            return None
        points = back_project(frame, stride=1, where=where)
        if len(points) < _MIN_NEW_POINTS:
            return None
        pixels = len(points) * training_scale([frame], self._config) ** 2
        density = self._config.online_density * self._config.gaussians_per_pixel
        points = thin_out(points, max(1, int(density * pixels)))
        new = gaussians_from_points(points)
        # In slivers the nearest neighbours are far: no disk is wider than the pixels it was made from.
        widest = np.log(_WIDEST * points.column("footprints") * np.sqrt(points.column("importances")))[
            :, None
        ]
        new.log_scales = torch.minimum(new.log_scales, torch.from_numpy(widest.astype(np.float32)))
        return new


class _OnlineTrainer(Trainer):
    """A training run whose frames and Gaussians grow, with its schedules standing still."""

    def __init__(
        self,
        frames: list[Frame],
        initial: GaussianModel,
        config: ReconstructionConfig,
        background: torch.Tensor | None = None,
    ) -> None:
        # Gains and poses of frames are left to the polish, which knows all of them.
        config = replace(config, exposure=False, refine_poses=False, time_budget_s=0.0)
        super().__init__(frames, initial, config, background=background, begin=config.online_fraction)
        budget = int(
            _ONLINE_SHARE * gaussian_budget(frames, config)
        )  # the rest is for what is yet to be seen
        self._strategy = make_strategy(config, self._depth_scale, max(budget, len(initial)))
        self.last_iteration = config.online_iterations * len(frames)
        self._steps, self._step_seconds = 0, 0.0

    @property
    def model(self) -> GaussianModel:
        return self._optimiser.model

    @property
    def frames(self) -> list[Frame]:
        return self._frames

    @property
    def background(self) -> torch.Tensor | None:
        return None if self._background is None else self._background.color.detach().cpu().clone()

    @property
    def fraction(self) -> float:
        return self._begin

    @property
    def seconds_per_step(self) -> float:
        """The mean so far, 0 before the first."""
        return self._step_seconds / max(1, self._steps)

    def step(self) -> None:
        start = time.perf_counter()
        super().step()
        self._steps += 1
        self._step_seconds += time.perf_counter() - start

    @property
    def num_lacking(self) -> int:
        """Iterations to go until the frames so far have had the least that a polish can start from."""
        least = round(self.config.online_least_share * self.last_iteration)
        return max(0, least - self.iteration) if self._frames else 0

    @property
    def wants_work(self) -> bool:
        """Whether the frames so far have not had their share of iterations."""
        return bool(self._frames) and self.iteration < self.last_iteration

    def pixels_off(self, frames: Sequence[Frame]) -> float:
        """By how much the images of `frames` move against the poses trained with: median of those known."""
        known = {frame.name: frame for frame in self._frames}
        pairs = [(known[frame.name], frame) for frame in frames if frame.name in known]
        if not pairs:
            return 0.0
        before, now = (np.stack([pair[i].world_from_camera for pair in pairs]) for i in (0, 1))
        focal = np.array([frame.camera.fx for _, frame in pairs])
        return float(np.median(image_motion(now, before, self._depth_scale) * focal))

    def render(self, frame: Frame):
        """The model as `frame` should see it."""
        with torch.no_grad():
            return rasterize(self.model, frame.camera, frame.world_from_camera, distortion=False)

    def fold_in(self, frame: Frame, new: GaussianModel | None) -> None:
        """Train on `frame` as well, and on the Gaussians it brings."""
        self._frames.append(frame)
        self.last_iteration += self.config.online_iterations
        if new is None:
            return
        budget = gaussian_budget([frame], self.config)
        new = new.select(torch.arange(len(new)) < budget)
        keep = torch.ones(len(self._optimiser), dtype=torch.bool)
        excess = len(keep) + len(new) - budget
        if excess > 0:  # room for what is seen now: those go that hide the least, their neighbours can grow
            area = self.model.log_scales.sum(dim=-1).exp()
            keep[(self.model.opacities * area).argsort(stable=True)[:excess].cpu()] = False
        rows = {name: getattr(new, name) for name in PARAMETERS}
        rows["sh"] = torch.zeros(len(new), *self.model.sh.shape[1:])
        rows["sh"][:, : new.sh.shape[1]] = new.sh
        self._optimiser.rebuild(keep, rows)
        self._pull.rebuild(keep, len(new))

    def drop(self, name: str) -> None:
        self._frames = [frame for frame in self._frames if frame.name != name]
        for views in self._views.values():
            views.pop(name, None)

    def _view(self, index: int, fraction: float) -> View:
        """Half of the time at full resolution: new surfaces settle fast in small images, detail does not."""
        fine = self._generator.random() < self.config.online_fine_share
        return self._scaled(index, training_scale(self._frames[:1], self.config) * (1.0 if fine else 0.5))

    def _next_index(self) -> int:
        """One of the newest frames, or any: what was learned must not be forgotten."""
        count, config = len(self._frames), self.config
        if self._generator.random() < config.online_newest_share:
            return count - 1 - int(self._generator.integers(min(count, config.online_window)))
        return int(self._generator.integers(count))


def _has_depth(frame: Frame) -> bool:
    return frame.depth is not None and bool((frame.depth > 0).any())


def _enlarge(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A bool image at another size, by nearest pixel."""
    import cv2

    return cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
