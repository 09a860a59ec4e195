"""What passes between the backbone, the decoders, the losses and the reading of instances."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SuperpointScene:
    """One scene as a decoder sees it: S superpoints."""

    features: torch.Tensor  # [S, C]
    centres: torch.Tensor  # [S, 3] metres: mean of the points
    objectness: torch.Tensor  # [S] logits: of an object
    offsets: torch.Tensor  # [S, 3] metres to the centre of the object


@dataclass(frozen=True)
class Predictions:
    """What Q queries say after a layer."""

    classes: torch.Tensor  # [Q, K + 1] logits; the last stands for nothing
    scores: torch.Tensor  # [Q] logits of the IoU that the mask is expected to have
    centres: torch.Tensor  # [Q, 3] metres: middle of the object's box
    masks: torch.Tensor  # [Q, S] logits
    features: torch.Tensor  # [Q, D] of the queries, of which the decorrelation loss is
    # [Q] int64 superpoint on which each query started and whose object it is to find; None where queries are
    # free, and settle among themselves which of them finds what
    starts: torch.Tensor | None = None


@dataclass(frozen=True)
class SceneOutput:
    """All of one scene: the layers in turn, the last one is what counts."""

    scene: SuperpointScene
    layers: tuple[Predictions, ...]
