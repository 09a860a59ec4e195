"""Given labels, support planes, the geometric segmenter: by hand, on synthetic and on real scenes."""

import dataclasses

import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.config import SegmentationConfig, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.geometry.depth_maps import smooth_geometry
from instascene_core.segmentation import (
    GivenLabels,
    check_labels,
    find_support,
    make_segmenter,
    segmenter_named,
)
from instascene_core.segmentation.graph import Links, join
from instascene_core.transforms import look_at

CAMERA = PinholeCamera(320, 240, 330.0, 330.0, 160.0, 120.0)


def box_hits(origin, rays, low, high):
    """Distance along rays [H, W, 3] to an axis-aligned box, inf where missed."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - origin) / rays, (high - origin) / rays
    near, far = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
    return np.where((near <= far) & (near > 0), near, np.inf)


def boxes_on_table(boxes, scale=1.0, views=10, noise=0.0, rotate=None, wall=False):
    """Frames of axis-aligned boxes [(low, high)] on the plane z = 0, depth along the optical axis."""
    frames = []
    rng = np.random.default_rng(0)
    span = (-0.6, 0.6) if wall else (0.0, 2 * np.pi)
    for index, angle in enumerate(np.linspace(*span, views, endpoint=wall)):
        eye = np.array([0.7 * np.cos(angle), 0.7 * np.sin(angle), 0.55])
        pose = look_at(eye, [0, 0, 0.03])
        rays = CAMERA.rays @ pose[:3, :3].T
        depth = np.where(rays[..., 2] < 0, -eye[2] / rays[..., 2], np.inf)
        hit = eye + rays * depth[..., None]
        depth = np.where(np.abs(hit[..., :2]).max(axis=-1) < 0.5, depth, np.inf)
        if wall:
            back = (-0.3 - eye[0]) / rays[..., 0]
            depth = np.where((back > 0) & (back < depth), back, depth)
        labels = np.full(depth.shape, UNLABELLED, dtype=np.int32)
        for number, (low, high) in enumerate(boxes, start=1):
            t = box_hits(eye, rays, np.array(low), np.array(high))
            labels = np.where(t < depth, number, labels).astype(np.int32)
            depth = np.minimum(depth, t)
        depth = np.where(np.isfinite(depth), depth, 0)
        depth = np.where(depth > 0, depth + noise * rng.normal(size=depth.shape), 0)
        pose[:3, 3] *= scale
        if rotate is not None:
            pose = rotate @ pose
        colors = np.array(
            [[120, 120, 120], [200, 60, 60], [60, 160, 60], [60, 60, 200], [190, 190, 40]], np.uint8
        )
        rgb = colors[np.maximum(labels, 0)]
        frames.append(
            Frame(f"{index:03d}", float(index), CAMERA, pose, rgb, (depth * scale).astype(np.float32), labels)
        )
    return frames


CORNER = [  # touching: side by side at different heights, one on top, one apart
    ([0.0, 0.0, 0.0], [0.10, 0.10, 0.12]),
    ([0.10, 0.02, 0.0], [0.22, 0.09, 0.05]),
    ([0.02, 0.02, 0.12], [0.08, 0.08, 0.17]),
    ([-0.2, -0.15, 0.0], [-0.1, -0.06, 0.08]),
]


def overlap(labels, truth):
    """Per true object the best IoU over all images, one label used once."""
    from scipy.optimize import linear_sum_assignment

    found, true = np.stack(labels), np.stack(truth)
    table = np.zeros((found.max() + 1, true.max() + 1))
    np.add.at(table, (np.maximum(found, 0).ravel(), np.maximum(true, 0).ravel()), 1)
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    iou = (table / union)[1:, 1:]
    rows, columns = linear_sum_assignment(-iou)
    result = np.zeros(iou.shape[1])
    result[columns] = iou[rows, columns]
    return result


def test_normals_of_a_tilted_plane():
    frame = boxes_on_table([], views=1)[0]
    points, normals, valid = smooth_geometry(frame.depth, frame.camera)
    up = frame.world_from_camera[:3, :3].T @ [0, 0, 1]
    assert valid.mean() > 0.7
    error = np.degrees(np.arccos((normals[valid] @ up).clip(-1, 1)))
    assert np.percentile(error, 97) < 0.03  # the rest lies along the table's edge, smoothed from one side
    height = points[valid] @ up + frame.world_from_camera[2, 3]
    assert np.abs(height).max() < 1e-6


@pytest.mark.parametrize("scale", [1.0, 37.0])
def test_touching_boxes_are_separated_at_any_scale(scale):
    frames = boxes_on_table(CORNER, scale)
    segmenter = make_segmenter(SegmentationConfig(segmenter="geometric"), frames)
    labels = [segmenter.segment(f).labels for f in frames]
    scores = overlap(labels, [f.labels for f in frames])
    assert (scores > 0.9).all(), scores
    assert len(np.unique(np.stack(labels))) == 5  # four objects and nothing else


def test_noise_changes_little():
    frames = boxes_on_table(CORNER, noise=0.0015)
    segmenter = make_segmenter(SegmentationConfig(segmenter="geometric"), frames)
    scores = overlap([segmenter.segment(f).labels for f in frames], [f.labels for f in frames])
    assert (scores > 0.9).all(), scores


def test_single_frame_without_preparation():
    frame = boxes_on_table(CORNER)[1]
    segmenter = segmenter_named("geometric", SegmentationConfig())
    result = segmenter.segment(frame)
    assert not segmenter.ids_are_global
    scores = overlap([result.labels], [frame.labels])
    assert (scores > 0.7).all(), scores
    assert set(result.scores) == set(np.unique(result.labels[result.labels >= 1]).tolist())


def test_support_is_found_without_gravity_and_in_any_world():
    rotate = np.eye(4)
    rotate[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # the table's normal becomes x
    for up in (None, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)):
        support = find_support(boxes_on_table(CORNER, rotate=rotate), up)
        assert support.plane.normal @ [1, 0, 0] > 0.9999
        assert abs(support.plane.offset) < 1e-3
    assert support.extent.contains(np.array([0.0, 0.2, 0.2]))
    assert not support.extent.contains(np.array([0.0, 2.0, 2.0]))


def test_wall_behind_the_objects_is_structure_and_their_faces_are_not():
    frames = boxes_on_table(CORNER, wall=True)
    support = find_support(frames, (0, 0, 1))
    assert len(support.walls) == 1
    assert abs(support.walls[0].normal[0]) > 0.999
    assert support.is_structure(np.array([-0.3, 0.1, 0.2]))
    assert support.is_object_region(np.array([0.05, 0.05, 0.1]))


def test_no_depth_is_a_clear_answer():
    frames = [f.with_(depth=None, labels=None) for f in boxes_on_table(CORNER, views=2)]
    assert find_support(frames) is None
    with pytest.raises(InputError, match="needs depth"):
        make_segmenter(SegmentationConfig(), frames)
    zeros = [f.with_(depth=np.zeros_like(g.depth)) for f, g in zip(frames, boxes_on_table(CORNER, views=2))]
    assert find_support(zeros) is None
    with pytest.raises(InputError, match="needs depth"):
        make_segmenter(SegmentationConfig(), zeros)


def test_an_empty_table_has_no_objects():
    frames = boxes_on_table([])
    segmenter = make_segmenter(SegmentationConfig(segmenter="geometric"), frames)
    result = segmenter.segment(frames[0])
    assert (result.labels == UNLABELLED).all() and not result.scores


def test_patches_join_by_the_mean_over_the_whole_contact():
    # 0–1 smooth; 1–2 has one weak spot in a long crease and stays cut; 3 hangs on 2 smoothly.
    touching = np.ones(4, dtype=bool)
    links = Links(
        np.array([0, 0, 1, 2]),
        np.array([1, 2, 2, 3]),
        np.array([5.0, 9.0, 1.0, 4.0]),
        np.array([0.0, 1.0, 0.1, 0.2]),
        touching,
    )
    part = join(links, 4, 0.5)
    assert part[0] == part[1] and part[2] == part[3] and part[0] != part[2]
    pick = [0, 2, 3]
    weak = Links(links.first[pick], links.second[pick], links.weight[pick], links.cut[pick], touching[pick])
    assert len(set(join(weak, 4, 0.5))) == 1
    assert len(set(join(weak, 4, 0.5, doubt=2.0))) == 2  # one pair of elements proves nothing


def test_regions_that_do_not_touch_have_a_say_but_are_never_joined():
    # 0 and 2 touch 1, which could go with either; 0 and 2 are surely two.
    links = Links(
        np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([5.0, 5.0, 20.0]), np.array([0.1, 0.2, 0.9]),
        np.array([True, True, False]),
    )  # fmt: skip
    part = join(links, 3, 0.5)
    assert part[0] == part[1] != part[2]
    alike = Links(links.first[2:], links.second[2:], links.weight[2:], np.zeros(1), links.touching[2:])
    assert len(set(join(alike, 3, 0.5))) == 3


def test_given_labels_are_taken_checked_and_counted():
    frames = boxes_on_table(CORNER, views=3)
    segmenter = make_segmenter(SegmentationConfig(), frames)  # auto: labels are there
    assert isinstance(segmenter, GivenLabels)
    np.testing.assert_array_equal(segmenter.segment(frames[0]).labels, frames[0].labels)
    without = frames[1].with_(labels=None)
    result = segmenter.segment(without)
    assert (result.labels == UNLABELLED).all() and "no label image" in result.warnings[0]
    empty = frames[1].with_(labels=np.full_like(frames[1].labels, UNLABELLED))
    assert "is empty" in segmenter.segment(empty).warnings[0]
    speck = frames[1].labels.copy()
    speck[0, 0] = 77
    result = segmenter.segment(frames[1].with_(labels=speck))
    assert result.labels[0, 0] == UNLABELLED and "left out" in result.warnings[0]
    with pytest.raises(InputError, match="None of the 2 frames"):
        make_segmenter(SegmentationConfig(segmenter="labels"), [without, empty])


def test_bad_labels_and_names_are_refused():
    with pytest.raises(InputError, match=r"The label image has shape \(3, 4\), the image has \(4, 3\)"):
        check_labels(np.ones((3, 4), np.int32), (4, 3), "The label image")
    with pytest.raises(InputError, match="The label image has type float64; label images hold integer ids"):
        check_labels(np.ones((3, 4)), (3, 4), "The label image")
    with pytest.raises(InputError, match="The label image contains id 70000; ids must lie in 1 … 65535"):
        check_labels(np.full((3, 4), 70000), (3, 4), "The label image")
    np.testing.assert_array_equal(check_labels(np.array([[0, 5]], np.uint16), (1, 2), "x"), [[UNLABELLED, 5]])
    with pytest.raises(InputError, match="no segmenter 'magic'"):
        make_segmenter(SegmentationConfig(segmenter="magic"), boxes_on_table(CORNER, views=2))


def test_synthetic_pile():
    """Physics-dropped touching objects: each comes out as one part, the worst with an IoU of a half."""
    from instascene_core.synthetic.scene import generate_scene

    config = SyntheticConfig(seed=22, num_objects=6, num_views=16, width=240, height=180, supersampling=1)
    frames = list(generate_scene(config).frames())
    segmenter = make_segmenter(SegmentationConfig(segmenter="geometric"), frames)
    scores = overlap([segmenter.segment(f).labels for f in frames], [f.labels for f in frames])
    assert (scores > 0.5).all() and np.mean(scores) > 0.78, scores


def test_real_shelf_objects_come_out_apart(shared_data):
    """The four products of the bin: the largest part under each poor given mask differs."""
    from instascene_core.datasets import open_dataset

    frames = [_half(f) for f in open_dataset(shared_data("apc_shelf"))]
    segmenter = make_segmenter(SegmentationConfig(segmenter="geometric"), frames)
    votes = np.zeros((5, 200))
    import cv2

    for frame, path in zip(frames, sorted((shared_data("apc_shelf") / "masks_noisy").glob("*.png"))):
        given = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::2, ::2]
        found = segmenter.segment(frame).labels
        both = (given > 0) & (found > 0)
        np.add.at(votes, (given[both], found[both]), 1)
    assert len(set(votes[1:].argmax(axis=1))) == 4


def _half(frame: Frame) -> Frame:
    camera = frame.camera.scaled(0.5)
    return dataclasses.replace(
        frame, camera=camera, rgb=np.ascontiguousarray(frame.rgb[::2, ::2]),
        depth=np.ascontiguousarray(frame.depth[::2, ::2]), labels=None,
    )  # fmt: skip
