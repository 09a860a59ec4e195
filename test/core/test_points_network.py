"""Both decoders against float64 references (values and gradients), and what is read from them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from points_cases import assert_same_with_gradients, random_scene, tabletop, tiny_network
from safetensors.numpy import save_file

from instascene_core.config.points import DecoderConfig, ReadingConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.segmentation.points_network.attention import Attention
from instascene_core.segmentation.points_network.embedding import RelativePositionBias, sine_embedding
from instascene_core.segmentation.points_network.files import (
    FORMAT,
    load_points_network,
    save_points_network,
)
from instascene_core.segmentation.points_network.kernels import KernelDecoder, kernel_sizes, paint
from instascene_core.segmentation.points_network.network import PointsNetwork, network_input
from instascene_core.segmentation.points_network.outputs import Predictions, SceneOutput
from instascene_core.segmentation.points_network.reading import disjoint_labels, read_instances
from instascene_core.segmentation.points_network.sampling import farthest_points, start_points
from instascene_core.segmentation.points_network.transformer import QueryDecoder


def plain_attention(layer: Attention, queries, keys, values, bias, hidden):
    """One query, one head and one key at a time."""
    heads, width = layer.heads, queries.shape[1] // layer.heads
    rows = []
    for i in range(len(queries)):
        parts = []
        for h in range(heads):
            cut = slice(h * width, (h + 1) * width)
            q = layer.query(queries[i])[cut]
            looked_at = [j for j in range(len(keys)) if not hidden[i, j]] or list(range(len(keys)))
            weights = torch.stack(
                [torch.exp(q @ layer.key(keys[j])[cut] / math.sqrt(width) + bias[h, i, j]) for j in looked_at]
            )
            mixed = sum(w * layer.value(values[j])[cut] for w, j in zip(weights / weights.sum(), looked_at))
            parts.append(mixed)
        rows.append(layer.out(torch.cat(parts)))
    return torch.stack(rows)


def plain_bias(layer: RelativePositionBias, references, centres):
    rows = []
    for h in range(layer.table.shape[2]):
        for r in references:
            for c in centres:
                steps = [round(float((c[a] - r[a]).detach() / layer.step_m)) for a in range(3)]
                index = [min(max(s, -layer.steps), layer.steps) + layer.steps for s in steps]
                rows.append(sum(layer.table[a, index[a], h] for a in range(3)))
    return torch.stack(rows).reshape(-1, len(references), len(centres))


def plain_embedding(position, channels, wavelength):
    waves, values = channels // 6, []
    for axis in range(3):
        for function in (math.sin, math.cos):
            values += [
                function(2 * math.pi * 2**k * float(position[axis]) / wavelength) for k in range(waves)
            ]
    return torch.tensor(values + [0.0] * (channels - len(values)), dtype=torch.float64)


def test_embedding_by_hand():
    positions = torch.tensor([[0.1, -0.4, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    ours = sine_embedding(positions, 20, 4.0)
    assert ours.shape == (2, 20)
    expected = torch.stack([plain_embedding(p, 20, 4.0) for p in positions])
    torch.testing.assert_close(ours, expected)


def test_attention_with_bias_and_mask():
    torch.manual_seed(0)
    layer = Attention(6, 2).double()
    queries, keys, values = (torch.randn(n, 6, dtype=torch.float64).requires_grad_() for n in (3, 5, 5))
    bias = torch.randn(2, 3, 5, dtype=torch.float64).requires_grad_()
    hidden = torch.rand(3, 5) < 0.5
    hidden[2] = True  # sees nothing, so looks at everything
    ours = layer(queries, keys, values, bias, hidden)
    theirs = plain_attention(layer, queries, keys, values, bias, hidden)
    leaves = (queries, keys, values, bias, layer.query.weight, layer.out.weight)
    assert_same_with_gradients(ours, theirs, leaves)


def test_relative_position_bias():
    torch.manual_seed(0)
    layer = RelativePositionBias(2, 4, 0.1).double()
    torch.nn.init.normal_(layer.table)
    references, centres = (torch.randn(n, 3, dtype=torch.float64) * 0.3 for n in (3, 5))
    assert_same_with_gradients(
        layer(references, centres), plain_bias(layer, references, centres), (layer.table,)
    )


def plain_transformer(decoder: QueryDecoder, scene):
    """The decoder in its own words, with the plain attention, bias and embedding."""
    config = decoder.config
    embedded = lambda p: torch.stack([plain_embedding(x, config.width, config.wavelength_m) for x in p])  # noqa: E731
    low, high = scene.centres.min(dim=0).values, scene.centres.max(dim=0).values
    queries = decoder.queries
    references = low + 1 / (1 + torch.exp(-decoder.references)) * (high - low)
    superpoints, features = decoder.superpoints(scene.features), decoder.mask_features(scene.features)
    there = decoder.where(embedded(scene.centres.detach()))
    for layer in (None, *decoder.layers):
        if layer is not None:
            where = decoder.where(embedded(references.detach()))
            hidden = masks.detach() < 0  # noqa: F821 (of the round before)
            bias = plain_bias(layer.bias, references, scene.centres)
            mixed = plain_attention(
                layer.across, queries + where, superpoints + there, superpoints, bias, hidden
            )
            queries = layer.norms[0](queries + mixed)
            nothing = torch.zeros(config.heads, len(queries), len(queries), dtype=torch.float64)
            mixed = plain_attention(
                layer.among, queries + where, queries + where, queries, nothing, nothing[0] > 1
            )
            queries = layer.norms[1](queries + mixed)
            queries = layer.norms[2](queries + layer.think(queries))
        classes, scores, shift = decoder.heads(queries)
        masks = decoder.mask_queries(queries) @ features.T / math.sqrt(config.width)
        centres = references.detach() + shift if layer is not None else references + shift
        references = centres
    return Predictions(classes, scores, centres, masks, queries)


def test_transformer_against_the_reference():
    torch.manual_seed(0)
    decoder = QueryDecoder(10, 2, tiny_network().decoder).double()
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.bias.table)
    for parameter in decoder.heads.shift.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    scene = random_scene()
    said = decoder(scene)
    assert len(said) == 3
    reference = plain_transformer(decoder, scene)
    leaves = (scene.features, decoder.queries, decoder.layers[0].bias.table, decoder.where[0].weight)
    for name in ("masks", "classes", "features"):
        assert_same_with_gradients(getattr(said[-1], name), getattr(reference, name), leaves)
    assert_same_with_gradients(said[-1].centres, reference.centres, (scene.features, decoder.queries))
    assert_same_with_gradients(said[-1].scores, reference.scores, (scene.features, decoder.queries))


def plain_kernels(decoder: KernelDecoder, scene):
    """One query and one superpoint at a time."""
    config = decoder.config
    voted = [(c + o).detach() for c, o in zip(scene.centres, scene.offsets)]
    start = start_points(scene, config.queries).tolist()
    features = decoder.mask_features(scene.features)
    masks, embedded = [], []
    for place in (voted[i] for i in start):
        near = torch.stack([torch.exp(-(((v - place) / config.gather_m) ** 2).sum()) for v in voted])
        rows = [
            decoder.gather(torch.cat([f, (c - place) / config.gather_m]))
            for f, c in zip(scene.features, scene.centres)
        ]
        query = decoder.queries(sum(n * r for n, r in zip(near / near.sum(), rows)))
        first, bias, second, last = decoder.kernels(query).split(decoder.sizes)
        first = first.reshape(-1, config.kernel_hidden)
        row = []
        for f, v in zip(features, voted):
            x = torch.cat([f, (v - place) / config.gather_m])
            row.append(torch.relu(x @ first + bias) @ second + last[0])
        masks.append(torch.stack(row))
        embedded.append(query)
    return torch.stack(masks), torch.stack(embedded)


def test_kernels_against_the_reference():
    torch.manual_seed(0)
    config = dataclasses.replace(tiny_network("kernel").decoder, gather_m=1.0)
    decoder = KernelDecoder(10, 1, config).double()
    scene = random_scene()
    (said,) = decoder(scene)
    masks, queries = plain_kernels(decoder, scene)
    leaves = (scene.features, decoder.kernels[2].weight, decoder.gather[0].weight)
    assert_same_with_gradients(said.masks, masks, leaves)
    assert_same_with_gradients(said.features, queries, (scene.features, decoder.gather[0].weight))


def test_a_kernel_by_hand():
    """1 feature + 3 offsets → 1 hidden → 1: relu(2 f + 1 x + 0.5) · 3 − 1."""
    kernel = torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.5, 3.0, -1.0]])
    sizes = kernel_sizes(4, 1)
    features, offset = torch.tensor([[1.0], [-3.0]]), torch.tensor([[[0.5, 9.0, 9.0], [0.5, 9.0, 9.0]]])
    assert paint(kernel, features, offset, sizes).tolist() == [[8.0, -1.0]]


def test_queries_start_spread_over_what_may_be_objects():
    positions = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [5.0, 0, 0], [2.0, 0, 0]])
    assert farthest_points(positions, 3).tolist() == [2, 0, 3]
    assert len(farthest_points(positions, 9)) == 4
    scene = random_scene(4)
    scene = dataclasses.replace(
        scene,
        centres=positions.double(),
        offsets=torch.zeros(4, 3, dtype=torch.float64),
        objectness=torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64),
    )
    assert sorted(start_points(scene, 2).tolist()) == [0, 3]
    assert sorted(start_points(scene, 4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("architecture", ["transformer", "kernel"])
@pytest.mark.parametrize("start", ["learned", "sampled"])
def test_scenes_of_a_batch_do_not_mix(architecture, start):
    torch.manual_seed(0)
    network = PointsNetwork(tiny_network(architecture, start)).eval()
    scenes = [tabletop(1), tabletop(2)]
    with torch.inference_mode():
        together = network(network_input([s.cloud for s in scenes], [s.superpoint for s in scenes], 0.006))
        alone = network(network_input([scenes[1].cloud], [scenes[1].superpoint], 0.006))
    torch.testing.assert_close(together[1].layers[-1].masks, alone[0].layers[-1].masks, rtol=1e-3, atol=1e-4)
    assert together[0].layers[-1].masks.shape[1] == scenes[0].superpoint.max() + 1


def spoken(masks, classes=None, scores=None) -> SceneOutput:
    masks = torch.tensor(masks, dtype=torch.float64)
    count = len(masks)
    classes = torch.tensor([[9.0, -9.0]] * count if classes is None else classes, dtype=torch.float64)
    scores = torch.tensor([9.0] * count if scores is None else scores, dtype=torch.float64)
    said = Predictions(classes, scores, torch.zeros(count, 3), masks, torch.zeros(count, 2))
    return SceneOutput(random_scene(masks.shape[1]), (said,))


READING = ReadingConfig(min_score=0.1, min_points=2, max_overlap=0.5)


def test_reading_masks_by_hand():
    superpoint = np.array([0, 0, 1, 1, 1, 2, 2])
    found = read_instances(
        spoken(
            [[9, -9, -9], [-9, 9, 2], [9, -9, -9], [-9, -9, -9]],
            scores=[0.0, 9.0, 9.0, 9.0],
            classes=[[9, -9], [9, -9], [0, 0], [9, -9]],
        ),
        superpoint, READING,
    )  # fmt: skip
    # The third query's claim is 1/2 with an IoU of 1: as sure as the first, whose double it is.
    assert len(found) == 2
    assert found.masks.tolist() == [[False] * 2 + [True] * 5, [True] * 2 + [False] * 5]
    certain = (3 * 1 / (1 + math.exp(-9)) + 2 * 1 / (1 + math.exp(-2))) / 5
    np.testing.assert_allclose(found.scores, [certain, 0.5], rtol=1e-3)
    assert disjoint_labels(found, 2).tolist() == [2, 2, 1, 1, 1, 1, 1]


def test_a_point_goes_to_the_surer_mask_and_remnants_to_none():
    superpoint = np.arange(4)
    found = read_instances(
        spoken([[9, 9, 9, -9], [-9, -9, 1, 9]]), superpoint, dataclasses.replace(READING, min_points=1)
    )
    assert len(found) == 2
    first = np.flatnonzero(found.masks[:, 0])[0] + 1
    assert disjoint_labels(found, 1).tolist() == [first, first, first, 3 - first]
    assert disjoint_labels(found, 2).tolist() == [first, first, first, UNLABELLED]


def test_nothing_is_read_from_queries_that_say_nothing():
    found = read_instances(spoken([[9, 9]], classes=[[-9, 9]]), np.array([0, 0, 1, 1]), READING)
    assert len(found) == 0 and found.masks.shape == (0, 4)
    assert disjoint_labels(found, 1).tolist() == [UNLABELLED] * 4


@pytest.mark.parametrize("architecture", ["transformer", "kernel"])
def test_weights_come_back(tmp_path, architecture):
    torch.manual_seed(0)
    network = PointsNetwork(tiny_network(architecture)).eval()
    path = tmp_path / "points.safetensors"
    save_points_network(network, path, {"scores": "{}"})
    again = load_points_network(path)
    assert again.config == network.config and not again.training
    scene = tabletop(1)
    inputs = network_input([scene.cloud], [scene.superpoint], 0.006)
    with torch.inference_mode():
        one, two = (n(inputs)[0].layers[-1].masks for n in (network, again))
    torch.testing.assert_close(one, two, rtol=0.05, atol=0.05)  # half precision


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architecture": "none"}, "none"),
        ({"voxel_m": "0.1"}, "voxel_m"),
        ({"voxel_m": -1.0}, "voxel_m"),
        ({"channels": 10**9}, "channels"),
        ({"channels": 11}, "do not fit"),
        ({"unknown": 1}, "unknown"),
        ({"decoder": 5}, "do not fit"),
        ({"widths": [8, 12]}, "do not fit"),
        (None, "do not fit"),
    ],
)
def test_foreign_weights_are_refused(tmp_path, change, says):
    network = PointsNetwork(tiny_network())
    path = tmp_path / "points.safetensors"
    told = dataclasses.asdict(network.config) | (change or {})
    arrays = {k: v.numpy().astype(np.float32) for k, v in network.state_dict().items()}
    config = json.dumps(told) if change is not None else "[]"
    save_file(
        arrays, str(path),
        metadata={"format": FORMAT, "config": config, "widths": json.dumps(told["widths"])},
    )  # fmt: skip
    with pytest.raises(InputError, match=says):
        load_points_network(path)


def test_the_decoder_in_use_is_small():
    """The weights must stay below 10 MB in half precision."""
    for architecture in ("transformer", "kernel"):
        config = dataclasses.replace(tiny_network(architecture), widths=(16, 32, 48, 64, 80), channels=32)
        network = PointsNetwork(dataclasses.replace(config, decoder=DecoderConfig()))
        assert 2 * sum(p.numel() for p in network.parameters()) < 5e6
