"""The network on points as a segmenter, and its instances as votes beside the built-in evidence.

A pretended network knows where the boxes stand; what it is shown and what becomes of its masks is real.
"""

import dataclasses

import numpy as np
import pytest
import torch
from points_cases import random_predictions, random_scene, tabletop
from test_segmentation import CORNER, boxes_on_table, overlap

from instascene_core.config import SegmentationConfig
from instascene_core.config.points import PointsConfig, PointsNetworkConfig
from instascene_core.config.segmentation import FusedSurfaceConfig, SecondOpinionConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.gaussians import gaussians_from_points
from instascene_core.geometry import SurfacePoints
from instascene_core.progress import no_progress
from instascene_core.segmentation import find_support, make_segmenter, segmenter_named
from instascene_core.segmentation.fused_surface.contacts import NUM_FEATURES, PatchPairs
from instascene_core.segmentation.fused_surface.cutters import opinion_log_odds
from instascene_core.segmentation.fused_surface.segmenter import SurfaceSegmenter
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.cutter import PointsCutter
from instascene_core.segmentation.points_network.files import WEIGHTS, save_points_network
from instascene_core.segmentation.points_network.network import PointsNetwork
from instascene_core.segmentation.points_network.outputs import SceneOutput
from instascene_core.segmentation.points_network.scene_points import cloud_of_surface, near_objects, upright
from instascene_core.segmentation.points_network.segment import segment_points

CONFIG = SegmentationConfig()


class Pretended:
    """Says of every box a mask of the superpoints in it, z up; a little more than the box."""

    config = PointsNetworkConfig()

    def __init__(self, boxes) -> None:
        self.boxes, self.seen = boxes, 0  # points that it was shown

    def __call__(self, inputs):
        centres = inputs.centres.double()
        self.seen = len(inputs.superpoint)
        masks = []
        for low, high in self.boxes:
            low, high = torch.tensor(low) - 0.004, torch.tensor(high) + 0.004
            low[2] = max(float(low[2]), 0.002)
            masks.append(((centres > low) & (centres < high)).all(dim=1).double() * 18 - 9)
        count = len(self.boxes)
        said = dataclasses.replace(
            random_predictions(count, len(centres)),
            classes=torch.tensor([[9.0, -9.0]] * count), masks=torch.stack(masks),
            scores=torch.full((count,), 3.0),
        )  # fmt: skip
        return [SceneOutput(random_scene(len(centres)), (said,))]


def segmenter(network) -> SurfaceSegmenter:
    cutter = PointsCutter(network, PointsConfig(), FusedSurfaceConfig())
    return SurfaceSegmenter(
        "points", cutter, FusedSurfaceConfig(), CONFIG.masks, CONFIG.max_pixels, seek=CONFIG.support
    )


def test_instances_of_the_scene_are_found_again_in_every_view():
    frames = boxes_on_table(CORNER)
    network = Pretended(CORNER)
    found = segmenter(network)
    found.prepare(frames)
    assert found.ids_are_global and network.seen > 2000
    images = [found.segment(frame) for frame in frames]
    scores = overlap([image.labels for image in images], [frame.labels for frame in frames])
    assert (scores > 0.85).all(), scores
    said = 1 / (1 + np.exp(-3))
    assert all(0.9 * said < score <= said for image in images for score in image.scores.values())


def test_a_world_whose_z_does_not_point_up_is_turned():
    """The pretended network thinks in a world whose table lies level."""
    rotate = np.eye(4)
    rotate[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # the table's normal becomes −y
    frames = boxes_on_table(CORNER, rotate=rotate)
    cutter = PointsCutter(Pretended(CORNER), PointsConfig(), FusedSurfaceConfig())
    support = find_support(frames)
    assert support is not None and support.plane is not None
    np.testing.assert_allclose(support.plane.normal, [0, -1, 0], atol=1e-3)
    cut = cutter.cut(frames, support, no_progress)
    assert cut is not None
    # Turned about z, the boxes are elsewhere for this network; but they stand on z = 0, so heights agree.
    cloud = upright(cloud_of_surface(cut.surface), support.plane.normal)
    heights = -cut.surface.positions[:, 1]
    np.testing.assert_allclose(cloud.positions[:, 2], heights, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-5)


def test_upright_by_hand():
    cloud = PointCloud.of_surface(np.eye(3), np.eye(3), np.zeros((3, 3)), 1.0)
    assert upright(cloud, None) is cloud and upright(cloud, np.array([0, 0, 1.0])) is cloud
    down = upright(cloud, np.array([0, 0, -1.0]))
    np.testing.assert_allclose(down.positions[2], [0, 0, -1], atol=1e-6)
    half = np.sqrt(0.5)
    tilted = upright(cloud, np.array([0, half, half]))
    np.testing.assert_allclose(tilted.positions @ [0, 0, 1], [0, half, half], atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(tilted.positions), 1, atol=1e-6)  # turned, not mirrored


def test_structure_is_seen_only_near_what_may_be_an_object():
    frames = boxes_on_table(CORNER)
    support = find_support(frames)
    cutter = PointsCutter(Pretended(CORNER), PointsConfig(context_m=0.03), FusedSurfaceConfig())
    cut = cutter.cut(frames, support, no_progress)
    assert cut is not None and support is not None
    table = cut.surface.positions[np.abs(cut.surface.positions[:, 2]) < 1e-3]
    apart = np.min(
        [np.linalg.norm(np.maximum(np.maximum(np.array(low) - table, table - np.array(high)), 0), axis=1)
         for low, high in CORNER], axis=0,
    )  # fmt: skip
    assert len(table) > 100 and apart.max() < 0.04
    assert near_objects(cut.surface, None, PointsConfig()).all()


def test_an_empty_table_has_no_instances():
    frames = boxes_on_table([])
    found = segmenter(Pretended(CORNER))
    found.prepare(frames)
    assert (found.segment(frames[0]).labels == UNLABELLED).all()


def test_labels_for_a_second_opinion():
    frames = boxes_on_table(CORNER)
    cutter = PointsCutter(Pretended(CORNER), PointsConfig(), FusedSurfaceConfig())
    support = find_support(frames)
    positions = np.array([[0.05, 0.05, 0.171], [-0.15, -0.1, 0.08], [0.4, 0.4, 0.5]])
    positions[0] = [0.05, 0.05, 0.17]
    labels = cutter.labels_of(frames, support, positions, no_progress)
    assert labels[0] >= 1 and labels[1] >= 1 and labels[0] != labels[1] and labels[2] == UNLABELLED


def test_what_an_opinion_says_of_pairs_by_hand():
    """Patches of 5 elements: instance 1, mostly 1, torn between 1 and 2, 2, none."""
    opinion = np.array([1] * 5 + [1] * 4 + [2] + [1, 1, 1, 2, 2] + [2] * 5 + [-1] * 5)
    patch = np.repeat(np.arange(5), 5)
    first, second = np.array([0, 0, 0, 1, 3]), np.array([1, 3, 2, 3, 4])
    pairs = PatchPairs(first, second, np.ones(5, bool), np.ones(5), np.zeros(5), np.zeros((5, NUM_FEATURES)))
    config = SecondOpinionConfig(min_share=0.8, same_log_odds=0.25, different_log_odds=2.0)
    assert opinion_log_odds(opinion, patch, pairs, config).tolist() == [-0.25, 2.0, 0.0, 2.0, 0.0]


def test_a_second_opinion_is_heard(tmp_path):
    """Four boxes; an opinion that counts for more than all evidence joins the first two."""
    frames = boxes_on_table(CORNER)
    joined = [(np.minimum(CORNER[0][0], CORNER[1][0]), np.maximum(CORNER[0][1], CORNER[1][1])), *CORNER[2:]]
    weights = tmp_path / "points.safetensors"
    save_points_network(PointsNetwork(PointsNetworkConfig()), weights, {})
    loud = SecondOpinionConfig(same_log_odds=40.0, different_log_odds=0.0, min_share=0.6)
    evidence = dataclasses.replace(CONFIG.fused_surface.evidence, second=loud, choice="threshold")
    config = dataclasses.replace(
        CONFIG,
        segmenter="builtin+points",
        points=PointsConfig(network_weights=str(weights)),
        fused_surface=dataclasses.replace(CONFIG.fused_surface, evidence=evidence),
    )
    found = segmenter_named("builtin+points", config)
    found._cutter._second._network = Pretended(joined)
    found.prepare(frames)
    labels = np.stack([found.segment(frame).labels for frame in frames])
    truth = np.stack([frame.labels for frame in frames])
    most = [np.bincount(np.maximum(labels[truth == i], 0)).argmax() for i in (1, 2, 4)]
    assert most[0] == most[1] >= 1 and most[2] != most[0]


@pytest.mark.parametrize("name", ["points", "builtin+points"])
def test_segmenters_by_name_with_weights_of_ones_own(tmp_path, name):
    """Untrained weights find whatever they find; labels are those of the scene's instances."""
    torch.manual_seed(0)
    weights = tmp_path / "points.safetensors"
    save_points_network(PointsNetwork(PointsNetworkConfig(architecture="kernel")), weights, {})
    config = dataclasses.replace(CONFIG, segmenter=name, points=PointsConfig(network_weights=str(weights)))
    frames = boxes_on_table(CORNER[:1], views=3)
    found = make_segmenter(config, frames)
    assert found.name == name and found.segment(frames[0]).labels.shape == (240, 320)
    missing = dataclasses.replace(config, points=PointsConfig(network_weights=str(tmp_path / "none")))
    with pytest.raises(InputError, match="no weights of the network on points"):
        segmenter_named(name, missing)


APART = [
    ([0.05, 0.02, 0.0], [0.13, 0.10, 0.12]),
    ([-0.2, -0.15, 0.0], [-0.1, -0.06, 0.08]),
    ([-0.15, 0.1, 0.0], [-0.09, 0.18, 0.06]),
]


def test_the_packages_weights_tell_things_apart_that_stand_apart():
    """Boxes of one colour each: nothing like them was drawn for training, and nothing is easier."""
    frames = boxes_on_table(APART)
    found = make_segmenter(dataclasses.replace(CONFIG, segmenter="points"), frames)
    images = [found.segment(frame) for frame in frames]
    scores = overlap([image.labels for image in images], [frame.labels for frame in frames])
    assert (scores > 0.7).all(), scores
    assert WEIGHTS.stat().st_size < 10e6


def test_any_cloud_gives_the_same_for_any_number_of_threads():
    torch.manual_seed(0)
    network = PointsNetwork(PointsNetworkConfig(architecture="kernel")).eval()
    cloud = tabletop(0).cloud
    before, results = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(segment_points(cloud, network, PointsConfig()))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(results[0].scores, results[1].scores)
    np.testing.assert_array_equal(results[0].masks, results[1].masks)


def test_gaussians_become_a_cloud():
    rng = np.random.default_rng(0)
    points = SurfacePoints(
        rng.normal(size=(20, 3)).astype(np.float32),
        np.tile(np.array([0, 0, 1], np.float32), (20, 1)),
        np.full((20, 3), 0.25, np.float32),
    )
    model = gaussians_from_points(points)
    model.logit_opacities[:5] = -9.0
    eyes = np.array([[0, 0, 9.0], [0, 0, -9.0]])
    cloud, kept = PointCloud.of_gaussians(model, eyes, 0.1)
    assert kept.tolist() == list(range(5, 20))
    np.testing.assert_allclose(cloud.positions, points.positions[5:], atol=1e-6)
    upper = np.sign(points.positions[5:, 2:])  # the nearer eye is above or below
    np.testing.assert_allclose(cloud.normals, upper * [[0, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(cloud.colors, 0.25, atol=1e-5)
    assert (cloud.scales > 0).all()
