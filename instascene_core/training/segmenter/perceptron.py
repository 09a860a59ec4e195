"""Training of the small perceptrons that judge pairs of patches and nodes of the merge tree."""

import logging
from dataclasses import dataclass

import numpy as np

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


def fit_perceptron(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, config: PerceptronTraining
) -> dict[str, np.ndarray]:
    """Weights of a ContactModel that says the log odds of `targets` [N] 0 … 1 from features [N, F].

    weights: [N] how often each example is drawn, None = all alike.
    """
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    torch.manual_seed(config.seed)
    layers = [nn.Linear(features.shape[1], config.width), nn.Linear(config.width, config.width)]
    layers.append(nn.Linear(config.width, 1))
    network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    inputs = torch.from_numpy(((features - mean) / deviation).clip(-LIMIT, LIMIT).astype(np.float32))
    truth = torch.from_numpy(targets.astype(np.float32))
    often = torch.from_numpy(weights.astype(np.float64)) if weights is not None else None
    generator = torch.Generator().manual_seed(config.seed)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + np.cos(np.pi * step / config.steps))
        if often is None:
            pick = torch.randint(len(inputs), (config.batch,), generator=generator)
        else:
            pick = torch.multinomial(often, config.batch, replacement=True, generator=generator)
        seen = inputs[pick]
        if config.input_noise:
            seen = seen + config.input_noise * torch.randn(seen.shape, generator=generator)
        loss = binary_cross_entropy_with_logits(network(seen)[:, 0], truth[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 2000 == 0:
            logger.info("step %d: loss %.4f", step + 1, float(loss.detach()))
    state = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    for index, layer in enumerate(layers):
        state[f"weight{index}"] = layer.weight.detach().numpy().copy()
        state[f"bias{index}"] = layer.bias.detach().numpy().copy()
    return state
