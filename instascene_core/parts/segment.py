"""From points or a mesh to parts: what the network says, clustered, cleaned, brought to the vertices."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from instascene_core.config import PartsConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.sampling import even_samples
from instascene_core.parts.grouping import (
    clusters_by_name,
    nearest,
    pushed_apart,
    touching_joined,
    without_crumbs,
)
from instascene_core.parts.network import WEIGHTS, TrainedParts, load_network
from instascene_core.parts.samples import in_unit_ball
from instascene_core.threads import one_thread


@dataclass(frozen=True)
class PartLevel:
    """The parts of one level, and to which of them each of N points or vertices belongs."""

    part: np.ndarray  # [N] int32, index into the arrays below
    names: tuple[str, ...]  # [P] of each part; two handles have the same
    scores: np.ndarray  # [P] float64 in [0, 1]: how sure its points are of its name

    def name_of_point(self) -> np.ndarray:
        """[N] the name of each point's part."""
        return np.array(self.names)[self.part]


@dataclass(frozen=True)
class PartLabels:
    """Parts at all levels, coarse to fine."""

    levels: tuple[PartLevel, ...]

    def at(self, rows: np.ndarray) -> "PartLabels":
        """Those of some of the points: row k is that of point rows[k]."""
        return PartLabels(tuple(PartLevel(one.part[rows], one.names, one.scores) for one in self.levels))


@dataclass(frozen=True)
class PointAnswers:
    """What the network says of N points; L levels."""

    probabilities: tuple[np.ndarray, ...]  # L × [N, K_l]
    instance_centre: np.ndarray  # [L, N, 3] unit ball
    region_centre: np.ndarray | None  # [L, N, 3]; None where the network does not say it


class PartSegmenter:
    """A trained network and how its answers become parts."""

    def __init__(self, trained: TrainedParts, config: PartsConfig) -> None:
        self.trained, self.config = trained, config

    @classmethod
    def from_config(cls, config: PartsConfig) -> "PartSegmenter":
        """With the package's weights, or those of the config.  InputError where they cannot be read."""
        return cls(load_network(Path(config.weights) if config.weights else WEIGHTS), config)

    def label_mesh(self, mesh: TriangleMesh) -> PartLabels:
        """Parts of each vertex of a mesh, z up if that is known.  InputError where it has no surface."""
        if not len(mesh.triangles):
            raise InputError("A mesh without triangles has no parts.")
        rng = np.random.default_rng(self.config.seed)
        points, normals, _ = even_samples(mesh, self.config.points, rng)
        return self.label_points(points, normals).at(nearest(points, mesh.vertices))

    def label_points(self, points: np.ndarray, normals: np.ndarray) -> PartLabels:
        """Parts of points [N, 3] with outward normals [N, 3], in metres or any unit."""
        placed = in_unit_ball(points)
        said = self.answers(placed, normals.astype(np.float32))
        return PartLabels(tuple(self._level(placed, said, level) for level in range(len(self.trained.names))))

    def answers(self, points: np.ndarray, normals: np.ndarray) -> PointAnswers:
        """The network's word on points [N, 3] of the unit ball: every point once a turn about z.

        In each turn the points go through in `passes` interleaved parts, as many as it knows from training.
        """
        network, passes = self.trained.network, self.config.passes
        chance: list[list[np.ndarray]] = [[] for _ in self.trained.names]
        instance, region = [], []
        for turn in range(passes):
            rotation = _about_z(2 * np.pi * turn / passes)
            order = np.concatenate(
                [np.arange((turn + k) % passes, len(points), passes) for k in range(passes)]
            )
            counts = tuple(c for c in (len(range((turn + k) % passes, len(points), passes))
                                       for k in range(passes)) if c)  # fmt: skip
            turned = torch.from_numpy((points[order] @ rotation.T).astype(np.float32))
            outward = torch.from_numpy((normals[order] @ rotation.T).astype(np.float32))
            with one_thread(), torch.inference_mode():
                told = network(turned, outward, counts)
            back = np.argsort(order)
            for level, logits in enumerate(told.logits):
                chance[level].append(torch.softmax(logits, dim=1).numpy()[back])
            instance.append(np.stack([o.numpy() @ rotation for o in told.to_instance])[:, back])
            if told.to_region:
                region.append(np.stack([o.numpy() @ rotation for o in told.to_region])[:, back])
        return PointAnswers(
            tuple(np.mean(one, axis=0) for one in chance),
            points + np.mean(instance, axis=0),
            points + np.mean(region, axis=0) if region else None,
        )

    def _level(self, points: np.ndarray, said: PointAnswers, level: int) -> PartLevel:
        chance = said.probabilities[level]
        name = chance.argmax(axis=1)
        region = None if said.region_centre is None else said.region_centre[level]
        moved = pushed_apart(said.instance_centre[level], region, self.config.push)
        part = clusters_by_name(moved, name, self.config.bandwidth)
        part = touching_joined(points, moved, part, name, self.config.join)
        part = without_crumbs(points, part, self.config.smallest)
        index, part = np.unique(part, return_inverse=True)
        sure = confidence(chance)
        first = np.array([np.bincount(name[part == p]).argmax() for p in range(len(index))])
        scores = np.array([sure[part == p].mean() for p in range(len(index))])
        names = tuple(self.trained.names[level][k] for k in first)
        return PartLevel(part.astype(np.int32), names, scores)


def confidence(chance: np.ndarray) -> np.ndarray:
    """[N] 1 − entropy of the probabilities [N, K], as a share of the largest possible."""
    entropy = -(chance * np.log(np.maximum(chance, 1e-12))).sum(axis=1)
    return 1 - entropy / np.log(max(chance.shape[1], 2))


def _about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
