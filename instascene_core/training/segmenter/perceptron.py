"""Training of the small perceptrons that judge pairs of patches and nodes of the merge tree."""

import itertools
import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from instascene_core.segmentation.fused_surface.contacts import LIMIT

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PerceptronTraining:
    """What a training run depends on, besides its examples."""

    width: int = 48
    steps: int = 8000
    batch: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    input_noise: float = 0.0  # standard deviations added to the features, against learning them by heart
    seed: int = 0


class PerceptronFit:
    """A perceptron of two hidden layers that is being trained, on one schedule whatever the loss is."""

    def __init__(self, features: np.ndarray, config: PerceptronTraining) -> None:
        """features: [N, F] by which all are standardised."""
        self._config, self._steps = config, 0
        self._mean, self._deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        torch.manual_seed(config.seed)
        self._noise = torch.Generator().manual_seed(config.seed)
        sizes = (features.shape[1], config.width, config.width, 1)
        self._layers = [nn.Linear(*ends) for ends in itertools.pairwise(sizes)]
        first, second, last = self._layers
        self._network = nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), last)
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )

    def standardised(self, features: np.ndarray) -> torch.Tensor:
        """[N, F] float32, as the network takes them."""
        inputs = ((features - self._mean) / self._deviation).clip(-LIMIT, LIMIT)
        return torch.from_numpy(inputs.astype(np.float32))

    def log_odds(self, inputs: torch.Tensor) -> torch.Tensor:
        """[N] of standardised features [N, F], with the noise of training added."""
        if self._config.input_noise:
            noise = torch.randn(inputs.shape, generator=self._noise)
            inputs = inputs + self._config.input_noise * noise
        return self._network(inputs)[:, 0]

    def step(self, loss: torch.Tensor) -> None:
        """One step down the gradient of `loss`, at the learning rate that is due."""
        config = self._config
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + np.cos(np.pi * self._steps / config.steps))
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self._steps += 1
        if self._steps % 2000 == 0:
            logger.info("step %d: loss %.4f", self._steps, float(loss.detach()))

    def state(self) -> dict[str, np.ndarray]:
        """The weights of a ContactModel."""
        state = {"mean": self._mean.astype(np.float32), "deviation": self._deviation.astype(np.float32)}
        for index, layer in enumerate(self._layers):
            state[f"weight{index}"] = layer.weight.detach().numpy().copy()
            state[f"bias{index}"] = layer.bias.detach().numpy().copy()
        return state


def fit_perceptron(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, config: PerceptronTraining
) -> dict[str, np.ndarray]:
    """Weights of a ContactModel that says the log odds of `targets` [N] 0 … 1 from features [N, F].

    weights: [N] how often each example is drawn, None = all alike.
    """
    fit = PerceptronFit(features, config)
    inputs = fit.standardised(features)
    truth = torch.from_numpy(targets.astype(np.float32))
    often = torch.from_numpy(weights.astype(np.float64)) if weights is not None else None
    generator = torch.Generator().manual_seed(config.seed)
    for _ in range(config.steps):
        if often is None:
            pick = torch.randint(len(inputs), (config.batch,), generator=generator)
        else:
            pick = torch.multinomial(often, config.batch, replacement=True, generator=generator)
        fit.step(binary_cross_entropy_with_logits(fit.log_odds(inputs[pick]), truth[pick]))
    return fit.state()
