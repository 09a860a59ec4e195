"""The truth of a scene per superpoint: masks, classes, and middles of boxes."""

from dataclasses import dataclass, fields

import numpy as np
import torch

from instascene_core.training.points.prepared import NOTHING, PreparedScene

MAJORITY = 0.5  # share of a superpoint's points that makes it an instance's


@dataclass(frozen=True)
class Targets:
    """T true instances and S superpoints of one scene."""

    masks: torch.Tensor  # [T, S] float32, 0 or 1
    classes: torch.Tensor  # [T] int64
    centres: torch.Tensor  # [T, 3] float32 metres: middle of the box around the points
    objectness: torch.Tensor  # [S] float32: share of the annotated points that are of an instance
    known: torch.Tensor  # [S] float32: share of the points that are annotated
    owner: torch.Tensor  # [S] int64 row of the instance that has most of the points, −1 = of none

    def to(self, device: str) -> "Targets":
        return Targets(**{entry.name: getattr(self, entry.name).to(device) for entry in fields(self)})


def targets_of(scene: PreparedScene) -> Targets:
    """Instances without a single superpoint that is mostly theirs are left out: no mask could show them."""
    count = int(scene.superpoint.max()) + 1
    ids = np.unique(scene.instance[scene.instance > NOTHING])
    size = np.bincount(scene.superpoint, minlength=count)
    known = np.bincount(scene.superpoint[scene.instance >= NOTHING], minlength=count)
    inside = [np.bincount(scene.superpoint[scene.instance == i], minlength=count) for i in ids]
    overlap = np.stack(inside) if inside else np.zeros((0, count), dtype=np.int64)
    masks = overlap > MAJORITY * size
    seen = masks.any(axis=1)
    masks, ids, overlap = masks[seen], ids[seen], overlap[seen]
    members = [scene.instance == i for i in ids]
    boxes = [scene.cloud.positions[m] for m in members]
    centres = [(box.min(axis=0) + box.max(axis=0)) / 2 for box in boxes]
    classes = [
        int(np.bincount(scene.category[m][scene.category[m] >= 0], minlength=1).argmax()) for m in members
    ]
    objects = np.bincount(scene.superpoint[scene.instance > NOTHING], minlength=count)
    return Targets(
        torch.from_numpy(masks.astype(np.float32)),
        torch.tensor(classes, dtype=torch.int64),
        torch.from_numpy(np.array(centres, dtype=np.float32).reshape(-1, 3)),
        torch.from_numpy((objects / np.maximum(known, 1)).astype(np.float32)),
        torch.from_numpy((known / np.maximum(size, 1)).astype(np.float32)),
        torch.from_numpy(np.where(masks.any(axis=0), masks.argmax(axis=0) if len(masks) else -1, -1)),
    )
