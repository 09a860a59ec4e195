"""mask_node as a process over DDS: label images of a procedural scene, frames it cannot use, its end."""

import importlib.util

import numpy as np
import pytest
import rclpy
from nodes import END_S, Client, running, wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tiny_checkpoints import write_mask2former, write_sam2

from instascene_core.config import SegmentationConfig
from instascene_core.config_file import config_with
from instascene_core.datasets import open_dataset
from instascene_core.frame import UNLABELLED
from instascene_core.segmentation import make_segmenter
from instascene_ros.conversions import (
    camera_info_message,
    image_message,
    labels_from_message,
    time_message,
)

NUM_OBJECTS, NUM_VIEWS = 3, 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

    folder = tmp_path_factory.mktemp("scene")
    config = SyntheticConfig(
        seed=3, num_objects=NUM_OBJECTS, num_views=NUM_VIEWS, width=192, height=144, supersampling=1,
        room=False, layout="spread", kinds=("box", "can", "bottle"),
    )  # fmt: skip
    write_dataset(generate_scene(config), folder)
    return folder


@pytest.fixture
def client(ros_domain):
    rclpy.init()
    client = Client("mask_test_client")
    yield client
    client.close()
    rclpy.try_shutdown()


def best_overlaps(labels: np.ndarray, truth: np.ndarray) -> list[float]:
    """For every true object of at least 100 pixels the IoU with the label that fits best."""
    scores = []
    for true_id in np.unique(truth[truth >= 1]):
        mask = truth == true_id
        if mask.sum() >= 100:
            found = np.unique(labels[mask & (labels >= 1)])
            overlaps = [(mask & (labels == i)).sum() / (mask | (labels == i)).sum() for i in found]
            scores.append(max(overlaps, default=0.0))
    return scores


def test_every_view_gets_its_label_image(client, dataset, tmp_path):
    received = client.listen(Image, "masks/image", 30)
    every_frame = {"keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0}
    player = {"dataset": dataset, "rate": 5.0, "use_masks": False}
    with running("mask_node", every_frame, tmp_path / "mask_node.log") as node:
        wait_for(lambda: client.node.count_publishers("masks/image"), 30, "both have found each other")
        with running("dataset_player", player, tmp_path / "player.log") as process:
            assert process.wait(60.0) == 0, process.log.read_text()
        try:
            wait_for(lambda: len(received) == NUM_VIEWS, 30, "a label image for every view")
        except AssertionError as error:
            node.interrupt()
            raise AssertionError(f"{error}, but {len(received)}:\n{node.log.read_text()}") from None
        code, seconds = node.interrupt()
        assert code == 0 and seconds < END_S, node.log.read_text()
        assert "Traceback" not in node.log.read_text()
    scores = []
    for frame, message in zip(open_dataset(dataset, use_masks=True), received):
        assert message.encoding == "mono16" and message.header.frame_id == "camera_optical_frame"
        assert message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec == pytest.approx(
            frame.stamp, abs=1e-6
        )
        labels = labels_from_message(message)
        assert labels.shape == frame.labels.shape
        assert (labels[frame.labels == UNLABELLED] == UNLABELLED).mean() > 0.95  # the table is no object
        scores += best_overlaps(labels, frame.labels)
    assert len(scores) >= NUM_VIEWS and np.median(scores) > 0.7, scores


def test_images_without_depth_are_named_and_survived(client, dataset, tmp_path):
    received = client.listen(Image, "masks/image", 30)
    player = {"dataset": dataset, "rate": 20.0, "use_masks": False, "use_depth": False}
    parameters = {"keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0}
    with running("mask_node", parameters, tmp_path / "mask_node.log") as node:
        with running("dataset_player", player, tmp_path / "player.log") as process:
            assert process.wait(60.0) == 0, process.log.read_text()
        wait_for(lambda: "without depth" in node.log.read_text(), 20, "the sentence about depth")
        assert node.process.poll() is None and "Traceback" not in node.log.read_text()
    assert received == []


needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed (extra 'segmenters')",
)


@needs_transformers
def test_images_alone_are_enough_for_public_weights(client, dataset, tmp_path):
    """Neither depth nor a pose is ever published; the newest image is the next one."""
    write_mask2former(tmp_path / "checkpoint")
    parameters = {
        "segmentation.segmenter": "mask2former", "segmentation.public.device": "cpu",
        "segmentation.public.checkpoint": str(tmp_path / "checkpoint"), "pose_source": "none",
    }  # fmt: skip
    received = client.listen(Image, "masks/image", 30)
    images = client.node.create_publisher(Image, "rgb/image", 10)
    infos = client.node.create_publisher(CameraInfo, "rgb/camera_info", 10)
    with running("mask_node", parameters, tmp_path / "mask_node.log") as node:
        wait_for(lambda: client.node.count_publishers("masks/image"), 60, "both have found each other")
        wait_for(images.get_subscription_count, 10, "the subscription")
        for number, frame in enumerate(open_dataset(dataset)):
            stamp = Header(stamp=time_message(frame.stamp), frame_id="camera")
            infos.publish(camera_info_message(frame.camera, stamp))
            images.publish(image_message(frame.rgb, "rgb8", stamp))
            wait_for(lambda count=number + 1: len(received) == count, 30, "its label image")
        assert "Traceback" not in node.log.read_text()


@needs_transformers
@pytest.mark.parametrize(("name", "write"), [("mask2former", write_mask2former), ("sam2", write_sam2)])
def test_public_weights_are_served_without_depth(client, dataset, tmp_path, name, write):
    """With random weights: the label images that arrive are those that the segmenter makes of the frames."""
    write(tmp_path / "checkpoint")
    settings = {
        "segmenter": name, "public.checkpoint": str(tmp_path / "checkpoint"), "public.device": "cpu",
        "public.min_mask_score": 0.2, "public.sam2.points_per_side": 4,
        "public.sam2.min_predicted_iou": 0.3, "public.sam2.min_stability": 0.4,
    }  # fmt: skip
    received = client.listen(Image, "masks/image", 30)
    parameters = {f"segmentation.{key}": value for key, value in settings.items()}
    parameters |= {"keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0}
    player = {"dataset": dataset, "rate": 20.0, "use_masks": False, "use_depth": False}
    with running("mask_node", parameters, tmp_path / "mask_node.log") as node:
        wait_for(lambda: client.node.count_publishers("masks/image"), 60, "both have found each other")
        with running("dataset_player", player, tmp_path / "player.log") as process:
            assert process.wait(60.0) == 0, process.log.read_text()
        try:
            wait_for(lambda: len(received) == NUM_VIEWS, 30, "a label image for every view")
        except AssertionError as error:
            node.interrupt()
            raise AssertionError(f"{error}, but {len(received)}:\n{node.log.read_text()}") from None
        assert f"by {name} go out" in node.log.read_text() and "Traceback" not in node.log.read_text()
    frames = list(open_dataset(dataset))
    segmenter = make_segmenter(config_with(SegmentationConfig(), settings), frames)
    found = 0
    for frame, message in zip(frames, received):
        expected = segmenter.segment(frame).labels
        np.testing.assert_array_equal(labels_from_message(message), expected)
        found += len(np.unique(expected)) - 1
    assert found >= NUM_VIEWS


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"segmenter": "sam2"}, "needs segmentation.public.checkpoint: a folder with config.json"),
        ({"segmenter": "cropformer"}, "needs segmentation.public.cropformer.root"),
        ({"segmenter": "labels"}, "mask_node is what makes them"),
        (
            {"use_depth": False},
            "cuts the surface that depth and pose give, but use_depth is false; of",
        ),
        ({"pose_source": "none"}, "but pose_source is none; of images alone serve"),
    ],
)
def test_a_segmenter_that_cannot_be_had_ends_the_node(ros_domain, tmp_path, settings, sentence):
    own = ("use_depth", "pose_source")
    parameters = {key if key in own else f"segmentation.{key}": value for key, value in settings.items()}
    with running("mask_node", parameters, tmp_path / "mask_node.log") as node:
        assert node.wait(60.0) == 2
        assert sentence in node.log.read_text() and "Traceback" not in node.log.read_text()
