"""Reconstruction: posed frames → 2D Gaussians (Huang et al. 2024; InstaScene, section 3)."""

import logging
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from instascene_core.config import ReconstructionConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.reconstruction.background import BackgroundColor
from instascene_core.reconstruction.densification import (
    ScreenPull,
    make_strategy,
    reset_opacities,
)
from instascene_core.reconstruction.exposure import ExposureModel
from instascene_core.reconstruction.initialisation import initialise
from instascene_core.reconstruction.normal_prior import add_normal_prior
from instascene_core.reconstruction.poses import PoseRates, PoseRefiner, add_normal_torque
from instascene_core.reconstruction.views import View, scale_view, typical_depth
from instascene_core.rendering import ModelGradients, choose_device, device_name, make_training_pass
from instascene_core.rendering.fused import add_depth_loss, add_normal_consistency, write_photometric
from instascene_core.rendering.optimiser import PARAMETERS, GaussianOptimiser
from instascene_core.time_budget import require_time, within

logger = logging.getLogger(__name__)

FIRST_SHARE = 0.75  # of the budget is placed at the start; the rest goes where the images want more
_RESET_OPACITY = 2.0  # opacity after a reset over the opacity that is culled


@dataclass(frozen=True)
class HistoryEntry:
    """Where training stood at one moment."""

    iteration: int
    seconds: float
    psnr: float  # dB, mean over the views trained on since the last entry
    gaussians: int


@dataclass(frozen=True)
class ReconstructionResult:
    """The scene as Gaussians, and how it came about."""

    gaussians: GaussianModel
    psnr_train: float  # dB, mean over the last views trained on
    seconds: float
    iterations: int
    history: tuple[HistoryEntry, ...]
    world_from_camera: np.ndarray  # [F, 4, 4] float64 in the frames' order: as given, or refined
    background: torch.Tensor | None  # [3] colour to render behind the Gaussians; None = black
    device: str = "cpu"  # what computed: "cpu" or the name of the GPU; all tensors here are on the CPU
    # Per frame [H, W] float32 metres that stereo of colours found (0 = none), None for frames beside those;
    # () where a sensor measured
    estimated_depth: tuple[np.ndarray | None, ...] = ()


def reconstruct(
    frames: list[Frame],
    config: ReconstructionConfig | None = None,
    progress: ProgressCallback = no_progress,
    initial: GaussianModel | None = None,
    background: torch.Tensor | None = None,
    iterations: int | None = None,
    time_budget_s: float | None = None,
    begin: float = 0.0,
) -> ReconstructionResult:
    """Optimise 2D Gaussians on `frames` (undistorted, posed; depth where there is any).

    `initial` and `background` [3] continue from what is given instead of initialising; all schedules
    then start at the fraction `begin` of a run.  `iterations` and `time_budget_s` overrule the config; with
    a time budget, schedules follow whichever of the two runs out first.  Same input, seed and thread count
    without time budget → same result.
    Raises InputError with fewer than two frames, when nothing can be initialised, or when that takes all of
    the time budget.
    """
    config = config or ReconstructionConfig()
    if len(frames) < 2:
        raise InputError(f"Reconstruction needs at least 2 posed frames, got {len(frames)}.")
    start = time.perf_counter()
    time_budget_s = config.time_budget_s if time_budget_s is None else time_budget_s
    end = start + time_budget_s if time_budget_s > 0 else math.inf
    if iterations is None:
        iterations = config.pose_iterations if config.refine_poses else config.iterations
    depth_weight, estimated = config.depth_weight, ()
    if initial is None:
        count = int(FIRST_SHARE * gaussian_budget(frames, config))
        found = initialise(frames, count, within(progress, end))
        initial, frames = found.gaussians, found.frames
        if not found.depth_is_measured:
            depth_weight, estimated = config.stereo_depth_weight, tuple(frame.depth for frame in frames)
    config = replace(
        config,
        depth_weight=depth_weight,
        iterations=iterations,
        time_budget_s=time_budget_s,
    )
    require_time(end, "initialised")
    trainer = Trainer(frames, initial, config, start, background, begin)
    while not trainer.finished:
        trainer.step()
        if trainer.iteration % 20 == 0:
            progress("reconstruct", trainer.fraction, trainer.message)
    progress("reconstruct", 1.0, trainer.message)
    result = trainer.result()
    if not bool(torch.isfinite(result.gaussians.means).any()):
        raise RuntimeError(
            f"Training on {result.device} has lost all Gaussians: none has a finite position after "
            f"{result.iterations} iterations."
        )
    return replace(result, estimated_depth=estimated)


class Trainer:
    """One training run, a view an iteration."""

    def __init__(
        self,
        frames: list[Frame],
        initial: GaussianModel,
        config: ReconstructionConfig,
        start: float | None = None,  # perf_counter() that seconds and the time budget count from
        background: torch.Tensor | None = None,  # [3] colour to start from
        begin: float = 0.0,  # fraction of a run that counts as done already
    ) -> None:
        self.config = config
        self.iteration = 0
        self._begin = begin
        self._start = time.perf_counter() if start is None else start
        self._frames = frames
        self._device = choose_device(config.device)
        self._optimiser = GaussianOptimiser(initial.to(self._device))
        self._depth_scale = typical_depth(initial, frames)
        self._views: dict[float, dict[str, View]] = {}  # by factor and frame name
        self._generator = np.random.default_rng(config.seed)
        self._queue: list[int] = []
        self._pass = make_training_pass(self._device)
        self._pull = ScreenPull(len(initial), self._device)
        budget = max(gaussian_budget(frames, config), len(initial))
        self._strategy = make_strategy(config, self._depth_scale, budget)
        rate, device = config.exposure_lr, self._device
        self._exposure = ExposureModel(len(frames), rate, device) if config.exposure else None
        self._poses = make_pose_refiner(config, frames, self._depth_scale) if config.refine_poses else None
        self._poses_judged = False
        learned = config.learn_background
        rate = config.background_lr
        self._background = BackgroundColor(frames, rate, background, device) if learned else None
        self._recent_mse: list[float] = []
        self._history: list[HistoryEntry] = []

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────

    @property
    def fraction(self) -> float:
        """How much of the run is behind us, by iterations or by time."""
        done = self.iteration / max(1, self.config.iterations)
        if self.config.time_budget_s > 0:
            done = max(done, (time.perf_counter() - self._start) / self.config.time_budget_s)
        return self._begin + (1 - self._begin) * min(1.0, done)

    @property
    def finished(self) -> bool:
        return self.fraction >= 1.0

    @property
    def message(self) -> str:
        count = f"{len(self._optimiser)} Gaussians"
        return f"{count}, {self._history[-1].psnr:.1f} dB" if self._history else count

    def step(self) -> None:
        """One iteration: render a view, compare, step, and now and then refine the set of Gaussians."""
        fraction = self.fraction
        index = self._next_index()
        view = self._view(index, fraction)
        self._grow_sh(fraction)
        gradients = self._gradients(index, view)
        by_name = {name: getattr(gradients, name) for name in PARAMETERS}
        self._optimiser.step(by_name, self._learning_rates(fraction))
        if self._poses is not None and fraction >= self.config.pose_start:
            share = self.config.pose_lr_final_share**fraction
            self._poses.step(index, gradients.world_from_camera, share)
        self.iteration += 1
        if self._poses is not None and not self._poses_judged and fraction >= self.config.pose_judged:
            self._judge(self._poses)
        if fraction < self.config.refine_until:
            self._refine()
        if self.iteration % 50 == 0 and self._recent_mse:
            self._note_history()

    def result(self) -> ReconstructionResult:
        """What has been reached so far (callable at any time)."""
        if self._recent_mse:
            self._note_history()
        return ReconstructionResult(
            gaussians=self._optimiser.model.detached().to("cpu"),
            psnr_train=self._history[-1].psnr if self._history else float("nan"),
            seconds=time.perf_counter() - self._start,
            iterations=self.iteration,
            history=tuple(self._history),
            world_from_camera=np.stack([self._pose(i) for i in range(len(self._frames))]),
            background=None if self._background is None else self._background.color.detach().cpu().clone(),
            device=device_name(self._device),
        )

    # ── its parts ─────────────────────────────────────────────────────────────────────────────────

    def _gradients(self, index: int, view: View) -> ModelGradients:
        """Render, compare, differentiate: L = photometric + normals + distortion + depth."""
        config = self.config
        pose = self._pose(index)
        behind = None if self._background is None else self._background.color
        images = self._pass.render(self._optimiser.model, view.camera, pose, background=behind)
        back = self._pass.image_gradients
        target = view.color()
        color = images.color if self._exposure is None else self._exposure.apply(index, images.color)
        write_photometric(color, target, back.color, config.ssim_weight, view.valid)
        square = (color - target) ** 2
        counted = square if view.valid is None else square[view.valid]
        if counted.numel():  # of a frame that is masked as a whole there is no error, not even NaN
            self._recent_mse.append(float(counted.cpu().numpy().mean()))  # torch's mean varies with threads
        if self._exposure is not None:
            back.color.copy_(self._exposure.backward(index, images.color, back.color))
        if self._background is not None:
            self._background.step(back.color, images.alpha)
        if config.normal_weight > 0:
            add_normal_consistency(images, view.camera, torch.from_numpy(pose), config.normal_weight, back)
        if view.normals is not None and config.normal_prior_weight > 0:
            add_normal_prior(view.normals, pose, config.normal_prior_weight, back.normal)
        if config.distortion_weight > 0:
            back.distortion.fill_(config.distortion_weight / back.distortion.numel())
        if config.depth_weight > 0 and view.depth is not None and view.trust is not None:
            add_depth_loss(images.depth, view.depth, view.trust, config.depth_weight, back.depth)
        gradients = self._pass.backward(distortion=config.distortion_weight > 0)
        if self._poses is not None:
            add_normal_torque(images, back, pose, gradients.world_from_camera)
        self._pull.add(gradients.screen * (0.5 * view.camera.width))
        return gradients

    def _refine(self) -> None:
        """Every so many iterations: densify and cull, or make the strategy's Gaussians prove themselves."""
        config = self.config
        if self.iteration % config.refine_every == 0:
            self._strategy.refine(self._optimiser, self._pull)
            self._pull.reset(len(self._optimiser))
        every = self._strategy.reset_every
        if every > 0 and self.iteration % every == 0:
            reset_opacities(self._optimiser, _RESET_OPACITY * config.min_opacity)

    def _judge(self, poses: PoseRefiner) -> None:
        """Go back to the given poses for the rest of the run where refining hardly moved the images.

        Noise of the gradients moves exact poses, too: by fractions of a pixel, and to the scene's harm.
        """
        self._poses_judged = True
        camera = self._frames[0].camera.scaled(training_scale(self._frames, self.config))
        pixels = poses.image_motion() * camera.fx
        logger.info("pose refinement has moved the images by %.2f pixels", pixels)
        if pixels < self.config.pose_min_pixels:
            self._poses = None

    def _pose(self, index: int) -> np.ndarray:
        """[4, 4] world_from_camera of a frame, as given or refined so far."""
        return self._frames[index].world_from_camera if self._poses is None else self._poses.pose(index)

    def _learning_rates(self, fraction: float) -> dict[str, float]:
        config, begin = self.config, self.config.lr_decays_from
        decayed = max(0.0, fraction - begin) / max(1e-9, 1 - begin)  # 0 … 1
        share = config.lr_final_share**decayed
        return {
            "means": config.means_lr * config.means_lr_final_share**fraction * self._depth_scale,
            "quaternions": config.quaternions_lr * share,
            "log_scales": config.scales_lr * share,
            "logit_opacities": config.opacities_lr * share,
            "sh": config.sh_lr * share,
        }

    def _grow_sh(self, fraction: float) -> None:
        degree = self._optimiser.model.sh_degree
        if degree < self.config.sh_degree and fraction > (degree + 1) * 0.2:
            self._optimiser.raise_sh_degree()

    def _next_index(self) -> int:
        if not self._queue:  # every frame once a round, in a new order each time
            self._queue = self._generator.permutation(len(self._frames)).tolist()
        return self._queue.pop()

    def _view(self, index: int, fraction: float) -> View:
        """The frame at the resolution this moment of training calls for: coarse to fine."""
        level = sum(fraction >= start for start in self.config.finer_at)
        factor = training_scale(self._frames, self.config) * 0.5 ** (len(self.config.finer_at) - level)
        if factor not in self._views:
            self._views = {factor: {}}  # training does not go back to a coarser one
        return self._scaled(index, factor)

    def _scaled(self, index: int, factor: float) -> View:
        """The frame at `factor` of its size, made once."""
        frame, views = self._frames[index], self._views.setdefault(factor, {})
        if frame.name not in views:
            views[frame.name] = scale_view(frame, factor, self._depth_scale).to(self._device)
        return views[frame.name]

    def _note_history(self) -> None:
        psnr = -10 * np.log10(np.maximum(self._recent_mse, 1e-10)).mean()
        seconds = time.perf_counter() - self._start
        self._history.append(HistoryEntry(self.iteration, seconds, float(psnr), len(self._optimiser)))
        self._recent_mse = []


def training_scale(frames: list[Frame], config: ReconstructionConfig) -> float:
    """Factor ≤ 1 by which images are shrunk at the finest stage of training."""
    pixels = max(frame.camera.width * frame.camera.height for frame in frames)
    return min(1.0, (config.max_pixels / pixels) ** 0.5)


def gaussian_budget(frames: list[Frame], config: ReconstructionConfig) -> int:
    """How many Gaussians these frames are worth: images of more pixels show more detail."""
    pixels = max(frame.camera.width * frame.camera.height for frame in frames)
    pixels *= training_scale(frames, config) ** 2
    return max(1, min(config.max_gaussians, int(config.gaussians_per_pixel * pixels / FIRST_SHARE)))


def make_pose_refiner(config: ReconstructionConfig, frames: list[Frame], scale: float) -> PoseRefiner:
    """Starts from the frames' poses; `scale` is the typical depth of the scene."""
    rates = PoseRates(config.pose_rotation_lr, config.pose_translation_lr, config.pose_prior)
    return PoseRefiner(np.stack([frame.world_from_camera for frame in frames]), scale, rates)
