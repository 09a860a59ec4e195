"""The contrastive field: its loss by hand, many instances, switches; assignment, ids."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from association_cases import cluster_image, directions, spheres, trace_of_points

from instascene_core.config import FeaturesConfig
from instascene_core.errors import InputError
from instascene_core.features import (
    assign,
    prototypes_of,
    stable_ids,
    train_features,
    transfer_labels,
)
from instascene_core.features.assign import fill_from_neighbours
from instascene_core.features.field import _Adam, contrastive_loss, sample_pixels
from instascene_core.frame import UNLABELLED

CONFIG = FeaturesConfig(pixels_per_view=1500, pixels_per_batch=1024, gaussians_per_batch=2048)


def labelled_scene(count, points=120, views=8, seed=0):
    means, _, owner = spheres(count, points, seed)
    traces = [trace_of_points(means, d, size=96) for d in directions(views, seed)]
    images = [cluster_image(t, owner) for t in traces]
    clusters = [np.flatnonzero(owner == i) for i in range(count)]
    return means, owner, traces, images, clusters


def test_loss_by_hand():
    """Two labels, one feature each off its mean: formula (L_CF) written out."""
    f = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([4, 4, 9])
    alpha = 10.0
    mean = (f[0] + f[1]) / 2
    spread = sum(float((f[i] - mean).norm()) for i in (0, 1))
    temperature = [spread / (2 * math.log(2 + alpha)), 0.1]  # the single feature has no spread: the floor
    means = [mean, f[2]]
    expected = 0.0
    for i, own in ((0, 0), (1, 0), (2, 1)):
        logits = [float(f[i] @ m) / max(temperature[own], 0.1) for m in means]
        expected -= math.log(math.exp(logits[own]) / sum(math.exp(x) for x in logits)) / 3
    value = contrastive_loss(f, labels, alpha, 0.1)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def estimated_clusters(clusters, rng):
    """Half of each object's Gaussians, a fifth of them swapped for Gaussians of the next object."""
    half = [rng.permutation(c)[: len(c) // 2] for c in clusters]
    wrong = [c[: len(c) // 5] for c in half]
    return [np.concatenate([c[len(c) // 5 :], wrong[i - 1]]) for i, c in enumerate(half)]


def damaged_masks(images, rng):
    """15 % of each view's masks are missing, 15 % are given to an object of that view at random."""
    damaged = []
    for image in images:
        result, ids = image.copy(), np.unique(image[image > UNLABELLED])
        for number in ids:
            luck = rng.random()
            if luck < 0.3:
                result[image == number] = UNLABELLED if luck < 0.15 else rng.choice(ids)
        damaged.append(result)
    return damaged


@pytest.mark.parametrize(("count", "right", "gain"), [(5, 0.85, 0.15), (20, 0.76, 0.06), (60, 0.75, 0.075)])
def test_features_complete_estimated_clusters_of_more_instances_than_dimensions(count, right, gain):
    """From damaged masks and clusters that hold 40 % of the truth; neighbours alone are the comparison."""
    means, owner, traces, images, truth = labelled_scene(count, points=60)
    rng = np.random.default_rng(0)
    clusters, masks = estimated_clusters(truth, rng), damaged_masks(images, rng)
    alone = np.full(len(means), UNLABELLED, dtype=np.int32)
    for index, cluster in enumerate(clusters):
        alone[cluster] = index
    assert (alone == owner).mean() == pytest.approx(0.4)
    features = train_features(traces, masks, clusters, len(means), CONFIG)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    prototypes = prototypes_of(features, clusters)
    others = prototypes @ prototypes.T - 2 * np.eye(count)
    assert others.max() < CONFIG.similarity
    labels = assign(features, clusters, means, CONFIG)
    assert (labels == owner).mean() > right
    filled = fill_from_neighbours(alone, means, CONFIG)
    assert (labels == owner).mean() > (filled == owner).mean() + gain


def test_each_loss_alone_separates_and_seeds_are_deterministic():
    means, owner, traces, images, truth = labelled_scene(4)
    rng = np.random.default_rng(0)
    clusters = [rng.permutation(cluster)[: len(cluster) // 2] for cluster in truth]
    known = np.isin(np.arange(len(means)), np.concatenate(clusters))
    off = dict(view_weight=0.0, cross_view_weight=0.0, cluster_weight=0.0)
    for name in off:
        config = dataclasses.replace(CONFIG, **{**off, name: 1.0}, iterations=300)
        features = train_features(traces, images, clusters, len(means), config)
        nearest = (features @ prototypes_of(features, clusters).T).argmax(axis=1)
        seen = np.zeros(len(means), dtype=bool)
        for trace in traces:
            seen[trace.indices] = True
        told = known if name == "cluster_weight" else seen  # the loss on clusters says nothing of the others
        assert (nearest == owner)[told].mean() > 0.95, name
    one = train_features(traces, images, clusters, len(means), CONFIG, seed=3)
    two = train_features(traces, images, clusters, len(means), CONFIG, seed=3)
    np.testing.assert_array_equal(one, two)


def test_2d_masks_correct_a_wrong_cluster():
    """Gaussians given to the wrong 3D instance move when every view's pixels say otherwise."""
    means, owner, traces, images, clusters = labelled_scene(3, points=200, views=10)
    stolen = clusters[1][:10]
    wrong = [np.concatenate([clusters[0], stolen]), np.setdiff1d(clusters[1], stolen), clusters[2]]
    config = dataclasses.replace(CONFIG, view_weight=5.0, cluster_weight=0.1)
    features = train_features(traces, images, wrong, len(means), config)
    nearest = (features @ prototypes_of(features, wrong).T).argmax(axis=1)
    seen = np.isin(stolen, np.concatenate([t.indices for t in traces]))
    assert (nearest[stolen[seen]] == 1).mean() > 0.7
    assert (nearest == owner).mean() > 0.9


def test_settled_training_stops_early():
    means, _, traces, images, clusters = labelled_scene(3)
    reached = []
    config = dataclasses.replace(CONFIG, iterations=2000)
    train_features(traces, images, clusters, len(means), config, progress=lambda s, f, m: reached.append(f))
    assert max(reached[:-1]) < 0.9


def test_memory_bound_keeps_every_view_and_every_instance():
    _, _, traces, images, _ = labelled_scene(6)
    config = dataclasses.replace(CONFIG, pixels_per_view=60)
    samples = sample_pixels(traces, images, 6, 720, config, np.random.default_rng(0))
    assert (np.diff(samples.view_start) == 60).all()
    assert set(samples.labels) == set(range(6))
    np.testing.assert_allclose(samples.weights.sum(axis=1), 1, atol=1e-5)


def test_no_cluster_and_bad_input():
    means, _, traces, images, clusters = labelled_scene(2)
    features = train_features(traces, [np.full_like(i, UNLABELLED) for i in images], [], len(means), CONFIG)
    assert (assign(features, [], means, CONFIG) == UNLABELLED).all()
    with pytest.raises(InputError, match="contains cluster 1, but there are 1 clusters"):
        train_features(traces, images, clusters[:1], len(means), CONFIG)
    features[3] = np.nan
    with pytest.raises(InputError, match="1 Gaussians contain NaN"):
        assign(features, clusters, means, CONFIG)


def test_unassigned_follow_agreeing_neighbours_or_stay_unlabelled():
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0), [0.0]), axis=-1).reshape(-1, 3)
    means = np.concatenate([grid, grid + np.array([20, 0, 0]), [[4.5, 4.5, 0.2], [14.5, 4.5, 0.0]]])
    clusters = [np.arange(100), np.arange(100, 200)]
    features = np.zeros((202, 16), dtype=np.float32)
    features[:100, 0] = features[100:200, 1] = features[200:, 2] = 1
    labels = assign(features, clusters, means, CONFIG)
    assert labels[200] == 0  # among Gaussians of the first
    assert labels[201] == UNLABELLED  # between both, far from either
    assert (labels[:200] == np.repeat([0, 1], 100)).all()


def test_ids_stay_with_their_gaussians():
    previous = np.array([4] * 10 + [9] * 10 + [UNLABELLED] * 10)
    labels = np.array([1] * 9 + [0] * 11 + [2] * 10, dtype=np.int32)
    np.testing.assert_array_equal(stable_ids(labels, previous, 3, 0.2), [9, 4, 10])
    np.testing.assert_array_equal(stable_ids(labels, np.full(30, UNLABELLED), 3, 0.2), [1, 2, 3])


def test_labels_move_to_new_gaussians_nearby():
    old = np.stack([np.arange(20.0), np.zeros(20), np.zeros(20)], axis=1)
    new = np.array([[3.1, 0, 0], [16.8, 0.1, 0], [90.0, 0, 0]])
    labels = np.where(np.arange(20) < 10, 1, 2)
    np.testing.assert_array_equal(transfer_labels(old, labels, new, CONFIG), [1, 2, UNLABELLED])


def test_rows_without_gradients_move_as_if_every_step_had_taken_them():
    """Adam on all rows in every step, written out, against steps that each take some."""
    rng = np.random.default_rng(3)
    config = FeaturesConfig(iterations=60)
    start = rng.normal(size=(9, 4)).astype(np.float32)
    expected, first, second = start.astype(np.float64), np.zeros((9, 4)), np.zeros((9, 4))
    adam = _Adam(start, config)
    for step in range(1, 61):
        rows = np.flatnonzero(rng.random(9) < (0.3 if step < 50 else 0.0))
        gradient = rng.normal(size=(len(rows), 4)).astype(np.float32)
        adam.take(rows)
        adam.step(rows, gradient)
        dense = np.zeros((9, 4))
        dense[rows] = gradient
        first, second = 0.9 * first + 0.1 * dense, 0.95 * second + 0.05 * dense**2
        rate = config.learning_rate * config.final_learning_rate ** ((step - 1) / 60) / (1 - 0.9**step)
        expected -= rate * first / (np.sqrt(second / (1 - 0.95**step)) + 1e-15)
    assert np.abs(adam.all() - start).max() > 0.05
    np.testing.assert_allclose(adam.all(), expected, atol=2e-5)
