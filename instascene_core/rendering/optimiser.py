"""The Gaussians' parameters under Adam, while their number changes."""

import torch

from instascene_core.gaussians import GaussianModel
from instascene_core.rendering.fused import adam_steps

PARAMETERS = ("means", "quaternions", "log_scales", "logit_opacities", "sh")


class GaussianOptimiser:
    """Adam over the tensors of a GaussianModel; rows can be dropped, copied and appended.

    Moments follow their rows; new rows start without momentum.
    """

    def __init__(self, gaussians: GaussianModel) -> None:
        self._tensors = {
            name: getattr(gaussians, name).detach().float().contiguous().clone() for name in PARAMETERS
        }
        self._first = {name: torch.zeros_like(t) for name, t in self._tensors.items()}
        self._second = {name: torch.zeros_like(t) for name, t in self._tensors.items()}
        self._steps = 0

    def __len__(self) -> int:
        return len(self._tensors["means"])

    @property
    def model(self) -> GaussianModel:
        """The live parameters: changed in place by `step`, replaced by the other methods."""
        return GaussianModel(**self._tensors)

    def step(self, gradients: dict[str, torch.Tensor], learning_rates: dict[str, float]) -> None:
        """One Adam step; both arguments by parameter name."""
        self._steps += 1
        values, given, first, second = (
            [by_name[name] for name in PARAMETERS]
            for by_name in (self._tensors, gradients, self._first, self._second)
        )
        adam_steps(values, given, first, second, self._steps, [learning_rates[name] for name in PARAMETERS])

    def rebuild(self, keep: torch.Tensor, new: dict[str, torch.Tensor] | None = None) -> None:
        """Keep the rows at `keep` (bool mask or int64 indices), then append `new` (name → rows).

        Both may be on another device than the parameters.
        """
        keep = keep.to(self._tensors["means"].device)
        for name in PARAMETERS:
            rows = self._tensors[name][keep]
            moments = [store[name][keep] for store in (self._first, self._second)]
            if new is not None:
                fresh = new[name].to(rows.device)
                rows = torch.cat([rows, fresh])
                moments = [torch.cat([m, torch.zeros_like(fresh)]) for m in moments]
            self._tensors[name] = rows.contiguous()
            self._first[name], self._second[name] = moments

    def overwrite(self, name: str, values: torch.Tensor) -> None:
        """Replace all rows of one parameter and forget its momentum (opacity reset)."""
        self._tensors[name] = values.contiguous()
        self._first[name], self._second[name] = torch.zeros_like(values), torch.zeros_like(values)

    def raise_sh_degree(self) -> None:
        """Add the next band of spherical harmonics, starting at zero."""
        old = self._tensors["sh"]
        width = (round(old.shape[1] ** 0.5) + 1) ** 2
        for store in (self._tensors, self._first, self._second):
            wider = old.new_zeros(len(old), width, 3)
            wider[:, : old.shape[1]] = store["sh"]
            store["sh"] = wider
