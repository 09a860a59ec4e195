"""The merge tree, what is known of its nodes, and the choice of objects among them."""

import itertools
from functools import partial

import numpy as np
import pytest

from instascene_core.config.segmentation import FusedSurfaceConfig, SegmentationConfig
from instascene_core.errors import InputError
from instascene_core.segmentation.fused_surface.contacts import load_contact_model
from instascene_core.segmentation.fused_surface.cutting import tidy_objects
from instascene_core.segmentation.fused_surface.nodes import (
    NUM_NODE_FEATURES,
    Nodes,
    palette_cells,
    shared_palette,
)
from instascene_core.segmentation.fused_surface.objectness import (
    FORMAT,
    WEIGHTS,
    choose_objects,
    load_objectness_model,
)
from instascene_core.segmentation.fused_surface.tree import MergeTree, merge_tree
from instascene_core.segmentation.graph import Links, join
from instascene_core.training.segmenter import judges
from instascene_core.training.segmenter.contacts import ContactTraining
from instascene_core.training.segmenter.evidence import gather_scene, write_scene
from instascene_core.training.segmenter.objectness import (
    ObjectnessTraining,
    part_iou,
    scores_of,
    train,
    tree_example,
)
from instascene_core.weights import write_weights

SURFACE = FusedSurfaceConfig()


def random_links(seed: int, count: int = 30) -> Links:
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(count, 1)
    chosen = rng.uniform(size=len(first)) < 0.3
    first, second = first[chosen], second[chosen]
    size = len(first)
    return Links(
        first, second, rng.uniform(0.1, 5, size), rng.uniform(size=size), rng.uniform(size=size) < 0.7
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_tree_up_to_a_cut_is_what_join_joins(seed):
    links, count = random_links(seed), 30
    tree = merge_tree(links, count)
    for limit in (0.2, 0.4, 0.6):
        stop = np.flatnonzero(np.r_[tree.cut, np.inf] > limit)[0]  # join ends with the first merge above it
        group = np.arange(count)
        for node, (left, right) in enumerate(tree.children[:stop], count):
            below = [set(leaves_of(tree, int(child))) for child in (left, right)]
            assert not below[0] & below[1]
            group[list(below[0] | below[1])] = node
        expected = np.unique(group, return_inverse=True)[1]
        found = join(links, count, limit)
        assert (found[:, None] == found[None]).tolist() == (expected[:, None] == expected[None]).tolist()


def leaves_of(tree: MergeTree, node: int) -> list[int]:
    if node < tree.leaves:
        return [node]
    left, right = tree.children[node - tree.leaves]
    return leaves_of(tree, int(left)) + leaves_of(tree, int(right))


def test_ranges_sums_and_meeting_nodes_agree_with_a_plain_walk():
    tree = merge_tree(random_links(7), 30)
    order, start, end = tree.ranges()
    values = np.arange(30.0) ** 2
    total = tree.add_up(values)
    below = [set(leaves_of(tree, node)) for node in range(tree.size)]
    for node in range(tree.size):
        assert set(order[start[node] : end[node]].tolist()) == below[node]
        assert total[node] == pytest.approx(values[list(below[node])].sum())
    first, second = (part.ravel() for part in np.indices((30, 30)))
    apart = first != second
    meeting = tree.meeting_node(first[apart], second[apart])
    for a, b, node in zip(first[apart].tolist(), second[apart].tolist(), meeting.tolist(), strict=True):
        shared = [n for n in range(tree.leaves, tree.size) if {a, b} <= below[n]]
        assert node == min(shared, default=-1)


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_objects_are_worth_most(seed):
    rng = np.random.default_rng(seed)
    tree = merge_tree(random_links(seed, 9), 9)
    below = [frozenset(leaves_of(tree, node)) for node in range(tree.size)]
    index = np.flatnonzero(rng.uniform(size=tree.size) < 0.8)
    expected = rng.uniform(size=len(index))
    nodes = Nodes(index, np.zeros((len(index), NUM_NODE_FEATURES), np.float32))
    part = choose_objects(tree, nodes, expected, 0.4)
    groups = [frozenset(np.flatnonzero(part == p).tolist()) for p in range(part.max() + 1)]
    worth = {below[node]: value - 0.4 for node, value in zip(index.tolist(), expected.tolist(), strict=True)}
    found = sum(worth[group] for group in groups)
    best = 0.0
    for count in range(1, 6):
        for chosen in itertools.combinations([b for b, value in worth.items() if value > 0], count):
            if sum(map(len, chosen)) == len(frozenset().union(*chosen)):
                best = max(best, sum(worth[group] for group in chosen))
    assert found == pytest.approx(best)


def test_twins_stay_two_and_halves_become_one():
    tree = MergeTree(2, np.array([[0, 1]]), np.array([0.5]))

    def choose(*expected):
        nodes = Nodes(np.arange(3), np.zeros((3, NUM_NODE_FEATURES), np.float32))
        return choose_objects(tree, nodes, np.array(expected), 0.5).tolist()

    assert choose(0.9, 0.9, 0.5) == [1, 0]  # twins
    assert choose(0.5, 0.5, 0.9) == [0, 0]  # halves
    assert choose(0.9, 0.1, 0.5) == [0, -1]  # a thing and a piece of table
    assert choose(0.1, 0.2, 0.1) == [-1, -1]


def test_leftovers_join_what_they_touch_and_large_ones_stay_out():
    pairs = np.array([[8, 11], *([i, i + 1] for i in range(29))])
    part = np.array([0] * 10 + [-1] * 3 + [1] * 7 + [-1] * 10)
    tidy = tidy_objects(pairs, part, 5)
    assert (tidy[:10] == tidy[0]).all() and tidy[0] >= 1 and tidy[13] >= 1 and tidy[13] != tidy[0]
    assert (tidy[10:13] == tidy[0]).all()  # what it touches most
    assert (tidy[20:] == -1).all()
    assert sorted(set(tidy[tidy >= 1].tolist())) == [1, 2]


@pytest.fixture(scope="module")
def scenes():
    found = [gather_scene(6, index, SegmentationConfig(), views=6) for index in range(4)]
    return [scene for scene in found if scene is not None]


def test_nodes_are_described_without_a_unit_of_length(scenes):
    from dataclasses import replace

    from instascene_core.geometry import Plane
    from instascene_core.segmentation import Support

    scene = next(scene for scene in scenes if scene.support is not None)
    surface, support = scene.surface, scene.support
    plane = support.plane
    larger = replace(
        scene,
        surface=replace(surface, positions=50 * surface.positions, spacing=50 * surface.spacing),
        support=Support(
            Plane(plane.normal, 50 * plane.offset), None, (), 50 * support.tolerance, 50 * support.noise
        ),
    )
    here, there = (tree_example(s, load_contact_model(), SURFACE, 1.0).nodes for s in (scene, larger))
    assert here.features.shape[1] == NUM_NODE_FEATURES and len(here.index) > 3
    np.testing.assert_array_equal(here.index, there.index)
    np.testing.assert_allclose(here.features, there.features, atol=1e-3)


def test_training_finds_objects_that_a_threshold_does_not_know(scenes, tmp_path):
    config = ObjectnessTraining(steps=400, width=16, members=2, prejudices=(1.0,))
    state, _ = train(scenes, scenes[-1:], load_contact_model(), SURFACE, config)
    write_weights(tmp_path / "objectness.safetensors", state, FORMAT, {}, half=False)
    model = load_objectness_model(tmp_path / "objectness.safetensors")
    examples = [tree_example(scene, load_contact_model(), SURFACE, 1.0) for scene in scenes]
    learned, oracle = (scores_of(m, examples, 0.5, 80) for m in (model, None))
    assert oracle["miou"] >= learned["miou"] > 0.6 and learned["precision"] > 0.7, (learned, oracle)


def test_judges_are_trained_from_files_and_a_contact_model_can_be_kept(scenes, tmp_path, monkeypatch):
    for index, scene in enumerate([*scenes, None]):  # an empty file is a scene without objects
        write_scene(tmp_path / f"scene_{index:05d}.npz", scene)
    few = partial(ObjectnessTraining, steps=5, width=4, members=1, prejudices=(1.0,))
    monkeypatch.setattr(judges.objectness, "ObjectnessTraining", few)
    monkeypatch.setattr(judges.contacts, "ContactTraining", partial(ContactTraining, steps=5, width=4))
    both, one = tmp_path / "both", tmp_path / "one"
    for folder in (both, one):
        folder.mkdir()
    judges.train(tmp_path, both, scenes=len(scenes) + 1)
    judges.train(tmp_path, one, scenes=len(scenes) + 1, kept=both / "contacts.safetensors")
    assert load_contact_model(both / "contacts.safetensors")
    assert [path.name for path in one.iterdir()] == ["objectness.safetensors"]
    judged = [load_objectness_model(folder / "objectness.safetensors") for folder in (both, one)]
    nodes = np.random.default_rng(0).normal(size=(9, NUM_NODE_FEATURES))
    np.testing.assert_array_equal(*(model.expected_iou(nodes) for model in judged))


def test_one_print_has_one_palette_and_two_prints_have_two():
    rng = np.random.default_rng(0)
    stripes = np.array([[80.0, 0, 0], [30, 40, 20], [50, -30, 30]])
    others = np.array([[60.0, 20, -50], [80, 0, 0]])
    left, right = (palette_cells(stripes[rng.integers(0, 3, n)] + 1) for n in (300, 700))
    assert shared_palette(left, right) > 0.85
    assert shared_palette(left, left) == 1
    assert 0.2 < shared_palette(left, palette_cells(others[rng.integers(0, 2, 500)] + 1)) < 0.5
    assert shared_palette(left, palette_cells(others[:1])) == 0


def test_iou_of_parts_counts_what_lies_outside_all_objects():
    overlap = np.array([[10, 30, 0], [0, 30, 0], [0, 0, 20]])
    iou = part_iou(np.array([0, 0, -1]), overlap)
    np.testing.assert_allclose(iou, [[60 / 70, 0]])


def test_the_model_in_the_package_reads_and_a_bad_file_is_one_sentence(tmp_path):
    assert WEIGHTS.stat().st_size < 300_000
    expected = load_objectness_model().expected_iou(np.zeros((3, NUM_NODE_FEATURES), np.float32))
    assert ((expected >= 0) & (expected <= 1)).all()
    with pytest.raises(InputError, match="no weights of the objectness model"):
        load_objectness_model(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="does not hold weights of the objectness model"):
        load_objectness_model(WEIGHTS.with_name("contacts.safetensors"))
