"""The part network against plain float64 twins (fusion, losses, mean shift), and from points to parts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from instascene_core.config import PartsConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.sampling import even_samples
from instascene_core.parts.fusion import FusionParts, OffsetHead, region_features
from instascene_core.parts.grouping import (
    clusters_by_name,
    pushed_apart,
    touching_joined,
    without_crumbs,
)
from instascene_core.parts.losses import LossWeights, part_loss
from instascene_core.parts.mean_shift import mean_shift
from instascene_core.parts.network import (
    PartNetwork,
    PartPrediction,
    PartShape,
    TrainedParts,
    load_network,
    save_network,
)
from instascene_core.parts.samples import UNKNOWN, PartExample, batch_of, centres, in_unit_ball
from instascene_core.parts.segment import PartSegmenter, confidence

RNG = np.random.default_rng(5)
COUNTS = (7, 12)  # points of two things
TINY = PartShape((2, 3), widths=(4, 6), features=5, hidden=6)
NAMES = (("body", "handle"), ("body", "grip", "ear"))


def doubles(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(size=shape)).requires_grad_(True)


def chances(points: int, classes: int) -> torch.Tensor:
    return torch.softmax(torch.from_numpy(2 * RNG.normal(size=(points, classes))), dim=1)


# --- fusion ---


def region_features_by_hand(features: np.ndarray, chance: np.ndarray, counts) -> np.ndarray:
    """The formula, a point and a class at a time."""
    out, first = np.zeros_like(features), 0
    for count in counts:
        rows = range(first, first + count)
        means = []
        for k in range(chance.shape[1]):
            total = sum(chance[i, k] * features[i] for i in rows)
            means.append(total / sum(chance[i, k] for i in rows))
        for i in rows:
            out[i] = sum(chance[i, k] * means[k] for k in range(chance.shape[1]))
        first += count
    return out


def test_region_features_are_the_formula():
    features, chance = doubles(19, 4), chances(19, 3)
    got = region_features(features, chance, COUNTS)
    wanted = region_features_by_hand(features.detach().numpy(), chance.numpy(), COUNTS)
    np.testing.assert_allclose(got.detach().numpy(), wanted, atol=1e-12)


def test_region_features_gradient_is_that_of_differences():
    features, chance = doubles(19, 4), chances(19, 3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f, p: region_features(f, p, COUNTS), (features, chance))


def test_certain_classes_give_each_point_its_regions_mean():
    features = torch.arange(8.0).reshape(4, 2)
    chance = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    got = region_features(features, chance, (3, 1))
    np.testing.assert_allclose(got, [[1, 2], [1, 2], [4, 5], [6, 7]])


def test_no_gradient_goes_through_the_probabilities():
    head = OffsetHead(4, 5, 2, FusionParts()).double()
    features, points = doubles(19, 4), torch.from_numpy(RNG.normal(size=(19, 3)))
    logits = [doubles(19, 2), doubles(19, 3)]
    told = head(features, [torch.softmax(one, dim=1) for one in logits], 0, points, COUNTS)
    told.square().sum().backward()
    assert features.grad is not None and float(features.grad.abs().sum()) > 0
    assert all(one.grad is None for one in logits)


@pytest.mark.parametrize(
    ("parts", "sources", "outputs"),
    [
        (FusionParts(), 3, 6),
        (FusionParts(within=False), 2, 6),
        (FusionParts(across=False), 1, 6),
        (FusionParts(region=False), 3, 3),
        (FusionParts(False, False, False), 0, 3),
    ],
)
def test_each_part_of_the_fusion_can_be_left_out(parts, sources, outputs):
    head = OffsetHead(4, 5, 3, parts)
    assert len(head.transfer) == sources
    chance = [chances(19, k).float() for k in (2, 3, 4)]
    points = torch.randn(19, 3)
    told = head(torch.randn(19, 4), chance, 1, points, COUNTS)
    assert told.shape == (19, outputs)


def test_what_is_left_out_does_not_matter():
    head = OffsetHead(4, 5, 2, FusionParts(across=False)).eval()
    features, points = torch.randn(19, 4), torch.randn(19, 3)
    own, other, third = chances(19, 2).float(), chances(19, 3).float(), chances(19, 3).float()
    torch.testing.assert_close(
        head(features, [own, other], 0, points, COUNTS), head(features, [own, third], 0, points, COUNTS)
    )
    assert not torch.allclose(
        head(features, [own, other], 0, points, COUNTS),
        head(features, [chances(19, 2).float(), other], 0, points, COUNTS),
    )


# --- losses ---


def example(count: int, seed: int) -> PartExample:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    semantic = np.stack([rng.integers(0, 2, count), rng.integers(0, 3, count)])
    semantic[:, 0] = UNKNOWN
    return PartExample.of(rng.normal(size=(count, 3)), normals, semantic, rng.integers(0, 4, (2, count)))


def loss_by_hand(logits, to_instance, to_region, batch, weights: LossWeights) -> float:
    total = 0.0
    for level in range(2):
        of_things, first = [], 0
        for count in batch.counts:
            values = []
            for i in range(first, first + count):
                truth = int(batch.semantic[level, i])
                if truth == UNKNOWN:
                    continue
                row = logits[level][i]
                cross = np.log(np.exp(row - row.max()).sum()) + row.max() - row[truth]
                point = batch.points[i].numpy()
                off = np.abs(to_instance[level][i] - (batch.instance_centre[level, i].numpy() - point)).mean()
                far = np.abs(to_region[level][i] - (batch.region_centre[level, i].numpy() - point)).mean()
                values.append(weights.semantic * cross + weights.instance * off + weights.region * far)
            of_things.append(np.mean(values))
            first += count
        total += np.mean(of_things)
    return total


def test_losses_are_the_formula_and_their_gradients_that_of_differences():
    batch = batch_of([example(7, 0), example(12, 1)])
    batch = replace(
        batch,
        points=batch.points.double(),
        instance_centre=batch.instance_centre.double(),
        region_centre=batch.region_centre.double(),
    )
    logits, instance = (doubles(19, 2), doubles(19, 3)), (doubles(19, 3), doubles(19, 3))
    region = (doubles(19, 3), doubles(19, 3))
    weights = LossWeights(1.0, 0.7, 0.3)

    def loss(*tensors):
        return part_loss(PartPrediction(tensors[:2], tensors[2:4], tensors[4:]), batch, weights)

    plain = [[t.detach().numpy() for t in one] for one in (logits, instance, region)]
    got = loss(*logits, *instance, *region)
    assert float(got.detach()) == pytest.approx(loss_by_hand(*plain, batch, weights), abs=1e-12)
    assert torch.autograd.gradcheck(loss, (*logits, *instance, *region))


def test_unnamed_points_have_no_gradient():
    batch = batch_of([example(7, 0)])
    logits = (torch.randn(7, 2, requires_grad=True), torch.randn(7, 3, requires_grad=True))
    offsets = (torch.randn(7, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True))
    part_loss(PartPrediction(logits, offsets, ()), batch, LossWeights()).backward()
    for one in (*logits, *offsets):
        assert one.grad is not None
        assert float(one.grad[0].abs().max()) == 0 and float(one.grad[1:].abs().max()) > 0


# --- mean shift ---


def mean_shift_by_hand(points: np.ndarray, bandwidth: float) -> np.ndarray:
    """As the docstring says, a seed and a point at a time."""
    cells = sorted({tuple(np.round(p / bandwidth)) for p in points})
    modes = []
    for cell in cells:
        at = np.array(cell) * bandwidth
        for _ in range(300):
            near = [p for p in points if np.linalg.norm(p - at) <= bandwidth]
            if not near:
                break
            new = np.mean(near, axis=0)
            moved, at = np.linalg.norm(new - at), new
            if moved <= 1e-3 * bandwidth:
                break
        if near:
            modes.append((len(near), tuple(at)))
    kept: list[np.ndarray] = []
    for _, mode in sorted(modes, reverse=True):
        if all(np.linalg.norm(np.array(mode) - other) > bandwidth for other in kept):
            kept.append(np.array(mode))
    return np.array([int(np.argmin([np.linalg.norm(p - m) for m in kept])) for p in points])


@pytest.mark.parametrize("spread", [0.02, 0.06])
def test_mean_shift_is_the_plain_one(spread):
    rng = np.random.default_rng(1)
    points = np.concatenate([c + spread * rng.normal(size=(40, 3)) for c in rng.uniform(-1, 1, (3, 3))])
    np.testing.assert_array_equal(mean_shift(points, 0.15), mean_shift_by_hand(points, 0.15))


@pytest.mark.parametrize("spread", [0.02, 0.05])
def test_mean_shift_finds_what_scikit_learn_finds(spread):
    from sklearn.cluster import MeanShift
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(2)
    points = np.concatenate([c + spread * rng.normal(size=(150, 3)) for c in rng.uniform(-0.8, 0.8, (5, 3))])
    theirs = MeanShift(bandwidth=0.1, bin_seeding=True).fit(points).labels_
    assert adjusted_rand_score(mean_shift(points, 0.1), theirs) > 0.99


def test_mean_shift_of_little():
    assert mean_shift(np.zeros((0, 3)), 0.1).shape == (0,)
    np.testing.assert_array_equal(mean_shift(np.zeros((3, 3)), 0.1), 0)
    np.testing.assert_array_equal(np.unique(mean_shift(np.array([[0.0, 0, 0], [1, 0, 0]]), 0.1)), [0, 1])


# --- samples ---


def test_the_unit_ball_holds_the_box_by_its_diagonal():
    points = in_unit_ball(np.array([[1.0, 2, 3], [4, 6, 3], [2, 3, 3]]))
    np.testing.assert_allclose(points[:2], [[-0.6, -0.8, 0], [0.6, 0.8, 0]], atol=1e-6)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros((4, 3)), np.full((2, 3), np.nan), np.ones(3)])
def test_points_that_have_no_parts_are_refused(points):
    with pytest.raises(InputError):
        in_unit_ball(points)


def test_centres_are_means_of_equal_labels():
    points = np.array([[0.0, 0, 0], [2, 0, 0], [5, 5, 5]])
    np.testing.assert_allclose(centres(points, np.array([7, 7, 1])), [[1, 0, 0], [1, 0, 0], [5, 5, 5]])


# --- from answers to parts ---


def test_pushing_apart_by_hand():
    instance = np.array([[0.5, 0, 0], [0.01, 0, 0]])
    region = np.zeros((2, 3))
    np.testing.assert_allclose(pushed_apart(instance, region, 0.1), [[0.6, 0, 0], [0.02, 0, 0]])
    np.testing.assert_array_equal(pushed_apart(instance, None, 0.1), instance)


def test_clusters_never_join_two_names():
    centres_ = np.array([[0.0, 0, 0], [0.01, 0, 0], [0.0, 0, 0], [1.0, 0, 0]])
    part = clusters_by_name(centres_, np.array([0, 0, 2, 2]), 0.1)
    assert part[0] == part[1] and len(set(part.tolist())) == 3


def test_crumbs_join_what_is_nearest():
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [1, 0, 0], [1.1, 0, 0], [0.9, 0, 0]])
    np.testing.assert_array_equal(without_crumbs(points, np.array([0, 0, 1, 1, 2]), 2), [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(without_crumbs(points, np.arange(5), 2), np.arange(5))  # nothing larger


def test_clusters_that_touch_are_one_part_where_their_centres_are_near():
    row = np.stack([0.01 * np.arange(40), np.zeros(40), np.zeros(40)], axis=1)
    points = np.concatenate([row, row + np.array([5.0, 0, 0])])  # two rows far apart
    part = np.repeat([0, 1, 2, 3], 20)
    centres_ = np.repeat([[0.0, 0, 0], [0.3, 0, 0], [5, 0, 0], [5.9, 0, 0]], 20, axis=0)
    one = np.zeros(80, dtype=int)
    joined = touching_joined(points, centres_, part, one, 0.5)
    assert joined[0] == joined[39] and len({joined[0], joined[45], joined[79]}) == 3
    np.testing.assert_array_equal(touching_joined(points, centres_, part, one, 0.0), part)
    other = np.repeat([0, 1, 0, 0], 20)  # the first two bear different names
    assert len(set(touching_joined(points, centres_, part, other, 0.5))) == 4
    assert len(set(touching_joined(points, centres_, part, one, 2.0))) == 2


def test_confidence_runs_from_even_to_certain():
    np.testing.assert_allclose(confidence(np.array([[0.5, 0.5], [1.0, 0.0]])), [0.0, 1.0], atol=1e-9)


# --- the network ---


def tiny(seed: int = 0) -> TrainedParts:
    torch.manual_seed(seed)
    return TrainedParts(PartNetwork(TINY).eval(), NAMES)


def ball_and_stick() -> TriangleMesh:
    import trimesh

    one = trimesh.util.concatenate(
        [trimesh.creation.icosphere(2, 0.05), trimesh.creation.box((0.2, 0.01, 0.01))]
    )
    return TriangleMesh(np.array(one.vertices), np.array(one.faces, dtype=np.int32))


def test_the_network_answers_every_point_and_things_do_not_mix():
    network = tiny().network
    one, two = example(40, 3), example(60, 4)
    with torch.inference_mode():
        batch = batch_of([one, two])
        both = network(batch.points, batch.normals, batch.counts)
        alone = network(*(torch.from_numpy(v) for v in (two.points, two.normals)), (60,))
    for joint, single in zip((*both.logits, *both.to_instance, *both.to_region),
                             (*alone.logits, *alone.to_instance, *alone.to_region)):  # fmt: skip
        torch.testing.assert_close(joint[40:], single, atol=1e-5, rtol=1e-4)


def test_labels_of_a_mesh_are_parts_of_known_names_twice_the_same():
    segmenter = PartSegmenter(tiny(), PartsConfig(points=400))
    mesh = ball_and_stick()
    labels, again = segmenter.label_mesh(mesh), segmenter.label_mesh(mesh)
    assert len(labels.levels) == 2
    for level, other, known in zip(labels.levels, again.levels, NAMES):
        assert level.part.shape == (len(mesh.vertices),)
        assert level.part.max() < len(level.names) == len(level.scores)
        assert set(level.names) <= set(known) and (level.scores >= 0).all() and (level.scores <= 1).all()
        np.testing.assert_array_equal(level.part, other.part)


def test_answers_bring_turned_offsets_back():
    """A network that says the offset (1, 0, 0) in its own turned frame: the mean over turns is zero."""

    class Says(torch.nn.Module):
        def forward(self, points, normals, counts):
            assert sum(counts) == len(points)
            ahead = torch.tensor([[1.0, 0, 0]]).repeat(len(points), 1)
            logits = torch.stack([points[:, 2], -points[:, 2]], dim=1)
            return PartPrediction((logits,), (ahead,), ())

    segmenter = PartSegmenter(TrainedParts(Says(), (("up", "down"),)), PartsConfig(passes=4))  # pyright: ignore[reportArgumentType]
    points = in_unit_ball(RNG.normal(size=(50, 3)))
    said = segmenter.answers(points, np.zeros((50, 3), np.float32))
    np.testing.assert_allclose(said.instance_centre[0], points, atol=1e-6)
    assert said.region_centre is None
    np.testing.assert_array_equal(said.probabilities[0].argmax(axis=1), (points[:, 2] < 0).astype(int))


def test_a_mesh_without_surface_has_no_parts():
    segmenter = PartSegmenter(tiny(), PartsConfig())
    with pytest.raises(InputError, match="without triangles"):
        segmenter.label_mesh(TriangleMesh(np.zeros((3, 3)), np.zeros((0, 3), np.int32)))
    with pytest.raises(InputError, match="without area"):
        segmenter.label_mesh(TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32)))


def test_samples_are_spread_by_area():
    mesh = TriangleMesh(
        np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [0, 0, 1.0]]),
        np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]], np.int32),
    )
    points, normals, triangles = even_samples(mesh, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(triangles), [200, 200, 100])
    np.testing.assert_allclose(normals[triangles < 2], [[0, 0, 1]] * 400)
    assert (points[triangles < 2, 2] == 0).all() and (points[triangles == 2, 0] == 0).all()


# --- weights ---


def test_weights_come_back_as_they_were(tmp_path):
    trained = tiny()
    path = tmp_path / "parts.safetensors"
    save_network(trained, path, {"seed": "0"})
    loaded = load_network(path)
    assert loaded.names == NAMES and loaded.network.shape == TINY
    one = example(50, 6)
    inputs = (torch.from_numpy(one.points), torch.from_numpy(one.normals), (50,))
    with torch.inference_mode():
        for a, b in zip(trained.network(*inputs).logits, loaded.network(*inputs).logits):
            torch.testing.assert_close(a, b, atol=2e-2, rtol=2e-2)  # stored in half precision


@pytest.mark.parametrize("damage", ["missing", "not weights", "names", "shape"])
def test_wrong_weights_are_one_sentence(tmp_path, damage):
    path = tmp_path / "parts.safetensors"
    if damage == "not weights":
        path.write_bytes(b"no weights at all")
    elif damage == "names":
        save_network(TrainedParts(tiny().network, (("body",), NAMES[1])), path, {})
    elif damage == "shape":
        from instascene_core.weights import write_weights

        write_weights(
            path, {"a": np.zeros(3, np.float32)}, "instascene-parts-1", {"shape": "{}", "names": "[]"}
        )
    with pytest.raises(InputError) as told:
        load_network(path)
    assert str(told.value).count("\n") == 0 and "parts.safetensors" in str(told.value)
