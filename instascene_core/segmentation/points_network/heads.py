"""The small networks that both decoders end in."""

import torch
from torch import nn


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class QueryHeads(nn.Module):
    """Class, score and shift of the centre of every query."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.classes = perceptron(width, width, classes + 1)
        self.scores = perceptron(width, width, 1)
        self.shift = perceptron(width, width, 3)
        for parameter in self.shift[-1].parameters():
            nn.init.zeros_(parameter)  # at first a query stays where it is

    def forward(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """([Q, K + 1] logits, [Q] logits, [Q, 3] metres) of queries [Q, D]."""
        queries = self.norm(queries)
        return self.classes(queries), self.scores(queries)[:, 0], self.shift(queries)
