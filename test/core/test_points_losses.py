"""Matching and losses against plain float64 references, values and gradients; targets by hand."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from points_cases import assert_same_with_gradients, random_predictions, random_scene

from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.outputs import SceneOutput
from instascene_core.training.points.losses import (
    LossConfig,
    assign,
    decorrelation,
    layer_loss,
    mask_costs,
    match,
    scene_loss,
    superpoint_loss,
)
from instascene_core.training.points.prepared import NOTHING, VOID, PreparedScene
from instascene_core.training.points.targets import Targets, targets_of

CONFIG = LossConfig()


def truth(things: int = 2, superpoints: int = 6, seed: int = 3) -> Targets:
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.arange(superpoints) % (things + 1) - 1)
    masks = np.stack([owner == i for i in range(things)]).astype(float)
    objects = (owner >= 0).astype(float)
    objects[0] = 0.25
    known = np.ones(superpoints)
    known[-1] = 0.5
    return Targets(
        torch.from_numpy(masks), torch.from_numpy(rng.integers(2, size=things)),
        torch.from_numpy(rng.normal(size=(things, 3))), torch.from_numpy(objects),
        torch.from_numpy(known), torch.from_numpy(owner),
    )  # fmt: skip


def plain_pair(logits, mask):
    """(mean cross entropy, 1 − Dice) of one query and one mask, one superpoint at a time."""
    cross, overlap, total = 0.0, 0.0, 0.0
    for x, m in zip(logits, mask):
        p = 1 / (1 + torch.exp(-x))
        cross = cross - (m * torch.log(p) + (1 - m) * torch.log(1 - p))
        overlap, total = overlap + p * m, total + p + m
    return cross / len(mask), 1 - (2 * overlap + 1) / (total + 1)


def plain_cost(said, want, i, t):
    cross, dice = plain_pair(said.masks[i], want.masks[t])
    claim = torch.exp(said.classes[i]) / torch.exp(said.classes[i]).sum()
    apart = (said.centres[i] - want.centres[t]).abs().sum() / CONFIG.centre_m
    return (
        CONFIG.mask * cross + CONFIG.dice * dice - CONFIG.classes * claim[want.classes[t]]
        + CONFIG.centre * apart
    )  # fmt: skip


def test_mask_costs_against_the_reference():
    said, want = random_predictions(3, 6), truth()
    pairs = [[plain_pair(row, mask) for mask in want.masks] for row in said.masks]
    for ours, k in zip(mask_costs(said.masks, want.masks), (0, 1)):
        theirs = torch.stack([torch.stack([p[k] for p in row]) for row in pairs])
        assert_same_with_gradients(ours, theirs, (said.masks,))


@pytest.mark.parametrize("seed", range(4))
def test_matching_is_the_cheapest_of_all(seed):
    said, want = random_predictions(4, 6, 2, seed), truth(3, seed=seed)
    queries, things = match(said, want, CONFIG)
    assert things.tolist() == sorted(things.tolist()) or len(set(things.tolist())) == 3
    cost = lambda chosen: sum(float(plain_cost(said, want, i, t).detach()) for t, i in enumerate(chosen))  # noqa: E731
    best = min(itertools.permutations(range(4), 3), key=cost)
    assert dict(zip(things.tolist(), queries.tolist())) == dict(enumerate(best))


def cheapest(said, want) -> dict[int, int]:
    """Query → thing of the cheapest matching, tried one by one."""
    count = len(want.masks)
    with torch.no_grad():
        best = min(
            itertools.permutations(range(len(said.masks)), count),
            key=lambda chosen: sum(float(plain_cost(said, want, i, t)) for t, i in enumerate(chosen)),
        )
    return {i: t for t, i in enumerate(best)}


def plain_layer(said, want, thing_of):
    """One layer's loss in plain words; thing_of: query → thing."""
    count = len(thing_of)
    nothing = said.classes.shape[1] - 1
    weighed = total = 0.0
    for i, row in enumerate(said.classes):
        wanted = int(want.classes[thing_of[i]]) if i in thing_of else nothing
        weight = CONFIG.nothing if wanted == nothing else 1.0
        weighed = weighed - weight * (row[wanted] - torch.log(torch.exp(row).sum()))
        total += weight
    loss = CONFIG.classes * weighed / total
    said_iou = []
    for i, t in thing_of.items():
        cross, dice = plain_pair(said.masks[i], want.masks[t])
        apart = (said.centres[i] - want.centres[t]).abs().sum() / CONFIG.centre_m
        loss = loss + (CONFIG.mask * cross + CONFIG.dice * dice + CONFIG.centre * apart) / count
        found = said.masks[i].detach() > 0
        true = want.masks[t] > 0
        iou = float((found & true).sum()) / max(float((found | true).sum()), 1)
        if iou > CONFIG.good_mask:
            said_iou.append((1 / (1 + torch.exp(-said.scores[i])) - iou) ** 2)
    if said_iou:
        loss = loss + CONFIG.score * sum(said_iou) / len(said_iou)
    return loss, len(said_iou)


@pytest.mark.parametrize("seed", range(5))
def test_layer_loss_against_the_reference(seed):
    said, want = random_predictions(4, 6, 2, seed), truth(seed=seed)
    # One query shows the first thing well, so that scores count.
    good = said.masks.detach().clone()
    good[1] = (4 * want.masks[0] - 2) + 0.1 * good[1]
    said = dataclasses.replace(said, masks=good.requires_grad_())
    theirs, scored = plain_layer(said, want, cheapest(said, want))
    leaves = [said.masks, said.classes, said.centres] + ([said.scores] if scored else [])
    assert_same_with_gradients(layer_loss(said, want, CONFIG), theirs, leaves)
    assert scored or seed  # at least the first seed has a score to learn


def test_queries_that_started_on_a_thing_learn_it():
    """Owners are 0, 1 and none; two queries started on one thing, one on none, none on the other."""
    said, want = random_predictions(4, 6, 2, seed=8), truth(seed=2)
    on_first, beside = int((want.owner == 0).nonzero()[0]), int((want.owner == -1).nonzero()[0])
    said = dataclasses.replace(said, starts=torch.tensor([on_first, beside, on_first, beside]))
    free = min((1, 3), key=lambda i: plain_cost(said, want, i, 1).item())
    queries, things = assign(said, want, CONFIG)
    assert dict(zip(queries.tolist(), things.tolist())) == {0: 0, 2: 0, free: 1}
    theirs, _ = plain_layer(said, want, {0: 0, 2: 0, free: 1})
    assert_same_with_gradients(
        layer_loss(said, want, CONFIG), theirs, (said.masks, said.classes, said.centres)
    )


def test_a_scene_without_things_teaches_nothing_but_nothing():
    said = random_predictions(3, 4)
    nobody = Targets(
        torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64),
        torch.ones(4, dtype=torch.float64), torch.full((4,), -1),
    )  # fmt: skip
    loss = layer_loss(said, nobody, CONFIG)
    gradient = torch.autograd.grad(loss, said.masks, allow_unused=True)[0]
    assert gradient is None and loss.item() > 0


def plain_decorrelation(features, same, others):
    count, width = features.shape
    columns = []
    for d in range(width):
        mean = sum(features[i, d] for i in range(count)) / count
        deviation = torch.sqrt(sum((features[i, d] - mean) ** 2 for i in range(count)) / count + 1e-5)
        columns.append([(features[i, d] - mean) / deviation for i in range(count)])
    own, off = 0.0, 0.0
    for i, j in itertools.product(range(count), repeat=2):
        similarity = sum(columns[d][i] * columns[d][j] for d in range(width)) / width
        if i == j:
            own = own + (similarity - 1) ** 2 / count
        else:
            off = off + similarity**2 / (count * (count - 1))
    return same * own + others * off


def test_decorrelation_against_the_reference():
    features = random_predictions(5, 3).features
    ours = decorrelation(features, 0.3, 0.7)
    assert_same_with_gradients(ours, plain_decorrelation(features, 0.3, 0.7), (features,))


def test_decorrelation_prefers_queries_that_differ():
    twins = torch.tensor([[1.0, 0.0, 2.0, 0.0], [1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 1.0]])
    different = torch.eye(4)[:3]
    assert decorrelation(different, 0, 1) < decorrelation(twins, 0, 1)
    assert decorrelation(twins, 0, 0) == 0


def test_superpoint_loss_against_the_reference():
    scene, want = random_scene(6), truth()
    loss = total = known = 0.0
    for k in range(6):
        p, y = 1 / (1 + torch.exp(-scene.objectness[k])), want.objectness[k]
        total = total - want.known[k] * (y * torch.log(p) + (1 - y) * torch.log(1 - p))
        known += float(want.known[k])
    loss = CONFIG.objectness * total / known
    owned = [k for k in range(6) if want.owner[k] >= 0]
    for k in owned:
        wanted = want.centres[want.owner[k]] - scene.centres[k]
        loss = loss + CONFIG.offset * (scene.offsets[k] - wanted).abs().sum() / CONFIG.centre_m / len(owned)
    ours = superpoint_loss(SceneOutput(scene, ()), want, CONFIG)
    assert_same_with_gradients(ours, loss, (scene.objectness, scene.offsets))


def test_the_whole_is_layers_superpoints_and_decorrelation():
    scene, want = random_scene(6), truth()
    said = [random_predictions(4, 6, 2, seed) for seed in (1, 2)]
    whole = scene_loss(SceneOutput(scene, tuple(said)), want, CONFIG)
    parts = sum(layer_loss(s, want, CONFIG) for s in said) / 2
    parts = parts + superpoint_loss(SceneOutput(scene, ()), want, CONFIG)
    parts = parts + decorrelation(said[1].features, CONFIG.same_query, CONFIG.other_queries)
    torch.testing.assert_close(whole, parts)


def test_targets_by_hand():
    """Superpoints of 2 + 2 + 2 + 2 points: thing 7, thing 7 and void, table, half thing 9."""
    positions = np.zeros((8, 3), np.float32)
    positions[:, 0] = np.arange(8)
    cloud = PointCloud.of_surface(positions, np.tile([0, 0, 1.0], (8, 1)), np.zeros((8, 3)), 1.0)
    instance = np.array([7, 7, 7, VOID, NOTHING, NOTHING, 9, NOTHING], np.int32)
    category = np.array([2, 2, 2, -1, -1, -1, 3, -1], np.int16)
    found = targets_of(PreparedScene(cloud, np.repeat(np.arange(4), 2).astype(np.int32), instance, category))
    # Thing 9 has no superpoint that is mostly its own, so no mask could show it.
    assert found.masks.tolist() == [[1, 0, 0, 0]]
    assert found.classes.tolist() == [2]
    assert found.centres.tolist() == [[1, 0, 0]]
    assert found.objectness.tolist() == [1, 1, 0, 0.5]
    assert found.known.tolist() == [1, 0.5, 1, 1]
    assert found.owner.tolist() == [0, -1, -1, -1]
