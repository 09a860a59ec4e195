"""Where Gaussians are added and dropped while training: strategies with the same methods.

A new one is a class here, a line in `STRATEGIES` and its name among the settings.

Both judge by how strongly the image error pulls a Gaussian across the screen (Kerbl et al. 2023,
section 5).
"""

import math
from typing import Protocol

import torch

from instascene_core.config import ReconstructionConfig
from instascene_core.errors import InputError
from instascene_core.rendering.optimiser import PARAMETERS, GaussianOptimiser


class DensificationStrategy(Protocol):
    """Decides which Gaussians go and where new ones come."""

    reset_every: int  # iterations after which all opacities are lowered; 0 = never

    def refine(self, optimiser: GaussianOptimiser, pull: "ScreenPull") -> None:
        """Densify and cull; `pull` must be reset afterwards."""
        ...


class ScreenPull:
    """Mean screen gradient of each Gaussian over the views that saw it since the last `reset`."""

    def __init__(self, n: int, device: torch.device | str = "cpu") -> None:
        self._device = device
        self.reset(n)

    def reset(self, n: int) -> None:
        self._sum = torch.zeros(n, device=self._device)
        self._views = torch.zeros(n, device=self._device)

    def add(self, gradients: torch.Tensor) -> None:
        """gradients [N]: |∂L/∂ projected mean| of one view, per half image width; 0 = not seen."""
        self._sum += gradients
        self._views += gradients > 0

    def rebuild(self, keep: torch.Tensor, added: int) -> None:
        """Follow Gaussians that are kept (bool mask) and appended, as `GaussianOptimiser.rebuild`."""
        keep, new = keep.to(self._device), torch.zeros(added, device=self._device)
        self._sum = torch.cat([self._sum[keep], new])
        self._views = torch.cat([self._views[keep], new])

    @property
    def mean(self) -> torch.Tensor:
        """[N], 0 for Gaussians no view has seen."""
        return self._sum / self._views.clamp(min=1)

    @property
    def seen(self) -> torch.Tensor:
        """[N] bool."""
        return self._views > 0


class GradientStrategy:
    """As in the paper: clone small, split large Gaussians whose pull exceeds a threshold."""

    def __init__(
        self,
        extent: float,
        threshold: float,
        max_gaussians: int,
        min_opacity: float,
        seed: int,
        reset_every: int = 0,
    ) -> None:
        self.reset_every = reset_every
        self._extent = extent  # of the scene, world units
        self._threshold = threshold
        self._max = max_gaussians
        self._min_opacity = min_opacity
        self._generator = torch.Generator().manual_seed(seed)

    @classmethod
    def from_config(cls, config: ReconstructionConfig, extent: float, max_gaussians: int):
        return cls(
            extent,
            config.densify_gradient,
            max_gaussians,
            config.min_opacity,
            config.seed,
            config.opacity_reset_every,
        )

    def refine(self, optimiser: GaussianOptimiser, pull: ScreenPull) -> None:
        """Densify and cull; `pull` must be reset afterwards."""
        model = optimiser.model.detached()
        wanted = torch.where(pull.mean > self._threshold)[0]
        room = max(0, self._max - len(model))
        if len(wanted) > room:  # the strongest first
            wanted = wanted[pull.mean[wanted].argsort(descending=True, stable=True)[:room]]
        large = model.scales.max(dim=-1).values[wanted] > 0.01 * self._extent
        split, clone = wanted[large], wanted[~large]
        keep = _alive(model, self._min_opacity, self._extent)
        keep[split] = False
        twice = split.repeat(2)
        children = {name: getattr(model, name)[torch.cat([clone, twice])].clone() for name in PARAMETERS}
        # Children of a split lie where the parent's density says, smaller by 1.6.
        noise = torch.randn(len(twice), 2, generator=self._generator).to(twice.device) * model.scales[twice]
        offset = (model.rotations[twice][:, :, :2] @ noise[:, :, None])[..., 0]
        children["means"][len(clone) :] += offset
        children["log_scales"][len(clone) :] -= torch.log(torch.tensor(1.6))
        optimiser.rebuild(keep, children)


class BudgetedStrategy:
    """Holds a given number of Gaussians: dead ones are dropped, the places with most pull get more.

    The count grows by a fixed share a step until the budget is reached; after that only as many are
    added as died.  For robots with fixed memory, and the fastest to train.
    """

    reset_every = 0

    def __init__(self, extent: float, growth: float, max_gaussians: int, min_opacity: float, seed: int):
        self._extent = extent
        self._growth = growth
        self._max = max_gaussians
        self._min_opacity = min_opacity
        self._generator = torch.Generator().manual_seed(seed)

    @classmethod
    def from_config(cls, config: ReconstructionConfig, extent: float, max_gaussians: int):
        return cls(extent, config.densify_growth, max_gaussians, config.min_opacity, config.seed)

    def refine(self, optimiser: GaussianOptimiser, pull: ScreenPull) -> None:
        """Drop the dead, split where the pull is strongest; `pull` must be reset afterwards."""
        model = optimiser.model.detached()
        keep = _alive(model, self._min_opacity, self._extent)
        alive = int(keep.sum())
        score = pull.mean * keep
        candidates = int((score > 0).sum())
        added = min(self._max - alive, int(self._growth * alive) + len(model) - alive, candidates)
        if added <= 0:
            optimiser.rebuild(keep)
            return
        # Weighted sampling without replacement (exponential races): deterministic for a seed.
        luck = torch.rand(len(model), generator=self._generator).to(score.device)
        race = luck.clamp(min=1e-12).log() / score.clamp(min=1e-30)
        race[score <= 0] = -torch.inf
        parents = race.topk(added).indices.sort().values
        keep[parents] = False
        optimiser.rebuild(keep, _split_along_major_axis(model, parents))


STRATEGIES = {"budgeted": BudgetedStrategy, "gradient": GradientStrategy}


def make_strategy(config: ReconstructionConfig, extent: float, max_gaussians: int) -> DensificationStrategy:
    """The densification named by `config.densification`; extent: of the scene, world units."""
    if config.densification not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise InputError(f"Unknown densification '{config.densification}'; known are {known}.")
    return STRATEGIES[config.densification].from_config(config, extent, max_gaussians)


def reset_opacities(optimiser: GaussianOptimiser, opacity: float) -> None:
    """Let no Gaussian be more opaque than `opacity`: those the images need come back, floaters are culled.

    As in Kerbl et al. 2023, section 5.2, but `opacity` is to lie above what is culled: from below, a Gaussian
    that few of many views see would be dropped before it has been seen again.
    """
    logits = optimiser.model.logit_opacities
    optimiser.overwrite("logit_opacities", logits.clamp(max=math.log(opacity / (1 - opacity))))


def _split_along_major_axis(model, parents: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two halves of each parent, side by side along its longer axis: together they cover its disk."""
    rows = {name: getattr(model, name)[parents] for name in PARAMETERS}
    major = model.log_scales[parents].argmax(dim=-1)  # [M]
    along = torch.arange(len(parents), device=parents.device)
    axis = model.rotations[parents].transpose(1, 2)[along, major]  # [M, 3]
    offset = 0.6 * model.scales[parents][along, major, None] * axis
    rows["log_scales"] = rows["log_scales"].clone()
    rows["log_scales"][along, major] -= torch.log(torch.tensor(1.8))
    halves = {name: torch.cat([row, row]) for name, row in rows.items()}
    halves["means"] = torch.cat([rows["means"] + offset, rows["means"] - offset])
    return halves


def _alive(model, min_opacity: float, extent: float) -> torch.Tensor:
    """[N] bool: visible, of sensible size, finite."""
    largest = model.scales.max(dim=-1).values
    finite = torch.isfinite(model.means).all(dim=-1) & torch.isfinite(largest)
    return (model.opacities > min_opacity) & (largest < 0.5 * extent) & finite
