"""Mask clustering: by hand, against the set-based oracle, order independence, damaged masks."""

import time
from dataclasses import replace

import numpy as np
import pytest
from association_cases import (
    FakeTrace,
    directions,
    disks_on_surface,
    labels_of_trace,
    oracle_groups,
    oracle_masks,
    spheres,
    trace_of_points,
)
from scipy.spatial import cKDTree

from instascene_core.association import associate
from instascene_core.association.consensus import cluster_masks, observe
from instascene_core.association.majority import merge_fragments
from instascene_core.association.masks import build_masks
from instascene_core.association.refine import split_by_distance
from instascene_core.config import AssociationConfig, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED

CONFIG = AssociationConfig(min_gaussians=5)


def row_trace(gaussians) -> FakeTrace:
    """An image of one row in which every Gaussian of the list fills three pixels."""
    gaussians = np.repeat(gaussians, 3)
    count = len(gaussians)
    ones = np.ones(count, dtype=np.float32)
    return FakeTrace(1, count, np.arange(count + 1), np.asarray(gaussians, dtype=np.int32), ones, ones)


def labels(*values) -> np.ndarray:
    """One label per Gaussian of `row_trace`."""
    return np.array([np.repeat(values, 3)], dtype=np.int32)


def shuffle_ids(image, rng):
    ids = np.unique(image[image > 0])
    table = np.full(image.max() + 2, UNLABELLED)
    table[ids] = rng.permutation(np.arange(1, 400))[: len(ids)]
    return table[image].astype(np.int32)


def scene(num_objects=6, points=250, views=12, seed=0, pitch=0.2):
    means, _, owner = spheres(num_objects, points, seed, pitch=pitch)
    traces = [trace_of_points(means, d) for d in directions(views, seed)]
    images = [labels_of_trace(t, owner) for t in traces]
    return means, owner, traces, images


def partition(gaussian_clusters):
    """The clusters as a set of sets, whatever their numbers."""
    return {
        frozenset(np.flatnonzero(gaussian_clusters == c).tolist())
        for c in np.unique(gaussian_clusters)
        if c >= 0
    }


def test_two_objects_by_hand():
    means = np.zeros((20, 3))
    means[:10, 0], means[10:, 0] = np.arange(10) * 0.01, 1 + np.arange(10) * 0.01
    trace = row_trace(np.arange(20))
    images = [labels(*[7] * 10, *[3] * 10), labels(*[1] * 10, *[2] * 10), labels(*[2] * 10, *[9] * 9, -1)]
    result = associate(images, [trace] * 3, means, CONFIG)
    assert partition(result.gaussian_clusters) == {frozenset(range(10)), frozenset(range(10, 20))}
    assert [c.num_views for c in result.clusters] == [3, 3]
    # The filtered label images carry the cluster index and nothing else.
    np.testing.assert_array_equal(result.filtered_labels[0], labels(*[0] * 10, *[1] * 10))
    assert result.filtered_labels[2][0, -3] == UNLABELLED
    assert result.filtered_labels[0].dtype == np.int32


def test_ids_that_agree_are_taken_at_their_word():
    """Two things far apart under one id are one instance; a mask of a wrong id in one view is outvoted."""
    means, owner, traces, images = scene()
    given = [np.where(image > 0, np.maximum(image, 2), image) for image in images]  # 1 and 2 become one
    given[3] = np.where(given[3] == 4, 5, given[3])
    result = associate(given, traces, means, replace(CONFIG, clustering="ids"))
    joined = np.maximum(owner, 1)
    assert len(result.clusters) == len(np.unique(joined)) == len(np.unique(owner)) - 1
    shown = [np.bincount(result.gaussian_clusters[joined == i] + 1, minlength=7)[1:] for i in range(1, 6)]
    assert len({int(counts.argmax()) for counts in shown}) == 5
    assert all(counts.max() > 0.97 * counts.sum() > 150 for counts in shown)
    both = result.gaussian_clusters[owner == 0], result.gaussian_clusters[owner == 1]
    assert np.median(both[0]) == np.median(both[1])


def test_small_masks_and_single_sightings_are_dropped():
    means = np.random.default_rng(0).normal(size=(30, 3)) * 0.01
    trace = row_trace(np.arange(30))
    once = [labels(*[1] * 10, *[-1] * 20), labels(*[-1] * 10, *[1] * 4, *[-1] * 16)]
    result = associate(once, [trace] * 2, means, CONFIG)
    assert result.clusters == () and result.masks.num_dropped == 1
    assert (result.gaussian_clusters == UNLABELLED).all()
    assert all((image == UNLABELLED).all() for image in result.filtered_labels)


@pytest.mark.parametrize("clustering", ["votes", "consensus"])
def test_a_mistake_that_few_of_many_frames_repeat_is_no_instance(clustering):
    means, _, traces, images = scene(views=40)
    wrong = [np.where(image == 6, UNLABELLED, image) for image in images]
    for index in (3, 17, 30):  # of the 40 that see it
        wrong[index] = images[index]
    config = AssociationConfig(clustering=clustering)
    assert len(associate(wrong, traces, means, config).clusters) == 5
    # Frames without any mask say nothing: of five with masks three are most.
    few = [
        image if index in (3, 8, 17, 25, 30) else np.full_like(image, -1) for index, image in enumerate(wrong)
    ]
    assert len(associate(few, traces, means, config).clusters) == 6


def test_three_frames_that_agree_are_enough():
    means = np.zeros((120, 3))
    means[:, 0] = np.arange(120) * 0.01  # several patches each, touching
    image = labels(*[1] * 60, *[2] * 60)
    result = associate([image] * 3, [row_trace(np.arange(120))] * 3, means, CONFIG)
    assert partition(result.gaussian_clusters) == {frozenset(range(60)), frozenset(range(60, 120))}


def test_what_most_masks_leave_out_is_refused_and_what_no_frame_sees_is_open():
    means = np.zeros((50, 3))
    means[:, 0] = np.arange(50) * 0.01
    trace = row_trace(np.arange(40))
    grown, exact = labels(*[1] * 30, *[-1] * 10), labels(*[1] * 20, *[-1] * 20)
    result = associate([grown, exact, exact, exact], [trace] * 4, means, CONFIG)
    assert partition(result.gaussian_clusters) == {frozenset(range(20))}
    assert (np.flatnonzero(result.refused) == np.arange(20, 40)).all()


@pytest.mark.parametrize("clustering", ["votes", "consensus"])
def test_pair_split_in_a_third_of_its_views_ends_as_two(clustering):
    config = AssociationConfig(min_gaussians=5, clustering=clustering)
    means = np.zeros((40, 3))
    means[:, 0] = np.arange(40) * 0.01  # touching: no distance could tell them apart
    trace = row_trace(np.arange(40))
    merged, split = labels(*[1] * 40), labels(*[1] * 20, *[2] * 20)
    result = associate([merged] * 7 + [split] * 3, [trace] * 10, means, config)
    assert partition(result.gaussian_clusters) == {frozenset(range(20)), frozenset(range(20, 40))}
    assert result.masks.under_segmented.sum() == 7
    # Split in fewer views than the threshold, it stays one.
    result = associate([merged] * 8 + [split] * 2, [trace] * 10, means, config)
    assert partition(result.gaussian_clusters) == {frozenset(range(40))}


def test_wrongly_filtered_mask_is_recovered():
    means = np.zeros((40, 3))
    means[:, 0] = np.arange(40) * 0.01
    trace = row_trace(np.arange(40))
    split = labels(*[1] * 34, *[2] * 6)  # the larger part holds 85 % of the merged mask
    narrow = labels(*[1] * 30, *[2] * 10)
    images = [split] * 4 + [narrow] * 4 + [labels(*[5] * 40)]
    result = associate(images, [trace] * 9, means, CONFIG)
    last = result.masks.frame == 8
    assert result.masks.under_segmented[last].sum() == last.sum() == 1
    larger = result.gaussian_clusters[0]
    # It holds `recovery`, 0.8, of the mask that covers both.
    assert larger >= 0 and np.count_nonzero(result.gaussian_clusters == larger) >= 32
    assert (result.masks.cluster[last] == larger).all()
    strict = associate(images, [trace] * 9, means, replace(CONFIG, recovery=0.95))
    assert (strict.masks.cluster[last] == UNLABELLED).all()


def assert_groups_equal_the_oracle(images, traces, num_gaussians):
    masks = build_masks(images, traces, num_gaussians, CONFIG)
    seen = observe(masks, CONFIG)
    group = cluster_masks(masks, seen, CONFIG)
    expected_masks, _ = oracle_masks(images, traces, CONFIG)
    columns = masks.membership.tocsc()
    assert [(f, l) for f, l, _ in expected_masks] == list(zip(masks.frame.tolist(), masks.label.tolist()))
    for column, (_, _, gaussians) in enumerate(expected_masks):
        assert set(columns[:, column].indices.tolist()) == gaussians
    expected, under = oracle_groups(expected_masks, len(traces), CONFIG)
    assert set(np.flatnonzero(seen.under_segmented)) == under
    assert {frozenset(np.flatnonzero(group == g).tolist()) for g in np.unique(group) if g >= 0} == expected
    return expected, under


@pytest.mark.parametrize("seed", range(6))
def test_groups_equal_the_set_based_oracle(seed):
    rng = np.random.default_rng(seed)
    means, _owner, traces, images = scene(4, 60, 7, seed, pitch=0.13)
    for index in range(len(images)):  # merge, split and lose masks at random
        image = images[index]
        if rng.random() < 0.3:
            image[image == 2] = 1
        if rng.random() < 0.4:
            half = np.indices(image.shape)[rng.integers(2)] > image.shape[0] // 2
            image[(image == 3) & half] = 9
        if rng.random() < 0.3:
            image[image == 4] = UNLABELLED
    assert_groups_equal_the_oracle(images, traces, len(means))


def test_order_of_frames_and_ids_changes_nothing():
    means, _owner, traces, images = scene(seed=3)
    rng = np.random.default_rng(0)
    images[2][images[2] == 1] = 2
    images[5][images[5] == 4] = 3
    first = associate(images, traces, means, CONFIG)
    order = rng.permutation(len(traces))
    shuffled = [shuffle_ids(images[i], rng) for i in order]
    second = associate(shuffled, [traces[i] for i in order], means, CONFIG)
    np.testing.assert_array_equal(first.gaussian_clusters, second.gaussian_clusters)
    for position, i in enumerate(order):
        np.testing.assert_array_equal(first.filtered_labels[i], second.filtered_labels[position])


@pytest.fixture(scope="module", params=["pile", "twins", "shelf"])
def rendered(request):
    """A small scene seen by the renderer: means [N, 3], traces, damaged masks of 10 views."""
    from instascene_core.rendering import trace
    from instascene_core.synthetic import generate_scene
    from instascene_core.synthetic.masks import damage_labels

    config = SyntheticConfig(
        seed=5, layout=request.param, num_objects=4, num_views=10, width=96, height=72, supersampling=1
    )
    frames = list(generate_scene(config).frames())
    gaussians = disks_on_surface(frames)
    traces = [trace(gaussians, f.camera, f.world_from_camera) for f in frames]
    rng = np.random.default_rng(0)
    return gaussians.means.numpy(), traces, [damage_labels(f.labels, rng, border=1) for f in frames]


def test_groups_equal_the_oracle_on_rendered_scenes(rendered):
    means, traces, images = rendered
    groups, under = assert_groups_equal_the_oracle(images, traces, len(means))
    assert under and max(len(group) for group in groups) >= 4  # there was something to filter, and to join


@pytest.mark.parametrize("clustering", ["votes", "consensus"])
def test_order_changes_nothing_on_rendered_scenes(rendered, clustering):
    means, traces, images = rendered
    config = replace(CONFIG, clustering=clustering)
    first = associate(images, traces, means, config)
    assert len(first.clusters) >= 4
    rng = np.random.default_rng(1)
    order = rng.permutation(len(traces))
    shuffled = [shuffle_ids(images[i], rng) for i in order]
    second = associate(shuffled, [traces[i] for i in order], means, config)
    np.testing.assert_array_equal(first.gaussian_clusters, second.gaussian_clusters)
    np.testing.assert_array_equal(first.refused, second.refused)
    for position, i in enumerate(order):
        np.testing.assert_array_equal(first.filtered_labels[i], second.filtered_labels[position])


def damage(image, rng):
    """15 % of the masks missing, 20 % split by a line, 20 % merged with another, ids shuffled."""
    ids = [int(i) for i in np.unique(image) if i > 0]
    luck = {label: rng.random() for label in ids}
    result, used = image.copy(), set()
    for label in ids:
        rows, columns = np.nonzero(image == label)
        if luck[label] < 0.15:
            result[rows, columns] = UNLABELLED
        elif luck[label] < 0.35:
            angle = rng.uniform(0, np.pi)
            along = np.cos(angle) * columns + np.sin(angle) * rows
            half = along > np.quantile(along, rng.uniform(0.3, 0.7))
            result[rows[half], columns[half]] = 100 + label
        elif luck[label] < 0.55 and label not in used:
            free = [k for k in ids if k != label and k not in used and luck[k] >= 0.35]
            if free:
                other = int(rng.choice(free))
                result[rows, columns] = other
                used |= {label, other}
    return shuffle_ids(result, rng)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_damaged_masks_still_give_every_object(seed):
    rng = np.random.default_rng(seed)
    means, _, owner = spheres(9, 700, seed, pitch=0.15)
    traces = [trace_of_points(means, d, size=160, spread=2) for d in directions(40, seed, lift=2.5)]
    images = [labels_of_trace(t, owner) for t in traces]
    result = associate([damage(i, rng) for i in images], traces, means, AssociationConfig(min_gaussians=30))
    seen = np.zeros(len(means), dtype=bool)
    for trace in traces:
        seen[trace.indices[trace.offsets[:-1][np.diff(trace.offsets) > 0]]] = True
    found = np.zeros(9)
    for cluster in result.clusters:
        counts = np.bincount(owner[cluster.gaussians], minlength=9)
        assert counts.max() >= 0.9 * counts.sum()  # nothing glued together
        found[counts.argmax()] = max(found[counts.argmax()], counts.max())
    share = found / np.bincount(owner[seen], minlength=9)
    assert share.min() > 0.85 and share.mean() > 0.9, share
    assert len(result.clusters) == 9


def test_real_shelf_with_a_poor_network(shared_data):
    """Four products, masks wrong in many views, poses several pixels off: one instance each."""
    from instascene_core.datasets import open_dataset
    from instascene_core.rendering import trace

    frames = list(open_dataset(shared_data("apc_shelf"), masks="masks_noisy", max_width=320))
    assert all(f.labels is not None for f in frames)
    gaussians = disks_on_surface(frames)
    traces = [trace(gaussians, f.camera, f.world_from_camera) for f in frames]
    rng = np.random.default_rng(0)
    images = [shuffle_ids(f.labels, rng) for f in frames]
    result = associate(images, traces, gaussians.means.numpy())
    # The network's own ids happen to agree between views; here they only judge the result.
    names = []
    for cluster in result.clusters:
        rows = cluster.masks
        inside = [images[f] == l for f, l in zip(result.masks.frame[rows], result.masks.label[rows])]
        votes = [np.bincount(frames[f].labels[m]).argmax() for f, m in zip(result.masks.frame[rows], inside)]
        assert len(set(votes)) == 1
        names.append(int(votes[0]))
    assert sorted(names) == [1, 2, 3, 4]


@pytest.mark.parametrize("clustering", ["votes", "consensus"])
def test_agreement_ranks_fragments_below_objects(clustering):
    """Masks of three objects, of which one is cut in half in most views: its halves are trusted less."""
    means = np.zeros((60, 3))
    means[:, 0] = np.arange(60) * 0.01
    trace = row_trace(np.arange(60))
    whole, cut = [1] * 20 + [2] * 20 + [3] * 20, [1] * 20 + [2] * 20 + [3] * 10 + [4] * 10
    config = AssociationConfig(min_gaussians=5, clustering=clustering)
    result = associate([labels(*whole)] * 4 + [labels(*cut)] * 6, [trace] * 10, means, config)
    assert len(result.clusters) == 4
    trust = {int(c.gaussians[0]): c.agreement for c in result.clusters}
    assert min(trust[0], trust[20]) > 0.9 > 0.85 > max(trust[40], trust[50])


def test_fragments_are_joined_and_a_pair_is_not():
    """By all views: what most show in one mask is one, what three in ten show apart is two."""
    means = np.zeros((60, 3))
    means[:, 0] = np.arange(60) * 0.01
    trace = row_trace(np.arange(60))
    apart, together = labels(*[1] * 20, *[2] * 20, *[3] * 20), labels(*[1] * 40, *[3] * 20)
    for split, left in ((3, 3), (2, 2)):
        images = [apart] * split + [together] * (10 - split)
        masks = build_masks(images * 3, [trace] * 30, 60, CONFIG)
        owner, count = merge_fragments(np.repeat([0, 1, 2], 20), 3, masks, CONFIG)
        assert count == left and len(np.unique(owner)) == left


def test_distance_split_is_scale_free_and_drops_noise():
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.random((200, 3)), rng.random((100, 3)) + np.array([3, 0, 0]), [[50.0, 50, 50]]]
    )
    for scale in (1e-3, 1.0, 1e3):
        part = split_by_distance(points * scale, 5.0, 4)
        assert (part[:200] == 0).all() and (part[200:300] == 1).all() and part[300] == -1


def test_distance_split_numbers_parts_by_their_first_point_and_gives_each_border_point_to_one():
    line = np.arange(8.0)  # the third neighbour is mostly 2 away, so the radius is 2
    middle = [8.75]  # within reach of the ends of both lines, but of too few points to be a core point
    along = np.concatenate([middle, 10.5 + line, line, [60.0]])
    points = np.stack([along, np.zeros_like(along), np.zeros_like(along)], axis=1)
    part = split_by_distance(points, 1.0, 4)
    assert part.dtype == np.int32
    assert part.tolist() == [0] * 9 + [1] * 8 + [-1]
    swapped = split_by_distance(points[[0, *range(9, 17), *range(1, 9), 17]], 1.0, 4)
    assert swapped.tolist() == [0] * 9 + [1] * 8 + [-1]


def test_bad_label_images_are_refused_with_a_sentence():
    means = np.zeros((3, 3))
    trace = row_trace([0, 1, 2])
    with pytest.raises(InputError, match="shape"):
        associate([np.ones((2, 9), np.int32)], [trace], means)
    with pytest.raises(InputError, match="integers"):
        associate([np.ones((1, 9))], [trace], means)
    with pytest.raises(InputError, match="65535"):
        associate([np.full((1, 9), 70000)], [trace], means)
    with pytest.raises(InputError, match="label images for"):
        associate([], [trace], means)
    with pytest.raises(InputError, match="no frame"):
        associate([], [], means)


def test_an_unknown_clustering_is_refused():
    config = AssociationConfig(clustering="magic")
    with pytest.raises(InputError, match="known are votes, consensus"):
        associate([labels(*[1] * 9)] * 2, [row_trace(np.arange(9))] * 2, np.zeros((9, 3)), config)


def test_one_object_over_the_whole_image_is_one_instance():
    means, _, traces, images = scene(1, 300, 6)
    result = associate([np.ones_like(i) for i in images], traces, means, CONFIG)
    assert len(result.clusters) == 1 and result.clusters[0].num_views == 6


def test_empty_label_images_give_no_cluster():
    means, _, traces, images = scene(2, 50, 3)
    result = associate([np.full_like(i, UNLABELLED) for i in images], traces, means)
    assert result.clusters == () and len(result.filtered_labels) == 3


def test_many_tiny_masks_stay_bounded():
    """500 tiny masks a frame neither crash nor take long."""
    rng = np.random.default_rng(0)
    means, _, traces, images = scene(4, 400, 8)
    rows, columns = np.indices(images[0].shape) // 3  # 484 masks of 3 × 3 pixels
    images = [rng.permutation(484)[rows * 22 + columns].astype(np.int32) + 1 for _ in images]
    start = time.perf_counter()
    result = associate(images, traces, means, AssociationConfig(min_gaussians=1))
    assert time.perf_counter() - start < 10
    assert len(result.masks.frame) > 100


@pytest.mark.parametrize("seed", range(4))
def test_parts_by_distance_are_those_of_dbscan(seed):
    from sklearn.cluster import DBSCAN

    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal(centre, 0.3, (60, 3)) for centre in (0.0, 1.5, 3.5)])
    points = points[rng.permutation(len(points))]
    spacing = np.median(cKDTree(points).query(points, k=4)[0][:, -1])
    expected = DBSCAN(eps=1.2 * spacing, min_samples=4).fit_predict(points)
    part = split_by_distance(points, 1.2, 4)
    assert expected.max() >= 2 and (expected < 0).any()
    np.testing.assert_array_equal(part < 0, expected < 0)
    pairs = np.unique(np.stack([part, expected]), axis=1)  # the same parts, numbered by their first point
    assert len(pairs.T) == len(np.unique(part)) == len(np.unique(expected))
    first = [np.flatnonzero(part == number)[0] for number in range(part.max() + 1)]
    assert first == sorted(first)
