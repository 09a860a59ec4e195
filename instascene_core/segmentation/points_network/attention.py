"""Attention with several heads, a bias and a mask, on one scene (no batch)."""

import math

import torch
from torch import nn


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        bias: torch.Tensor | None = None,
        hidden: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[Q, D] of queries [Q, D], keys and values [S, D].

        bias: [heads, Q, S], added to the logits.  hidden: [Q, S] bool, what a query does not look at; a
        query from which all is hidden looks at everything.
        """
        q, k, v = (
            layer(x).reshape(len(x), self.heads, -1).transpose(0, 1)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        logits = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        if bias is not None:
            logits = logits + bias
        if hidden is not None:
            hidden = hidden & ~hidden.all(dim=1, keepdim=True)
            logits = logits.masked_fill(hidden, float("-inf"))
        mixed = torch.softmax(logits, dim=-1) @ v  # [heads, Q, D / heads]
        return self.out(mixed.transpose(0, 1).flatten(1))
