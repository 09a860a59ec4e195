"""Per-frame exposure: cameras that adjust themselves must not make the scene change colour."""

import torch


class ExposureModel:
    """A gain and an offset per channel and frame; pulled to identity so that the scene keeps its colours."""

    _PRIOR = 1e-2

    def __init__(self, num_frames: int, learning_rate: float) -> None:
        self.log_gains = torch.zeros(num_frames, 3, requires_grad=True)
        self.offsets = torch.zeros(num_frames, 3, requires_grad=True)
        self._adam = torch.optim.Adam([self.log_gains, self.offsets], lr=learning_rate)

    def apply(self, index: int, color: torch.Tensor) -> torch.Tensor:
        """The scene's colour [H, W, 3] as frame `index`'s camera would record it."""
        return color * self.log_gains[index].exp() + self.offsets[index]

    def step(self) -> None:
        """One step from the accumulated gradients and the prior; frames' mean stays at identity."""
        prior = self._PRIOR * (self.log_gains.square().sum() + self.offsets.square().sum())
        prior.backward()
        self._adam.step()
        self._adam.zero_grad()
        with torch.no_grad():
            self.log_gains -= self.log_gains.mean(dim=0)
            self.offsets -= self.offsets.mean(dim=0)
