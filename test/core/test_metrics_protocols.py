"""Ground truth in the folder layouts of the field, small enough to count by hand."""

import json

import numpy as np
import pytest
import torch
import trimesh

from instascene_core.errors import InputError
from instascene_core.files import write_image
from instascene_core.gaussians import GaussianModel
from instascene_core.gaussians_ply import write_gaussians
from instascene_core.metrics.protocols import evaluate_segmentation, frame_of_view

# Two views of 4×5 pixels; instances 3 and 7 are objects, 9 is the table.
PREDICTED = {
    "frame_001": [[3, 3, 3, 9, 9], [3, 3, 3, 9, 9], [7, 7, 9, 9, 9], [7, 7, 9, 9, 0]],
    "frame_002": [[3, 3, 9, 9, 9], [3, 3, 9, 9, 9], [9, 9, 9, 7, 7], [9, 9, 9, 7, 7]],
}


@pytest.fixture
def output(tmp_path):
    """A saved scene: label images, instances, and Gaussians on a line with ids 3, 7, 9."""
    folder = tmp_path / "out"
    for name, rows in PREDICTED.items():
        write_image(folder / "instances" / f"{name}.png", np.array(rows, np.uint16))
    kinds = {3: ("object", 0.9), 7: ("object", 0.5), 9: ("support", 1.0)}
    entries = [{"id": i, "kind": kind, "confidence": c} for i, (kind, c) in kinds.items()]
    (folder / "scene.json").write_text(json.dumps({"instances": {"list": entries}}))
    count = 300
    means = torch.zeros((count, 3))
    means[:, 0] = torch.arange(count) * 0.01
    model = GaussianModel(
        means, torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1), torch.full((count, 2), -5.0),
        torch.zeros(count), torch.zeros((count, 1, 3)),
    )  # fmt: skip
    write_gaussians(folder / "scene.ply", model, np.repeat([3, 7, 9], 100).astype(np.int32))
    return folder


def mask(path, rows):
    write_image(path, np.array(rows, np.uint8) * 255)


def test_masks(output, tmp_path):
    truth = tmp_path / "truth"
    write_image(
        truth / "frame_001.png",
        np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [2, 2, 0, 0, 0], [2, 2, 0, 0, 0]], np.uint16),
    )
    write_image(
        truth / "frame_002.png",
        np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 2, 2], [0, 0, 0, 0, 0]], np.uint16),
    )
    scores = evaluate_segmentation(output, truth, "masks")
    # 1 and 3: 8 of 10; 2 and 7: 6 of 8; the table is no object and spoils nothing.
    assert scores["miou"] == pytest.approx((8 / 10 + 6 / 8) / 2)
    assert scores["ap50"] == 1.0 and scores["protocol"] == "masks"
    assert (scores["true_objects"], scores["instances"], scores["false_instances"]) == (2, 2, 0)
    assert (scores["recall_75"], scores["precision_75"]) == (1.0, 1.0)
    assert scores["objects"][0] == {"truth_id": 1, "instance_id": 3, "iou": 8 / 10}
    json.dumps(scores)


def test_ground_truth_of_another_size_is_met_by_nearest_pixels(output, tmp_path):
    truth = tmp_path / "truth"
    for name, rows in PREDICTED.items():
        twice = np.kron(np.where(np.array(rows) == 9, 0, rows), np.ones((2, 2), int))
        write_image(truth / f"{name}.png", twice.astype(np.uint16))
    assert evaluate_segmentation(output, truth, "masks")["miou"] == 1.0
    for name in PREDICTED:  # of other images
        write_image(truth / f"{name}.png", np.ones((40, 20), np.uint16))
    with pytest.raises(InputError, match="not the same images at another size"):
        evaluate_segmentation(output, truth, "masks")


@pytest.mark.parametrize("inside", [True, False])
def test_lerf_mask(output, tmp_path, inside):
    """Masks may overlap, be absent from a view, and are named by what they show."""
    masks = tmp_path / "figurines" / "test_mask"
    mask(masks / "1" / "green apple.png", [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5])
    mask(masks / "1" / "toy chair.png", [[0] * 5, [0] * 5, [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]])
    mask(masks / "2" / "green apple.png", [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5])
    scores = evaluate_segmentation(output, masks if not inside else masks.parent, "lerf-mask")
    # The apple is 3: 4 of 6 and 4 of 4; the chair is 7: 4 of 4 in its only view.
    assert scores["miou"] == pytest.approx((4 / 6 + 1 + 1) / 3)
    assert scores["miou_objects"] == pytest.approx(((4 / 6 + 1) / 2 + 1) / 2)
    assert scores["miou_pooled"] == pytest.approx((8 / 10 + 1) / 2)
    assert (scores["views"], scores["objects"]) == (2, 2)
    assert scores["iou of green apple"] == pytest.approx((4 / 6 + 1) / 2)
    json.dumps(scores)


def test_one_global_matching_of_binary_masks(output, tmp_path):
    """An object that changes its predicted id from view to view is right in one of them only."""
    masks = tmp_path / "scene" / "test_mask"
    mask(masks / "1" / "a.png", [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5, [0] * 5])  # is 3
    mask(masks / "2" / "a.png", [[0] * 5, [0] * 5, [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]])  # is 7
    scores = evaluate_segmentation(output, tmp_path / "scene", "lerf-mask")
    assert scores["miou"] == pytest.approx(0.5)


def test_3d_ovs_counts_background_classes_too(output, tmp_path):
    folder = tmp_path / "bed" / "segmentations"
    table = [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0]]
    mask(folder / "001" / "wooden table.png", table)
    mask(folder / "001" / "banana.png", [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5, [0] * 5])
    mask(folder / "001" / "hat.png", [[0] * 5, [0, 0, 0, 0, 1], [0] * 5, [0] * 5])  # nobody's
    (folder / "classes.txt").write_text("wooden table\nbanana\nhat\n")
    scores = evaluate_segmentation(output, tmp_path / "bed", "3d-ovs")
    assert scores["iou of wooden table"] == 1.0 and scores["iou of banana"] == 1.0
    assert scores["iou of hat"] == 0.0 and scores["miou"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("view", "expected"),
    [("frame_00041", "frame_00041"), ("41", "frame_00041"), ("7", "IMG_7"), ("test_7", "IMG_7")],
)
def test_views_are_frames_by_name_or_number(view, expected):
    assert frame_of_view(view, {"frame_00041", "frame_00410", "IMG_7"}) == expected


def test_a_view_that_cannot_be_told_is_refused():
    with pytest.raises(InputError, match=r"several frames fit it \(a_1, b_01\)"):
        frame_of_view("1", {"a_1", "b_01"})
    with pytest.raises(InputError, match="no frame has its name or number"):
        frame_of_view("door", {"a_1"})


def scannet(folder, x: np.ndarray, labels: np.ndarray):
    folder.mkdir(parents=True)
    points = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)
    trimesh.PointCloud(points).export(folder / "scene0000_00_vh_clean_2.ply")
    (folder / "scene0000_00.txt").write_text("\n".join(str(v) for v in labels))
    return folder


def test_points_in_the_way_of_scannet(output, tmp_path):
    """Gaussians 0 … 0.99 m are 3, 1 … 1.99 m are 7; twice as many points; classes 5 and 6, and a wall, 1."""
    x = np.arange(600) * 0.005
    labels = np.repeat([5001, 5002, 1001], 200)
    labels[200:260] = 5001  # of 7's 200 points 60 belong to the first
    truth = scannet(tmp_path / "gt", x, labels)
    scores = evaluate_segmentation(output, truth, "points", ignored_classes=(1,))
    # 3 covers 199 of its 200 + 60 points (the border is 7's), 7 140 of 201: both above 0.5.
    assert scores["ap50"] == scores["ap25"] == 1.0
    assert (scores["true_instances"], scores["predicted_instances"]) == (2, 2)
    # Both IoU lie between 0.65 and 0.8: right at 0.5, 0.55, 0.6, 0.65 and, for the first, some more.
    assert 0.4 <= scores["ap"] < 0.6
    with_wall = evaluate_segmentation(output, truth, "points")
    assert with_wall["true_instances"] == 3 and with_wall["ap50"] == pytest.approx(2 / 3)
    few = evaluate_segmentation(output, truth, "points", min_region=1000)
    assert few["true_instances"] == 0 and np.isnan(few["ap"])


def test_points_far_from_every_gaussian_belong_to_nobody(output, tmp_path):
    x = np.r_[np.arange(200) * 0.005, 50 + np.arange(200) * 0.005]
    scores = evaluate_segmentation(output, scannet(tmp_path / "gt", x, np.repeat([1, 2], 200)), "points")
    assert scores["ap50"] == pytest.approx(1 / 2) and scores["predicted_instances"] == 1


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("masks", "no label images"),
        ("points", "holds 0 .ply files"),
        ("lerf-mask", "no masks test_mask/<view>/<object>.png"),
        ("3d-ovs", "no masks segmentations"),
        ("coco", "no protocol 'coco'; take one of objects, masks"),
    ],
)
def test_an_empty_folder_and_a_wrong_name_are_one_sentence(output, tmp_path, protocol, words):
    with pytest.raises(InputError, match=words) as caught:
        evaluate_segmentation(output, tmp_path / "nothing", protocol)
    assert "\n" not in str(caught.value)


def test_ground_truth_that_does_not_fit_is_refused(output, tmp_path):
    write_image(tmp_path / "truth" / "other.png", np.ones((4, 5), np.uint16))
    with pytest.raises(InputError, match="no label image of frame 'other'"):
        evaluate_segmentation(output, tmp_path / "truth", "masks")
    folder = scannet(tmp_path / "gt", np.zeros(5), np.ones(4, int))
    with pytest.raises(InputError, match="holds 4 labels"):
        evaluate_segmentation(output, folder, "points")
    (folder / "scene0000_00.txt").write_text("a\nb")
    with pytest.raises(InputError, match="cannot be read"):
        evaluate_segmentation(output, folder, "points")
    with pytest.raises(InputError, match="no decomposed scene"):
        evaluate_segmentation(tmp_path / "elsewhere", tmp_path / "truth", "masks")
