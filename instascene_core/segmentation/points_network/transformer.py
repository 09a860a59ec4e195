"""The decoder's transformer version: queries with reference points look at superpoints, layer by layer."""

import torch
from torch import nn

from instascene_core.config.points import DecoderConfig
from instascene_core.segmentation.points_network.attention import Attention
from instascene_core.segmentation.points_network.embedding import RelativePositionBias, sine_embedding
from instascene_core.segmentation.points_network.heads import QueryHeads, perceptron
from instascene_core.segmentation.points_network.outputs import Predictions, SuperpointScene
from instascene_core.segmentation.points_network.sampling import start_points


class DecoderLayer(nn.Module):
    """Look at the superpoints of one's mask, then at one another, then think (norm after each)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.across, self.among = Attention(width, config.heads), Attention(width, config.heads)
        self.bias = RelativePositionBias(config.heads, config.bias_steps, config.bias_step_m)
        self.think = perceptron(width, config.hidden, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self,
        queries: torch.Tensor,
        where: torch.Tensor,
        references: torch.Tensor,
        superpoints: torch.Tensor,
        there: torch.Tensor,
        centres: torch.Tensor,
        hidden: torch.Tensor,
    ) -> torch.Tensor:
        """[Q, D] of queries [Q, D] at references [Q, 3] and superpoints [S, D] at centres [S, 3].

        where [Q, D], there [S, D]: the embedded references and centres.  hidden: [Q, S] bool.
        """
        across, among, think = self.norms
        bias = self.bias(references, centres)
        queries = across(
            queries + self.across(queries + where, superpoints + there, superpoints, bias, hidden)
        )
        queries = among(queries + self.among(queries + where, queries + where, queries))
        return think(queries + self.think(queries))


class QueryDecoder(nn.Module):
    """Queries → instances (after MAFT, Lai et al. 2023, and Mask3D, Schult et al. 2023)."""

    def __init__(self, inputs: int, classes: int, config: DecoderConfig) -> None:
        """inputs: channels of the superpoints' features; classes: K, 1 = without classes."""
        super().__init__()
        width = config.width
        self.config = config
        self.queries = nn.Parameter(torch.randn(config.queries, width) * 0.5)
        self.references = nn.Parameter(torch.rand(config.queries, 3) * 4 - 2)  # logits of a place in the box
        self.superpoints, self.mask_features = nn.Linear(inputs, width), perceptron(inputs, width, width)
        self.where = perceptron(width, width, width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.heads, self.mask_queries = QueryHeads(width, classes), perceptron(width, width, width)

    def forward(self, scene: SuperpointScene) -> tuple[Predictions, ...]:
        """What the queries say at first and after every layer."""
        superpoints, mask_features = self.superpoints(scene.features), self.mask_features(scene.features)
        there = self.where(self._embedded(scene.centres))
        queries, references = self._start(scene, superpoints)
        said = [self._say(queries, references, mask_features)]
        for layer in self.layers:
            references = said[-1].centres.detach()
            where = self.where(self._embedded(references))
            hidden = said[-1].masks.detach() < 0  # masked attention: Cheng et al. 2022
            queries = layer(queries, where, references, superpoints, there, scene.centres, hidden)
            said.append(self._say(queries, references, mask_features))
        return tuple(said)

    def _start(self, scene: SuperpointScene, superpoints: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """([Q, D] queries, [Q, 3] reference points in metres)."""
        if self.config.start == "learned":
            low, high = scene.centres.amin(dim=0), scene.centres.amax(dim=0)
            return self.queries, low + torch.sigmoid(self.references) * (high - low)
        chosen = start_points(scene, self.config.queries)
        places = (scene.centres + scene.offsets.detach())[chosen]
        return self.queries[: len(chosen)] + superpoints[chosen], places

    def _embedded(self, positions: torch.Tensor) -> torch.Tensor:
        return sine_embedding(positions, self.config.width, self.config.wavelength_m)

    def _say(
        self, queries: torch.Tensor, references: torch.Tensor, mask_features: torch.Tensor
    ) -> Predictions:
        classes, scores, shift = self.heads(queries)
        masks = self.mask_queries(queries) @ mask_features.T / self.config.width**0.5
        return Predictions(classes, scores, references + shift, masks, queries)
