"""From masks of real renderings to instances: damaged masks, pairs, structure, memory."""

import numpy as np
import pytest
from association_cases import disks_on_surface

from instascene_core.config import Config, FeaturesConfig, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.metrics import multi_view_iou
from instascene_core.scene import IdHistory
from instascene_core.scene.decomposition import find_instances, trace_views
from instascene_core.synthetic import generate_scene
from instascene_core.synthetic.masks import damage_labels

NUM_OBJECTS = 4
CONFIG = Config(features=FeaturesConfig(iterations=60, pixels_per_view=1500))


@pytest.fixture(scope="module")
def twins():
    """Two flush pairs, 24 views, opaque disks on the true surface."""
    config = SyntheticConfig(
        seed=12, num_objects=NUM_OBJECTS, num_views=24, width=200, height=150, supersampling=1, layout="twins"
    )
    frames = list(generate_scene(config).frames())
    return frames, disks_on_surface(frames)


def scores_of(frames, gaussians, masks, config=CONFIG, ids=None):
    result = find_instances(frames, masks, gaussians, None, config, ids).instances
    objects = [i.id for i in result.objects]
    images = [np.where(np.isin(i, objects), i, UNLABELLED) for i in result.label_images.values()]
    return result, multi_view_iou(
        images, [f.labels for f in frames], {i.id: i.confidence for i in result.objects}
    )


def test_damaged_masks_give_every_object_once(twins):
    frames, gaussians = twins
    rng = np.random.default_rng(0)
    damaged = [damage_labels(f.labels, rng) for f in frames]
    result, scores = scores_of(frames, gaussians, damaged)
    assert len(result.objects) == NUM_OBJECTS
    assert scores.miou > 0.85 and scores.ap50 == 1.0
    assert all(0 < i.confidence <= 1 for i in result.instances)
    # Ids stay where the Gaussians do, also when other masks come.
    rng = np.random.default_rng(1)
    other = [damage_labels(f.labels, rng) for f in frames]
    known = IdHistory(gaussians.means.numpy(), result.gaussian_labels, 10)
    again, _ = scores_of(frames, gaussians, other, ids=known)
    both = (result.gaussian_labels > 0) & (again.gaussian_labels > 0)
    assert (result.gaussian_labels == again.gaussian_labels)[both].mean() > 0.95


def test_a_pair_split_in_three_of_ten_views_ends_as_two(twins):
    frames, gaussians = twins
    rng = np.random.default_rng(0)
    both = [i for i, f in enumerate(frames) if (f.labels == 1).sum() > 40 and (f.labels == 2).sum() > 40]
    split = set(rng.permutation(both)[: -(-3 * len(both) // 10)].tolist())
    masks = [f.labels if i in split else np.where(f.labels == 2, 1, f.labels) for i, f in enumerate(frames)]
    result, scores = scores_of(frames, gaussians, masks)
    assert len(result.objects) == NUM_OBJECTS
    assert min(scores.iou[1], scores.iou[2]) > 0.85


def test_damage_is_what_it_says(twins):
    frames, _ = twins
    rng = np.random.default_rng(3)
    labels = [f.labels for f in frames]
    same = [damage_labels(i, rng, missing=0, merged=0, split=0, border=0) for i in labels]
    for image, truth in zip(same, labels, strict=True):  # only the ids are others
        assert len(np.unique(np.stack([image, truth]).reshape(2, -1), axis=1).T) == len(np.unique(truth))
    gone = [damage_labels(i, rng, missing=1, merged=0, split=0, border=0) for i in labels]
    assert all((image == UNLABELLED).all() for image in gone)
    cut = damage_labels(labels[0], rng, missing=0, merged=0, split=1, border=0)
    assert len(np.unique(cut[cut > 0])) == 2 * len(np.unique(labels[0][labels[0] > 0]))
    joined = damage_labels(labels[0], rng, missing=0, merged=1, split=0, border=0)
    assert len(np.unique(joined[joined > 0])) <= len(np.unique(labels[0][labels[0] > 0])) // 2
    assert ((joined > 0) == (labels[0] > 0)).all()
    square = np.zeros((40, 40), dtype=np.int32)
    square[15:25, 15:25] = 1
    sizes = {int((damage_labels(square, rng, missing=0, merged=0, split=0) > 0).sum()) for _ in range(60)}
    assert min(sizes) == 16 and max(sizes) > 200  # three pixels less, three pixels more on every side
    with pytest.raises(InputError, match="exceed 1"):
        damage_labels(square, rng, missing=0.9, merged=0.9)


def test_masks_as_they_came_allow_no_cross_view_loss(twins):
    frames, gaussians = twins
    config = Config(features=FeaturesConfig(filtered_masks=False))
    with pytest.raises(InputError, match="no cross-view loss"):
        find_instances(frames, [f.labels for f in frames], gaussians, None, config)


def test_traces_stay_within_the_stated_memory(twins):
    frames, gaussians = twins
    traces = trace_views(frames[:3], gaussians, 10_000, 0.02)
    for trace in traces:
        pixels = trace.height * trace.width
        assert pixels <= 10_000 * 1.02
        assert trace.weights.itemsize + trace.transmittance.itemsize + trace.indices.itemsize == 8
        assert trace.weights.min() >= 0.0199 and len(trace.indices) <= 9 * pixels


def test_nothing_labelled_gives_no_object(twins):
    frames, gaussians = twins
    result, _ = scores_of(frames, gaussians, [np.zeros_like(f.labels) for f in frames])
    assert result.objects == ()
    assert (result.gaussian_labels != 0).all()  # never silently the first instance, nor 0
