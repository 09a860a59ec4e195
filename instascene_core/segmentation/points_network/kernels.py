"""The kernel-based version of the decoder: every query makes the small network that paints its mask.

After dynamic convolution for instances (CondInst, Tian et al. 2020; on points DyCo3D, He et al. 2021, and
ISBNet, Ngo et al. 2023).
"""

import torch
from torch import nn

from instascene_core.config.points import DecoderConfig
from instascene_core.segmentation.points_network.heads import QueryHeads, perceptron
from instascene_core.segmentation.points_network.outputs import Predictions, SuperpointScene
from instascene_core.segmentation.points_network.sampling import start_points

AXES = 3


class KernelDecoder(nn.Module):
    """Superpoints that may be objects → kernels → instances, in one step."""

    def __init__(self, inputs: int, classes: int, config: DecoderConfig) -> None:
        """inputs: channels of the superpoints' features; classes: K, 1 = without classes."""
        super().__init__()
        width, self.config = config.width, config
        self.gather = perceptron(inputs + AXES, width, width)
        self.queries = perceptron(width, width, width)
        self.mask_features = perceptron(inputs, width, config.kernel_inputs)
        self.sizes = kernel_sizes(config.kernel_inputs + AXES, config.kernel_hidden)
        self.kernels = perceptron(width, width, sum(self.sizes))
        self.heads = QueryHeads(width, classes)

    def forward(self, scene: SuperpointScene) -> tuple[Predictions, ...]:
        """What the queries say; one layer."""
        voted = scene.centres + scene.offsets.detach()  # where each superpoint thinks its object is
        start = start_points(scene, self.config.queries)
        places = voted[start]
        queries = self.queries(self._gathered(scene, voted, places))
        classes, scores, shift = self.heads(queries)
        offset = (voted[None] - places[:, None]) / self.config.gather_m  # [Q, S, 3]
        masks = paint(self.kernels(queries), self.mask_features(scene.features), offset, self.sizes)
        return (Predictions(classes, scores, places + shift, masks, queries, start),)

    def _gathered(self, scene: SuperpointScene, voted: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """[Q, D] mean of the superpoints that voted for about the same place, nearer ones more."""
        offset = (voted[None] - places[:, None]) / self.config.gather_m  # [Q, S, 3]
        share = torch.softmax(-(offset**2).sum(dim=-1), dim=1)  # [Q, S]
        features = scene.features[None].expand(len(places), -1, -1)
        own = (scene.centres[None] - places[:, None]) / self.config.gather_m
        return (share[..., None] * self.gather(torch.cat([features, own], dim=-1))).sum(dim=1)


def kernel_sizes(inputs: int, hidden: int) -> tuple[int, int, int, int]:
    """Numbers of a kernel: weights and biases of inputs → hidden → 1."""
    return inputs * hidden, hidden, hidden, 1


def paint(
    kernels: torch.Tensor, features: torch.Tensor, offset: torch.Tensor, sizes: tuple[int, int, int, int]
) -> torch.Tensor:
    """[Q, S] mask logits: each query's own network on every superpoint.

    kernels: [Q, sum(sizes)]; features: [S, F]; offset: [Q, S, 3] from the query, in its unit of length.
    """
    first, first_bias, second, second_bias = kernels.split(sizes, dim=1)
    inputs, hidden = features.shape[1] + AXES, sizes[1]
    first = first.reshape(-1, inputs, hidden)
    # The features are the same for all queries: their part needs no [Q, S, F].
    x = torch.einsum("sf,qfh->qsh", features, first[:, :-AXES]) + offset @ first[:, -AXES:]
    x = torch.relu(x + first_bias[:, None])
    return torch.einsum("qsh,qh->qs", x, second) + second_bias
