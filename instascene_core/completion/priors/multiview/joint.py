"""Joint optimisation: the instance's 2D Gaussians from what was observed and what was generated.

InstaScene, section on in-situ generation: the object's Gaussians are fine-tuned on the original observations
and the generated views together.  The disks start on the completed surface and are held there by its depth
and normals, so what they tell are colours; a generated pixel counts only where no observed view knows the
place, as far as the neighbouring generated views agree with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.multiview.agreement import agreement
from instascene_core.completion.priors.multiview.disks import disks_on
from instascene_core.completion.priors.multiview.inputs import GeneratedViews
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.targets import (
    Target,
    generated_targets,
    observed_targets,
)
from instascene_core.config.multiview import JointConfig
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import TriangleMesh
from instascene_core.rendering import TrainingPass
from instascene_core.rendering.fused import add_depth_loss
from instascene_core.rendering.optimiser import PARAMETERS, GaussianOptimiser
from instascene_core.rendering.view import ImageGradients, RasterImages
from instascene_core.threads import one_thread

_TOLD = 10  # steps between two reports of the progress, at which the caller may stop


@dataclass(frozen=True)
class JointResult:
    """The optimised disks, in the object-normalised frame."""

    gaussians: GaussianModel
    steps: int  # until the best held-out residual
    residuals: tuple[float, ...]  # root mean square of the held-out pixels' colour errors, check by check


def optimise(
    start: GaussianModel,
    targets: Sequence[Target],
    config: JointConfig,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> JointResult:
    """The disks that reproduce the targets best, a view a step; stops when held-out pixels do not improve.

    progress: called with the steps done and their number now and then; may raise to stop.
    Same arguments, same bits, for any number of threads.
    """
    loop = _Loop(start, targets, config, seed)
    best, best_model, residuals, worse = np.inf, start, [], 0
    best_step = 0
    for step in range(config.steps + 1):
        if step % _TOLD == 0:
            progress(step, config.steps)
        if step % config.check_every == 0:
            residuals.append(loop.residual())
            if residuals[-1] < best * (1 - config.least_gain):
                worse = 0
            else:
                worse += 1
            if residuals[-1] < best:
                best, best_model, best_step = residuals[-1], loop.model.detached(), step
            if worse > config.patience:
                break
        if step < config.steps:
            loop.step(step)
    return JointResult(best_model, best_step, tuple(residuals))


def write_gradients(
    images: RasterImages, target: "Tensors", share: float, config: JointConfig, back: ImageGradients
) -> None:
    """Gradients by the images of

    share · mean(w · ρ(color − rgb)) + normal_weight · mean(g · (alpha − normal · n)) + alpha_weight ·
    mean((alpha − coverage)²) + depth_weight · (`rendering.losses.depth_loss`)

    over the pixels, ρ(x) = √(x² + robust²) summed over the channels (Charbonnier): of one opinion the mean,
    of contradicting ones rather the median.  w: weights; g: 1 where the completed surface, of normal n,
    guides.  back: zero, to be filled.
    """
    size = target.weight.numel()
    off = images.color - target.rgb
    slope = off / torch.sqrt(off**2 + config.robust**2)
    torch.mul(slope, (share / size) * target.weight[..., None], out=back.color)
    back.normal.sub_((config.normal_weight / size) * target.normals)
    back.alpha.add_((config.normal_weight / size) * target.guided)
    if target.coverage is not None:
        back.alpha.add_((2 * config.alpha_weight / size) * (images.alpha - target.coverage))
    add_depth_loss(images.depth, target.depth, target.guided, config.depth_weight, back.depth)


class _Loop:
    """Adam over the disks; images and gradients by the kernel."""

    def __init__(self, start: GaussianModel, targets: Sequence[Target], config: JointConfig, seed: int):
        self.config, self.targets = config, targets
        self._optimiser, self._pass = GaussianOptimiser(start), TrainingPass()
        self._rng, self._queue = np.random.default_rng(seed), []
        self._images = [Tensors.of(target) for target in targets]
        self._rates = {
            "means": config.means_rate,
            "quaternions": config.rotation_rate,
            "log_scales": config.scale_rate,
            "logit_opacities": config.opacity_rate,
            "sh": config.color_rate,
        }

    @property
    def model(self) -> GaussianModel:
        return self._optimiser.model

    def step(self, index: int) -> None:
        config = self.config
        if not self._queue:
            self._queue = self._rng.permutation(len(self.targets)).tolist()
        k = self._queue.pop()
        target, tensors = self.targets[k], self._images[k]
        images = self._pass.render(self.model, target.camera, target.frame_from_camera)
        share = 1.0 if target.observed else config.generated
        write_gradients(images, tensors, share, config, self._pass.image_gradients)
        gradients = self._pass.backward()
        fade = config.final_rate ** (index / config.steps)
        by_name = {name: getattr(gradients, name) for name in PARAMETERS}
        self._optimiser.step(by_name, {name: fade * rate for name, rate in self._rates.items()})

    def residual(self) -> float:
        """Root mean square colour error of the held-out pixels, by their weights."""
        total = count = 0.0
        for target in self.targets:
            color = self._pass.render(self.model, target.camera, target.frame_from_camera).color.numpy()
            weight = (target.weight * target.held).astype(np.float64)
            total += float((((color - target.rgb) ** 2).mean(axis=-1) * weight).sum())
            count += float(weight.sum())
        return float(np.sqrt(total / max(count, 1e-9)))


@dataclass(frozen=True)
class Tensors:
    """A target as the loop needs it."""

    rgb: torch.Tensor  # [H, W, 3]
    weight: torch.Tensor  # [H, W], 0 where held out
    depth: torch.Tensor  # [H, W]
    guided: torch.Tensor  # [H, W]: 1 where the completed surface guides
    normals: torch.Tensor  # [H, W, 3], 0 where it does not
    coverage: torch.Tensor | None  # [H, W]

    @classmethod
    def of(cls, target: Target) -> "Tensors":
        guided = (target.depth > 0).astype(np.float32)
        return cls(
            torch.from_numpy(target.rgb.astype(np.float32)),
            torch.from_numpy(np.where(target.held, 0, target.weight).astype(np.float32)),
            torch.from_numpy(target.depth),
            torch.from_numpy(guided),
            torch.from_numpy(target.normals * guided[..., None]),
            None if target.coverage is None else torch.from_numpy(target.coverage.astype(np.float32)),
        )


def fine_tuned(
    painted: PaintedSurface,
    observation: Observation,
    mesh: TriangleMesh,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PaintedSurface:
    """The painted surface with the object's Gaussians, optimised on observed and generated views.

    mesh: the completed body, world; progress: as in `optimise`.
    """
    frame, config = painted.frame, painted.config
    joint, body = config.joint, TriangleMesh(frame.from_world(mesh.vertices), mesh.triangles)
    rgb = np.mean([views.rgb for views in painted.views], axis=0)
    depth = painted.geometry.depth
    sure = agreement(rgb, depth, painted.ring, config.same_place, config.agreement)
    made = GeneratedViews(rgb.astype(np.float32), depth, painted.geometry.coverage)
    rng = np.random.default_rng(seed)
    targets = generated_targets(
        painted.ring, painted.geometry, made, np.where(painted.known, 0, sure), joint.held_out, rng
    )
    near = config.same_depth + 3 * observation.noise / frame.radius
    targets += observed_targets(
        observation.views, body, frame, joint.observed_side, near, joint.held_out, rng
    )
    with one_thread():
        start = disks_on(
            body, joint.spacing, joint.disks, lambda points: _first_colors(painted, observation, points), seed
        )
        result = optimise(start, targets, joint, seed, progress)
    return replace(painted, gaussians=result.gaussians)


def _first_colors(painted: PaintedSurface, observation: Observation, points: np.ndarray) -> np.ndarray:
    """[N, 3] in [0, 1] at points [N, 3] of the frame: as the views show them, else the nearest observed."""
    from scipy.spatial import cKDTree

    world = painted.frame.to_world(points)
    colors, _ = painted.colors(world)
    seen = observation.points
    _, nearest = cKDTree(seen.positions).query(world)
    return np.where(np.isfinite(colors), colors, seen.column("colors")[nearest]) / 255
