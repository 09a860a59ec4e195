"""The segmentation network: its inputs, links of regions, weights files, and what the shipped weights see."""

import numpy as np
import pytest
import torch

from instascene_core.config import SegmentationConfig, SyntheticConfig
from instascene_core.config.segmentation import MaskConfig, NetworkConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.geometry import Plane
from instascene_core.metrics.segmentation import multi_view_iou
from instascene_core.segmentation import find_support, make_segmenter, segmenter_named
from instascene_core.segmentation.graph import affinity_links
from instascene_core.segmentation.network import (
    STEPS,
    AffinityNetwork,
    FrameNetwork,
    Prediction,
    for_inference,
    geometry_input,
    level_axes,
    limit_size,
    load_network,
    save_network,
)
from instascene_core.segmentation.single_view import labels_from_affinities
from instascene_core.synthetic import generate_scene
from instascene_core.transforms import look_at

UP = np.array([0.0, 0.0, 1.0])
TABLE = Plane(UP, 0.0)


@pytest.fixture(scope="module")
def stacked():
    """Frames, with true labels, of a flush row and layer of tins: no training saw the shape or the seed."""
    config = SyntheticConfig(
        seed=932, num_objects=7, num_views=8, layout="flush", kinds=("tin",), supersampling=1
    )
    return list(generate_scene(config).frames())


# --- inputs ---


def test_axes_are_level_and_forward_is_where_the_camera_looks():
    for elevation in (5.0, 45.0, 85.0):
        tilt = np.radians(elevation)
        pose = look_at(np.array([-np.cos(tilt), 0.0, np.sin(tilt)]), np.zeros(3))
        world = level_axes(pose[:3, :3], UP) @ pose[:3, :3].T
        np.testing.assert_allclose(world, [[0, -1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-9)
    unknown = level_axes(np.eye(3), None)
    np.testing.assert_allclose(unknown @ unknown.T, np.eye(3), atol=1e-9)
    assert unknown[1] @ [0, -1, 0] > 0.8  # up is up in the image


def test_geometry_inputs_do_not_depend_on_the_unit_of_length(stacked):
    frame = stacked[0]
    pose = frame.world_from_camera.copy()
    pose[:3, 3] *= 37
    large = frame.with_(depth=frame.depth * np.float32(37), world_from_camera=pose)
    a, b = (geometry_input(f, UP, TABLE) for f in (frame, large))
    assert np.isfinite(a).all() and np.abs(a).max() <= 2
    assert np.abs(a - b).max() < 2e-4
    table = (frame.labels < 0) & (np.abs(a[8]) < 0.05)
    assert a[1][table & (a[3] > 0)].mean() > 0.99  # the table's normal is "up"


def test_without_depth_or_plane_the_inputs_say_so(stacked):
    assert not geometry_input(stacked[0].with_(depth=None), UP, TABLE).any()
    assert not geometry_input(stacked[0], UP, None)[7:].any()


def test_large_frames_are_reduced_and_small_ones_kept(stacked):
    frame = stacked[0]
    assert limit_size(frame) is frame
    small = limit_size(frame, 80 * 60)
    assert small.rgb.shape == (60, 80, 3) and small.depth.shape == small.labels.shape == (60, 80)


@pytest.mark.parametrize("name", ["builtin", "network", "geometric"])
def test_large_frames_with_normals_are_segmented(stacked, name):
    frames = [f.with_(labels=None).resized(480, 360) for f in stacked[:2]]
    normals = np.zeros((360, 480, 3), dtype=np.float32)
    normals[..., 2] = -1
    plain, more = (
        make_segmenter(SegmentationConfig(segmenter=name), some, up=UP).segment(some[0])
        for some in (frames, [f.with_(normals=normals) for f in frames])
    )
    assert more.labels.shape == (360, 480) and len(more.scores) > 1
    np.testing.assert_array_equal(more.labels, plain.labels)


@pytest.mark.parametrize("name", ["builtin", "network", "geometric"])
def test_a_frame_without_depth_among_others_has_no_masks(stacked, name):
    frames = [f.with_(labels=None, depth=None if k == 1 else f.depth) for k, f in enumerate(stacked[:3])]
    segmenter = make_segmenter(SegmentationConfig(segmenter=name), frames, up=UP)
    blind = segmenter.segment(frames[1])
    assert (blind.labels == UNLABELLED).all() and "no depth" in blind.warnings[0]
    assert len(segmenter.segment(frames[0]).scores) > 1


# --- links and groups ---


def perfect(labels: np.ndarray) -> Prediction:
    """What a flawless network would say about a label image (0 = nothing)."""
    affinities = np.zeros((len(STEPS), *labels.shape), dtype=np.float32)
    padded = np.pad(labels, 32)
    height, width = labels.shape
    for k, (dy, dx) in enumerate(STEPS):
        there = padded[32 + dy : 32 + dy + height, 32 + dx : 32 + dx + width]
        affinities[k] = (labels == there) & (labels > 0)
    return Prediction((labels > 0).astype(np.float32), affinities)


def test_links_count_every_step_between_two_regions():
    regions = np.zeros((4, 6), dtype=int)
    regions[:, 3:] = 1
    regions[:, 5] = -1
    affinities = np.full((len(STEPS), 4, 6), 0.25)
    links = affinity_links(regions, affinities)
    # One pixel right: 4 pairs; three right: columns 0→3 and 1→4, 4 rows each; the rest leaves the image.
    assert links.first.tolist() == [0] and links.second.tolist() == [1] and links.touching.all()
    assert links.weight[0] == 12 and links.cut[0] == pytest.approx(0.75)
    trust = np.ones((4, 6))
    trust[:, 4] = 0.5
    assert affinity_links(regions, affinities, trust).weight[0] == 10


def test_perfect_affinities_give_back_the_objects():
    labels = np.zeros((120, 160), dtype=int)
    labels[20:60, 30:70], labels[20:60, 70:110], labels[60:100, 40:100] = 1, 2, 3
    labels[28:34, 36:100] = 4  # a thin bar across two of them
    found = labels_from_affinities(perfect(labels), NetworkConfig(), MaskConfig())
    scores = multi_view_iou([found], [labels])
    assert min(scores.iou.values()) > 0.95 and scores.ap50 == 1


# --- weights ---


def test_weights_survive_the_file(tmp_path):
    torch.manual_seed(0)
    network = AffinityNetwork((8, 16))
    save_network(network, tmp_path / "w.safetensors", {"note": "test"})
    loaded = load_network(tmp_path / "w.safetensors")
    inputs = torch.rand(1, 13, 30, 46)
    with torch.inference_mode():
        np.testing.assert_allclose(loaded(inputs), network.eval()(inputs), atol=5e-3)  # half precision
    assert loaded(inputs).shape == (1, 1 + len(STEPS), 30, 46)  # sizes that no power of two divides


def with_weights(path) -> SegmentationConfig:
    return SegmentationConfig(network=NetworkConfig(weights=str(path)))


def test_missing_and_foreign_weights_are_one_sentence(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(InputError, match="no weights of the segmenter at"):
        segmenter_named("network", with_weights(tmp_path / "none.safetensors"))
    (tmp_path / "text.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(InputError, match="not a readable weights file"):
        segmenter_named("builtin", with_weights(tmp_path / "text.safetensors"))
    save_file({"a": torch.zeros(3)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(InputError, match="does not hold weights of the segmenter"):
        load_network(tmp_path / "other.safetensors")
    save_file(
        {"stem.bias": torch.zeros(3)},
        str(tmp_path / "part.safetensors"),
        {"format": "instascene segmenter 1", "widths": "[8, 16]"},
    )
    with pytest.raises(InputError, match="do not fit the network"):
        load_network(tmp_path / "part.safetensors")


def test_an_untrained_network_runs_and_is_deterministic(stacked):
    torch.manual_seed(0)
    network = FrameNetwork(AffinityNetwork((8, 16)))
    a, b = (network.predict(stacked[0], UP, TABLE) for _ in range(2))
    np.testing.assert_array_equal(a.affinities, b.affinities)
    assert a.foreground.shape == stacked[0].depth.shape


# --- the shipped weights ---


def scored(name: str, frames):
    bare = [f.with_(labels=None) for f in frames]
    support = find_support(bare, UP)
    segmenter = make_segmenter(SegmentationConfig(segmenter=name), bare, support, up=UP, seek_support=False)
    return [segmenter.segment(f) for f in bare], segmenter


def test_stacked_twins_are_told_apart_where_geometry_fails(stacked):
    """Measured: 0.71 by the network, 0.44 by geometry; over six such scenes 0.65.

    Seed 931, where earlier weights had 0.79, is the worst of the six with 0.47.
    """
    truth = [f.labels for f in stacked]
    built_in, segmenter = scored("builtin", stacked)
    geometric, _ = scored("geometric", stacked)
    assert segmenter.ids_are_global
    ours, theirs = (multi_view_iou([r.labels for r in found], truth) for found in (built_in, geometric))
    assert ours.miou > 0.65 and ours.miou > theirs.miou + 0.2, (ours, theirs)
    again, _ = scored("builtin", stacked)
    np.testing.assert_array_equal(again[3].labels, built_in[3].labels)


def test_a_single_view_is_segmented_alone(stacked):
    found, segmenter = scored("network", stacked)
    assert not segmenter.ids_are_global
    single = [multi_view_iou([r.labels], [f.labels]).miou for r, f in zip(found, stacked)]
    assert np.mean(single) > 0.55, single
    result = segmenter_named("builtin", SegmentationConfig(), up=UP).segment(stacked[0].with_(labels=None))
    assert set(result.scores) == set(np.unique(result.labels[result.labels >= 1]).tolist())
    nothing = segmenter_named("builtin", SegmentationConfig()).segment(
        stacked[0].with_(depth=None, labels=None)
    )
    assert (nothing.labels == UNLABELLED).all() and "no depth" in nothing.warnings[0]


def test_the_network_applied_says_what_the_network_loaded_says():
    network = load_network()
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 13, 48, 64)).astype(np.float32))
    with torch.inference_mode():
        torch.testing.assert_close(for_inference(network)(inputs), network(inputs), atol=1e-3, rtol=1e-4)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())  # it is a copy
