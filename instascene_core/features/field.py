"""The instance feature field: spatial contrastive learning on frozen geometry (InstaScene section 3.2).

Geometry is frozen, so the blending weights are constants: every chosen pixel is one row of a sparse
matrix W (pixel × Gaussian), and rendered features are W·f.  An iteration is a few sparse products.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from instascene_core.config import FeaturesConfig
from instascene_core.errors import InputError
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from instascene_core.rendering.trace import PixelTrace


@dataclass(frozen=True)
class PixelSamples:
    """The labelled pixels that supervise the field, view after view."""

    weights: sp.csr_matrix  # W [P, N] float32 blending weights, rows scaled to sum 1
    labels: np.ndarray  # [P] int64 cluster index
    view_start: np.ndarray  # [views + 1] int64: rows of a view, in random order

    def rows_of(self, views: range, count: int, generator: np.random.Generator) -> np.ndarray:
        """Up to `count` rows spread evenly over consecutive views, each from a random start."""
        share = max(1, count // len(views))
        rows = []
        for view in views:
            start, stop = self.view_start[view], self.view_start[view + 1]
            first = int(generator.integers(start, max(start, stop - share) + 1))
            rows.append(np.arange(first, min(stop, first + share)))
        return np.concatenate(rows)


@one_thread()  # the assignment of Gaussians hangs on the last bits
def train_features(
    traces: Sequence[PixelTrace],
    label_images: Sequence[np.ndarray],
    clusters: Sequence[np.ndarray],
    num_gaussians: int,
    config: FeaturesConfig | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> np.ndarray:
    """Learn f [N, 16] float32, unit norm: alike within an instance, apart between instances.

    label_images: per frame [H, W] integer, c where `clusters[c]` shows, UNLABELLED elsewhere (the
    filtered masks; with `filtered_masks` off any numbers ≥ 0, which mean nothing in another view).
    clusters: per instance the indices of its Gaussians, int64.  Frames in order of time: the cross-view
    loss pools neighbours.  Stops early once the assignment has converged.
    Raises InputError where a label has no cluster.
    """
    config = config or FeaturesConfig()
    generator = np.random.default_rng(seed)
    features = _initial_features(clusters, num_gaussians, config, generator)
    if not clusters:
        return features
    if not config.filtered_masks and config.cross_view_weight > 0:
        raise InputError("Masks as they came have ids of their own in each view: no cross-view loss on them.")
    known = len(clusters) if config.filtered_masks else np.iinfo(np.int32).max
    samples = sample_pixels(traces, label_images, known, num_gaussians, config, generator)
    members = np.concatenate([np.asarray(c, dtype=np.int64) for c in clusters])
    member_labels = np.repeat(np.arange(len(clusters)), [len(c) for c in clusters])

    adam = _Adam(features, config)
    choice = _Choice(samples, num_gaussians, members, member_labels, config, generator)
    convergence = _ConvergenceCheck(clusters, config)
    # What the next step takes does not hang on this one, nor do a step's two losses on each other.
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(choice.next)
        for iteration in range(1, config.iterations + 1):
            batch, coming = coming.result(), beside.submit(choice.next)
            _step(adam, batch, config, beside)
            if iteration % config.check_every == 0:
                progress("features", iteration / config.iterations, f"iteration {iteration}")
                if convergence.reached(adam.all()):
                    break
    progress("features", 1.0, "")
    features = adam.all()
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)


def contrastive_loss(features, labels, alpha: float, min_temperature: float):
    """L_CF of a batch: features [P, D] unit, labels [P] int64 → scalar tensor.

    f̄_i = mean of label i's features, φ_i = Σ‖f − f̄_i‖ / (N_i·log(N_i + α)) (no gradient), and
    L = −1/N Σ log softmax_k(f·f̄_k / φ_i)[own]; the softmax runs over the labels in the batch.
    """
    import torch

    _, local = torch.unique(labels, return_inverse=True)
    count = int(local.max()) + 1 if len(local) else 0
    sizes = torch.bincount(local, minlength=count).to(features.dtype)
    means = torch.zeros(count, features.shape[1], dtype=features.dtype)
    means = means.index_add(0, local, features) / sizes[:, None]
    with torch.no_grad():
        spread = torch.zeros(count, dtype=features.dtype)
        spread.index_add_(0, local, (features - means[local]).norm(dim=1))
        temperature = (spread / (sizes * torch.log(sizes + alpha))).clamp_min(min_temperature)
    logits = features @ means.T / temperature[local][:, None]
    return torch.nn.functional.cross_entropy(logits, local)


def sample_pixels(
    traces: Sequence[PixelTrace],
    label_images: Sequence[np.ndarray],
    num_clusters: int,
    num_gaussians: int,
    config: FeaturesConfig,
    generator: np.random.Generator,
) -> PixelSamples:
    """Choose up to `pixels_per_view` labelled pixels of every view, small instances over-represented.

    Memory: views × pixels_per_view × Gaussians per pixel × 8 bytes (60 × 8192 × 6 ≈ 24 MB).
    """
    indices, weights, lengths, labels, counts = [], [], [], [], [0]
    for trace, image in zip(traces, label_images, strict=True):
        flat = np.asarray(image).ravel()
        if flat.size and flat.max() >= num_clusters:
            raise InputError(
                f"A label image contains cluster {flat.max()}, but there are {num_clusters} clusters."
            )
        covered = np.diff(trace.offsets) > 0
        pixels = np.flatnonzero((flat >= 0) & covered)
        if len(pixels) > config.pixels_per_view:
            size = np.bincount(flat[pixels])
            share = 1 / np.sqrt(size[flat[pixels]])  # an instance counts by the root of its area
            share /= share.sum()
            pixels = generator.choice(pixels, config.pixels_per_view, replace=False, p=share)
        else:
            pixels = generator.permutation(pixels)
        start, length = trace.offsets[pixels], np.diff(trace.offsets)[pixels]
        entries = np.repeat(start - np.cumsum(length) + length, length) + np.arange(length.sum())
        w = trace.weights[entries]
        row = np.repeat(np.arange(len(pixels)), length)
        total = np.maximum(np.bincount(row, w, minlength=len(pixels)), 1e-8)
        indices.append(trace.indices[entries])
        weights.append((w / total[row]).astype(np.float32))
        lengths.append(length)
        labels.append(flat[pixels].astype(np.int64))
        counts.append(len(pixels))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    matrix = sp.csr_matrix(
        (np.concatenate(weights), np.concatenate(indices), indptr), shape=(len(indptr) - 1, num_gaussians)
    )
    return PixelSamples(matrix, np.concatenate(labels), np.cumsum(counts))


@dataclass(frozen=True)
class _Batch:
    """What one step looks at; Gaussians are counted among those that it shows."""

    shown: np.ndarray  # [S] indices of the Gaussians, ascending
    # Per set of pixels: weights [P, S], labels [P] and the weight of its loss
    pixels: Sequence[tuple[sp.csr_matrix, np.ndarray, float]]
    gaussians: np.ndarray  # [G] places in `shown`
    labels: np.ndarray  # [G] their clusters


class _Choice:
    """Draws the batches of one step after another."""

    def __init__(
        self,
        samples: PixelSamples,
        num_gaussians: int,
        members: np.ndarray,
        member_labels: np.ndarray,
        config: FeaturesConfig,
        generator: np.random.Generator,
    ) -> None:
        """members: [M] the clusters' Gaussians; member_labels: [M] their clusters."""
        self._samples, self._num_gaussians = samples, num_gaussians
        self._members, self._member_labels = members, member_labels
        self._config, self._generator = config, generator
        self._usable = np.flatnonzero(np.diff(samples.view_start) > 0)
        self._drawn = 0

    def next(self) -> _Batch:
        samples = self._samples
        drawn, pick = self._draw()
        matrices = [samples.weights[rows] for rows, _ in drawn]
        picked = self._members[pick]
        chosen = np.zeros(self._num_gaussians, dtype=bool)
        for indices in (*(matrix.indices for matrix in matrices), picked):
            chosen[indices] = True
        shown = np.flatnonzero(chosen)
        place = np.cumsum(chosen) - 1
        pixels = []
        for matrix, (rows, weight) in zip(matrices, drawn, strict=True):
            shape = (len(rows), len(shown))
            own = sp.csr_matrix((matrix.data, place[matrix.indices], matrix.indptr), shape=shape)
            pixels.append((own, samples.labels[rows], weight))
        return _Batch(shown, pixels, place[picked], self._member_labels[pick])

    def _draw(self) -> tuple[list[tuple[np.ndarray, float]], np.ndarray]:
        """(rows of the samples and the weight of their loss, for each set of pixels; [G] of the members)."""
        config, generator, usable = self._config, self._generator, self._usable
        # (1) One view's pixels; (2) every few iterations the pixels of neighbouring views together.
        drawn: list[tuple[np.ndarray, float]] = []
        if len(usable) and config.view_weight > 0:
            view = int(generator.choice(usable))
            rows = self._samples.rows_of(range(view, view + 1), config.pixels_per_batch, generator)
            drawn.append((rows, config.view_weight))
        if len(usable) and config.cross_view_weight > 0 and self._drawn % config.cross_view_every == 0:
            view, views = int(generator.choice(usable)), len(self._samples.view_start) - 1
            around = range(
                max(0, view - config.cross_view_span), min(views, view + config.cross_view_span + 1)
            )
            rows = self._samples.rows_of(around, config.pixels_per_batch, generator)
            drawn.append((rows, config.cross_view_weight))
        self._drawn += 1
        # (3) Gaussians of the 3D instances.
        if config.cluster_weight <= 0:
            return drawn, np.zeros(0, dtype=np.int64)
        count = min(config.gaussians_per_batch, len(self._members))
        return drawn, generator.integers(0, len(self._members), count)


def _step(adam: _Adam, batch: _Batch, config: FeaturesConfig, beside: Executor) -> None:
    """One step on a batch.  Only the Gaussians that it shows have a gradient."""
    import torch

    raw = torch.from_numpy(adam.take(batch.shown))  # [S, D]
    norms = raw.norm(dim=1, keepdim=True).clamp_min(1e-8)
    unit = raw / norms
    pulls = beside.submit(_gaussian_gradient, unit, batch, config) if len(batch.gaussians) else None
    gradient = torch.zeros_like(unit)
    for matrix, labels, weight in batch.pixels:
        gradient += _pixel_gradient(unit, matrix, labels, weight, config)
    if pulls is not None:
        gradient.index_add_(0, torch.from_numpy(batch.gaussians), pulls.result())
    # Through the normalisation of f.
    gradient = (gradient - unit * (gradient * unit).sum(1, keepdim=True)) / norms
    adam.step(batch.shown, gradient.numpy())


def _pixel_gradient(
    unit, matrix: sp.csr_matrix, labels: np.ndarray, weight: float, config: FeaturesConfig
) -> Tensor:
    """[S, D] weight · ∂L_CF/∂f of rendered pixels; matrix: [P, S] weights."""
    import torch

    rendered = torch.from_numpy(matrix @ unit.numpy()).requires_grad_()
    normalised = torch.nn.functional.normalize(rendered, dim=1)
    loss = weight * contrastive_loss(
        normalised, torch.from_numpy(labels), config.alpha, config.min_temperature
    )
    (pixel_gradient,) = torch.autograd.grad(loss, rendered)
    return torch.from_numpy(matrix.T @ pixel_gradient.numpy())


def _gaussian_gradient(unit, batch: _Batch, config: FeaturesConfig) -> Tensor:
    """[G, D] ∂L_CF/∂f of the batch's Gaussians, by their weight."""
    import torch

    chosen = unit[torch.from_numpy(batch.gaussians)].requires_grad_()
    loss = contrastive_loss(chosen, torch.from_numpy(batch.labels), config.alpha, config.min_temperature)
    (row_gradient,) = torch.autograd.grad(config.cluster_weight * loss, chosen)
    return row_gradient


def _initial_features(clusters, num_gaussians: int, config: FeaturesConfig, generator) -> np.ndarray:
    """Random directions; with the 3D loss on, an instance's Gaussians start around a common one.

    The common directions repel one another on the sphere first (they need not be orthogonal, so
    there may be more than `dimension` of them).  The 2D losses then move what the masks contradict.
    """
    features = generator.normal(size=(num_gaussians, config.dimension)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    if not clusters or config.cluster_weight <= 0:
        return features
    directions = generator.normal(size=(len(clusters), config.dimension))
    for _ in range(200):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        push = np.exp(8 * (directions @ directions.T - 1))
        np.fill_diagonal(push, 0)
        directions -= 0.2 * (push @ directions) / np.maximum(push.sum(axis=1, keepdims=True), 1e-12)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for direction, gaussians in zip(directions, clusters, strict=True):
        features[gaussians] += direction.astype(np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)


class _Adam:
    """Adam in place on the rows of one array of which each step knows the gradients of a few.

    A row without a gradient goes on by its momentum, which fades by known factors: what it would have moved
    in the steps since it was last looked at is one product.  So each step costs only the rows that it takes.

    β₂ = 0.95 instead of 0.999: once instances are apart the softmax saturates and gradients shrink by
    orders of magnitude within few steps; a short memory lets the pull within an instance go on."""

    FIRST, SECOND = 0.9, 0.95  # β₁, β₂
    EPSILON = 1e-15

    def __init__(self, values: np.ndarray, config: FeaturesConfig) -> None:
        """values: [N, D] float32 to begin with."""
        self._now = 0
        # Values, m, v [N, D] each, and those rows of them that were taken last
        self._state = (values.copy(), np.zeros_like(values), np.zeros_like(values))
        self._taken = tuple(column[:0] for column in self._state)
        self._seen = np.zeros(len(values), dtype=np.int64)  # the step up to which a row has been moved
        step = np.arange(1, config.iterations + 1)
        rate = config.learning_rate * config.final_learning_rate ** ((step - 1) / config.iterations)
        # What m / √v moves in a step, bias corrections included; entry 0 is no step.
        self._rate = np.append(0.0, rate * np.sqrt(1 - self.SECOND**step) / (1 - self.FIRST**step))
        fading = self.FIRST / np.sqrt(self.SECOND)  # of m / √v, a step
        # [T + 1] what m / √v of a row moves after step t until the last, where nothing is added to it
        self._ahead = np.zeros(config.iterations + 1)
        for t in range(config.iterations, 0, -1):
            self._ahead[t - 1] = fading * (self._rate[t] + self._ahead[t])
        # [T + 1] what is left of m / √v, of m and of v after so many steps
        steps = np.arange(config.iterations + 1)
        self._faded = tuple(factor**steps for factor in (fading, self.FIRST, self.SECOND))

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """[K, D] the rows as they are after all steps so far."""
        now = self._now
        at = np.arange(now + 1)  # the step at which a row was seen: few, so each factor is computed once
        both, first, second = (faded[now - at] for faded in self._faded)
        left = self._ahead[: now + 1] - both * self._ahead[now]
        seen = self._seen[rows]
        values, m, v = self._taken = tuple(np.take(column, rows, axis=0) for column in self._state)
        self._move(self._taken, left.astype(np.float32)[seen, None])
        m *= first.astype(np.float32)[seen, None]
        v *= second.astype(np.float32)[seen, None]
        return values.copy()

    def all(self) -> np.ndarray:
        """[N, D] all rows as they are after all steps so far."""
        return self.take(np.arange(len(self)))

    def step(self, rows: np.ndarray, gradient: np.ndarray) -> None:
        """One step: the gradient [K, D] of the rows that `take` was asked for last; 0 of the others."""
        self._now += 1
        _, m, v = self._taken
        m *= np.float32(self.FIRST)
        m += np.float32(1 - self.FIRST) * gradient
        v *= np.float32(self.SECOND)
        v += np.float32(1 - self.SECOND) * gradient**2
        self._move(self._taken, np.float32(self._rate[self._now]))
        for column, taken in zip(self._state, self._taken, strict=True):
            column[rows] = taken
        self._seen[rows] = self._now

    def _move(self, taken: Sequence[np.ndarray], far: np.ndarray | np.float32) -> None:
        values, m, v = taken
        moved = far * m
        root = np.sqrt(v)
        root += np.float32(self.EPSILON)
        moved /= root
        values -= moved


class _ConvergenceCheck:
    """Whether the assignment of the clusters' own Gaussians has stopped changing."""

    def __init__(self, clusters: Sequence[np.ndarray], config: FeaturesConfig) -> None:
        self.clusters, self.config = clusters, config
        self.members = np.concatenate(clusters)
        self.last: np.ndarray | None = None
        self.unchanged_checks = 0

    def reached(self, features: np.ndarray) -> bool:
        """Compare with the features of the last call; [N, D], of any length."""
        prototypes = prototypes_of(features, self.clusters)
        own = features[self.members]
        own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-8)
        similarity = own @ prototypes.T
        now = np.where(similarity.max(1) >= self.config.similarity, similarity.argmax(1), -1)
        if self.last is not None:
            changed = np.mean(now != self.last)
            self.unchanged_checks = self.unchanged_checks + 1 if changed <= self.config.settled_change else 0
        self.last = now
        return self.unchanged_checks >= self.config.settled_checks


def prototypes_of(features: np.ndarray, clusters: Sequence[np.ndarray]) -> np.ndarray:
    """[C, D] float32 unit: the mean feature of each cluster's Gaussians (not orthogonalised)."""
    means = np.stack([features[np.asarray(c)].mean(axis=0) for c in clusters])
    return (means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-8)).astype(np.float32)
