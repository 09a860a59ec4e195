"""From what the queries say to instances of points."""

from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.config.points import ReadingConfig
from instascene_core.frame import UNLABELLED
from instascene_core.segmentation.points_network.outputs import SceneOutput


@dataclass(frozen=True)
class PointInstances:
    """I instances of N points; masks may overlap.  The surest comes first."""

    masks: np.ndarray  # [I, N] bool
    scores: np.ndarray  # [I] float64 in [0, 1]
    classes: np.ndarray  # [I] int64
    # [I, N] float16: how surely each point is the instance's, for `disjoint_labels`
    shares: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def read_instances(output: SceneOutput, superpoint: np.ndarray, config: ReadingConfig) -> PointInstances:
    """The instances of one scene; superpoint: [N] of every point.

    A query's score is its class's probability, times the IoU it expects, times its mean certainty within its
    mask (after Sun et al. 2023, SPFormer).  Of two masks that overlap much the surer stays.
    """
    last = output.layers[-1]
    with torch.no_grad():
        said = torch.softmax(last.classes.double(), dim=1)[:, :-1]
        claim, classes = said.max(dim=1)
        share = torch.sigmoid(last.masks.double())
        inside = share > 0.5
        size = torch.from_numpy(np.bincount(superpoint, minlength=share.shape[1])).double()
        points = inside.double() @ size
        certain = (share * inside) @ size / points.clamp(min=1)
        score = (claim * torch.sigmoid(last.scores.double()) * certain).numpy()
    inside, share = inside.numpy(), share.numpy()
    usable = np.flatnonzero((points.numpy() >= config.min_points) & (score >= config.min_score))
    order = usable[np.argsort(-score[usable], kind="stable")]
    kept = _without_doubles(inside, size.numpy(), order, config.max_overlap)
    return PointInstances(
        inside[kept][:, superpoint],
        score[kept],
        classes.numpy()[kept],
        share[kept].astype(np.float16)[:, superpoint],
    )


def _without_doubles(inside: np.ndarray, size: np.ndarray, order: np.ndarray, limit: float) -> np.ndarray:
    """[K] rows of `inside` [Q, S] in that order that overlap none before by an IoU over the limit."""
    kept: list[int] = []
    for row in order.tolist():
        both = (inside[kept] & inside[row]) @ size
        either = (inside[kept] | inside[row]) @ size
        if not kept or (both / np.maximum(either, 1)).max() <= limit:
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def disjoint_labels(instances: PointInstances, min_points: int) -> np.ndarray:
    """[N] int32 label ≥ 1 of every point (row + 1 of its instance), or UNLABELLED.

    A point of several masks goes to the one that is surest of it; what keeps fewer than `min_points` is none.
    """
    count = instances.masks.shape[1]
    if not len(instances):
        return np.full(count, UNLABELLED, dtype=np.int32)
    claim = np.where(instances.masks, instances.shares * instances.scores[:, None], 0.0)
    label = np.where(claim.max(axis=0) > 0, claim.argmax(axis=0) + 1, 0)
    few = np.bincount(label, minlength=len(instances) + 1) < min_points
    return np.where(few[label] | (label == 0), UNLABELLED, label).astype(np.int32)
