"""What the network on points is taught: matched masks, classes, scores and centres; queries that differ."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from instascene_core.segmentation.points_network.outputs import Predictions, SceneOutput
from instascene_core.training.points.targets import Targets


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts; those of the matching are the same."""

    mask: float = 1.0  # binary cross entropy over superpoints
    dice: float = 1.0
    classes: float = 0.5
    nothing: float = 0.1  # of the class of a query without an instance, within `classes`
    score: float = 0.5
    centre: float = 0.5  # of the distance in units of `centre_m`
    centre_m: float = 0.1  # metres
    objectness: float = 0.5  # of superpoints
    offset: float = 0.5  # of superpoints to their object's centre, in units of `centre_m`
    # Decorrelation of the last layer's queries: similarity to itself toward 1, to the others toward 0.
    same_query: float = 0.01
    other_queries: float = 0.01
    good_mask: float = 0.5  # IoU above which a query learns to say its IoU


def mask_costs(logits: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """([Q, T] mean binary cross entropy, [Q, T] 1 − Dice) of every query with every true mask.

    logits: [Q, S]; masks: [T, S] of 0 and 1.
    """
    count = logits.shape[1]
    cross = (F.softplus(-logits) @ masks.T + F.softplus(logits) @ (1 - masks).T) / count
    share = torch.sigmoid(logits)
    total = share.sum(dim=1)[:, None] + masks.sum(dim=1)[None]
    return cross, 1 - (2 * share @ masks.T + 1) / (total + 1)


def match(said: Predictions, truth: Targets, config: LossConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """([M], [M]) int64: queries and the true instances they stand for, one to one, at the least total cost
    (Hungarian; Carion et al. 2020)."""
    from scipy.optimize import linear_sum_assignment

    with torch.no_grad():
        cross, dice = mask_costs(said.masks, truth.masks)
        claim = -torch.softmax(said.classes, dim=1)[:, truth.classes]
        apart = torch.cdist(said.centres, truth.centres, p=1) / config.centre_m
        cost = config.mask * cross + config.dice * dice + config.classes * claim + config.centre * apart
        rows, columns = linear_sum_assignment(cost.double().cpu().numpy())
    device = said.masks.device
    return torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device)


def assign(said: Predictions, truth: Targets, config: LossConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """([M], [M]) int64: which query learns which true instance.

    Free queries by `match`.  Queries that started somewhere cannot know of one another: each learns the
    instance it started on, several one instance (as in ISBNet, Ngo et al. 2023); of those that started on
    none, some are matched with the instances on which none started.
    """
    if said.starts is None:
        return match(said, truth, config)
    owner = truth.owner[said.starts]
    on_one, free = torch.nonzero(owner >= 0)[:, 0], torch.nonzero(owner < 0)[:, 0]
    started_on = torch.zeros(len(truth.masks), dtype=torch.bool, device=owner.device)
    started_on[owner[on_one]] = True
    left = torch.nonzero(~started_on)[:, 0]
    rest = match(
        Predictions(*(getattr(said, n)[free] for n in ("classes", "scores", "centres", "masks", "features"))),
        Targets(
            truth.masks[left], truth.classes[left], truth.centres[left],
            truth.objectness, truth.known, truth.owner,
        ),
        config,
    )  # fmt: skip
    return torch.cat([on_one, free[rest[0]]]), torch.cat([owner[on_one], left[rest[1]]])


def layer_loss(said: Predictions, truth: Targets, config: LossConfig) -> torch.Tensor:
    """Of one layer: masks, classes, scores and centres of the queries that are to find something; "nothing"
    of the others."""
    queries, things = assign(said, truth, config)
    nothing = said.classes.shape[1] - 1
    wanted = torch.full((len(said.classes),), nothing, device=said.classes.device)
    wanted[queries] = truth.classes[things]
    weight = said.classes.new_ones(nothing + 1)
    weight[nothing] = config.nothing
    loss = config.classes * F.cross_entropy(said.classes, wanted, weight)
    if not len(queries):
        return loss
    logits, masks = said.masks[queries], truth.masks[things]
    cross = F.binary_cross_entropy_with_logits(logits, masks)
    share = torch.sigmoid(logits)
    dice = 1 - (2 * (share * masks).sum(dim=1) + 1) / (share.sum(dim=1) + masks.sum(dim=1) + 1)
    apart = (said.centres[queries] - truth.centres[things]).abs().sum(dim=1) / config.centre_m
    loss = loss + config.mask * cross + config.dice * dice.mean() + config.centre * apart.mean()
    found = (logits.detach() > 0).float()
    both = (found * masks).sum(dim=1)
    iou = both / (found.sum(dim=1) + masks.sum(dim=1) - both).clamp(min=1)
    good = (iou > config.good_mask).to(logits.dtype)
    missed = (torch.sigmoid(said.scores[queries]) - iou) ** 2
    return loss + config.score * (good * missed).sum() / good.sum().clamp(min=1)


def decorrelation(features: torch.Tensor, same: float, others: float) -> torch.Tensor:
    """same · mean (similarity of a query to itself − 1)² + others · mean (similarity to another)².

    features: [Q, D].  Each channel is brought to mean 0 and deviation 1 over the queries, as Zbontar et al.
    2021 (Barlow Twins) do over a batch; similarity is the mean product of channels.  With rows of unit
    length the first part would be nothing.
    """
    count = len(features)
    spread = torch.sqrt(features.var(dim=0, unbiased=False) + 1e-5)
    standard = (features - features.mean(dim=0)) / spread
    similarity = standard @ standard.T / features.shape[1]
    own = torch.diagonal(similarity)
    off = (similarity**2).sum() - (own**2).sum()
    return same * ((own - 1) ** 2).mean() + others * off / max(count * (count - 1), 1)


def superpoint_loss(output: SceneOutput, truth: Targets, config: LossConfig) -> torch.Tensor:
    """Objectness of all annotated superpoints, and offsets of those of an instance."""
    scene = output.scene
    each = F.binary_cross_entropy_with_logits(scene.objectness, truth.objectness, reduction="none")
    loss = config.objectness * (each * truth.known).sum() / truth.known.sum().clamp(min=1)
    owned = torch.nonzero(truth.owner >= 0)[:, 0]
    if not len(owned):
        return loss
    wanted = truth.centres[truth.owner[owned]] - scene.centres[owned]
    apart = (scene.offsets[owned] - wanted).abs().sum(dim=1) / config.centre_m
    return loss + config.offset * apart.mean()


def scene_loss(output: SceneOutput, truth: Targets, config: LossConfig) -> torch.Tensor:
    """The whole: mean over the decoder's layers, superpoints, and decorrelation of the last layer."""
    layers = torch.stack([layer_loss(said, truth, config) for said in output.layers])
    queries = output.layers[-1].features
    return (
        layers.mean()
        + superpoint_loss(output, truth, config)
        + decorrelation(queries, config.same_query, config.other_queries)
    )
