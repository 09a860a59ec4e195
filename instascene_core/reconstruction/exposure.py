"""Per-frame exposure: cameras that adjust themselves must not make the scene change colour."""

import torch

_PRIOR = 1e-2  # pull to identity, so that the scene keeps its colours


class ExposureModel:
    """A gain and an offset per channel and frame; over all frames they average to identity."""

    def __init__(self, num_frames: int, learning_rate: float, device: torch.device | str = "cpu") -> None:
        self.log_gains = torch.zeros(num_frames, 3, device=device, requires_grad=True)
        self.offsets = torch.zeros(num_frames, 3, device=device, requires_grad=True)
        self._adam = torch.optim.Adam([self.log_gains, self.offsets], lr=learning_rate)

    @torch.no_grad()
    def apply(self, index: int, color: torch.Tensor) -> torch.Tensor:
        """The scene's colour [H, W, 3] as frame `index`'s camera records it."""
        return color * self.log_gains[index].exp() + self.offsets[index]

    def backward(self, index: int, color: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Learn from dL/d(recorded colour) [H, W, 3]; returns dL/d(scene's colour)."""
        with torch.no_grad():
            gains = self.log_gains[index].exp()
            self.log_gains.grad = 2 * _PRIOR * self.log_gains
            self.offsets.grad = 2 * _PRIOR * self.offsets
            self.log_gains.grad[index] += (gradient * color).sum(dim=(0, 1)) * gains
            self.offsets.grad[index] += gradient.sum(dim=(0, 1))
        self._adam.step()
        with torch.no_grad():
            self.log_gains -= self.log_gains.mean(dim=0)
            self.offsets -= self.offsets.mean(dim=0)
            return gradient * gains
