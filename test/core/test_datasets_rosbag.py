"""rosbag2 without ROS: writing, topic detection, matching by stamp, encodings, damaged bags."""

import numpy as np
import pytest
from bag_recorder import CAMERA, COMPRESSED, IMAGE, INFO, ODOMETRY, POSE, TF, Recorder

from instascene_core.datasets import BagTopics, open_dataset, ros_images, write_bag
from instascene_core.datasets.bag_topics import detect_topics
from instascene_core.datasets.pose_track import PoseTrack, TransformTree, interpolate, matrix_from_parts
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.transforms import inverse, look_at, matrix_from_quaternion


def make_frames(count=3):
    rng = np.random.default_rng(0)
    frames = []
    for i in range(count):
        labels = np.full((4, 6), UNLABELLED, np.int32)
        labels[0] = 70 + i
        frames.append(
            Frame(
                f"{i:06d}",
                10.0 + 0.1 * i,
                CAMERA,
                look_at(np.array([1.0, 0.1 * i, 0.5]), np.zeros(3)),
                rng.integers(0, 255, (4, 6, 3), np.uint8),
                rng.uniform(0.3, 2.0, (4, 6)).astype(np.float32),
                labels,
            )
        )
    return frames


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_is_written_is_read(tmp_path, storage):
    frames = make_frames()
    write_bag(frames, tmp_path / "bag", storage)
    dataset = open_dataset(tmp_path / "bag", use_masks=True)
    assert (dataset.kind, len(dataset), dataset.dropped) == ("rosbag2", 3, {})
    assert dataset.has_depth and dataset.has_labels
    for read, true in zip(dataset, frames):
        assert read.camera == CAMERA
        assert read.stamp == pytest.approx(true.stamp, abs=1e-9) and read.name == true.name
        np.testing.assert_allclose(read.world_from_camera, true.world_from_camera, atol=1e-12)
        np.testing.assert_array_equal(read.rgb, true.rgb)
        np.testing.assert_array_equal(read.depth, true.depth)
        np.testing.assert_array_equal(read.labels, true.labels)


def test_options_hold_for_bags_too(tmp_path):
    write_bag(make_frames(5), tmp_path / "bag")
    dataset = open_dataset(tmp_path / "bag", use_depth=False, use_masks=False, scale=0.5, max_frames=2)
    assert len(dataset) == 2 and dataset[1].depth is None and dataset[1].labels is None
    assert dataset[0].camera.width == 3
    with pytest.raises(InputError, match="name the topic"):
        open_dataset(tmp_path / "bag", masks="masks_noisy")


def test_millimetre_depth_and_frames_without_depth(tmp_path):
    frames = make_frames()
    write_bag([frames[0], frames[1].with_(depth=None, labels=None)], tmp_path / "bag", depth_encoding="16UC1")
    first, second = open_dataset(tmp_path / "bag")
    np.testing.assert_allclose(first.depth, frames[0].depth, atol=0.00051)
    assert second.depth is None and second.labels is None


def test_the_storage_file_itself_can_be_named(tmp_path):
    write_bag(make_frames(), tmp_path / "bag", "mcap")
    assert len(open_dataset(next((tmp_path / "bag").glob("*.mcap")))) == 3


def test_bags_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="exists already"):
        write_bag(make_frames(), tmp_path / "file")
    with pytest.raises(InputError, match="Cannot write"):
        write_bag(make_frames(), tmp_path / "file" / "bag")
    with pytest.raises(InputError, match="no frames"):
        write_bag([], tmp_path / "bag")
    with pytest.raises(InputError, match="Storage"):
        write_bag(make_frames(), tmp_path / "bag", storage="zip")
    with pytest.raises(InputError, match="Depth encoding"):
        write_bag(make_frames(), tmp_path / "bag", depth_encoding="8UC1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]  # nothing half-written stays


# --- bags as robots record them ---


RGB = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


def test_a_realsense_like_bag_is_understood(tmp_path):
    """Other names, compressed neighbours, infrared, aligned depth, poses at another rate."""
    with Recorder(tmp_path / "bag") as r:
        for i in range(3):
            at = 1.0 + i
            r.image("/camera/color/image_raw", at, RGB, "bgr8")
            r.info("/camera/color/camera_info", at)
            r.info("/camera/depth/camera_info", at, k=(1, 0, 1, 0, 1, 1, 0, 0, 1))
            r.image("/camera/infra1/image_rect_raw", at, RGB[..., 0].copy(), "mono8")
            r.image("/camera/depth/image_rect_raw", at, np.zeros((4, 6), np.uint16), "16UC1")
            aligned = np.full((4, 6), 1234, np.uint16)
            r.image("/camera/aligned_depth_to_color/image_raw", at + 0.005, aligned, "16UC1")
        for k in range(30):
            r.pose("/slam/pose", 0.95 + 0.1 * k, (0.95 + 0.1 * k, 0, 0))
    dataset = open_dataset(tmp_path / "bag")
    assert len(dataset) == 3
    frame = dataset[1]
    assert frame.camera == CAMERA  # ROS' (2.7, 1.4) is our (3.2, 1.9)
    np.testing.assert_array_equal(frame.rgb, RGB[..., ::-1])
    np.testing.assert_allclose(frame.depth, 1.234)
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], [2.0, 0, 0], atol=1e-9)  # between two poses
    assert not dataset.has_labels


def test_compressed_images(tmp_path):
    import cv2

    with Recorder(tmp_path / "bag") as r:
        data = cv2.imencode(".png", RGB[..., ::-1])[1].ravel()
        message = r.new(COMPRESSED, header=r.header(1.0), format="rgb8; png compressed bgr8", data=data)
        r.send("/rgb/image/compressed", message, 1.0)
        r.info("/rgb/image/camera_info", 1.0)
        r.pose("/pose", 1.0, (0, 0, 0))
    np.testing.assert_array_equal(open_dataset(tmp_path / "bag")[0].rgb, RGB)


def test_odometry_with_the_camera_mounted_on_the_base(tmp_path):
    """Base at (3, 0, 0), camera 0.5 m above it and turned so that it looks along +x."""
    mounted = (-0.5, 0.5, -0.5, 0.5)  # optical axes (x right, y down, z ahead) on a base (x ahead, z up)
    with Recorder(tmp_path / "bag") as r:
        r.tf("/tf_static", 0.0, "base", "camera", (0, 0, 0.5), mounted)
        r.image("/rgb/image", 1.0, RGB, "rgb8")
        r.info("/rgb/camera_info", 1.0)
        r.odometry("/odom", 1.0, (3, 0, 0))
    pose = open_dataset(tmp_path / "bag")[0].world_from_camera
    np.testing.assert_allclose(pose[:3, 3], [3, 0, 0.5], atol=1e-12)
    np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1], atol=1e-12)


def test_odometry_without_the_camera_mount_is_refused(tmp_path):
    with Recorder(tmp_path / "bag") as r:
        r.image("/rgb/image", 1.0, RGB, "rgb8")
        r.info("/rgb/camera_info", 1.0)
        r.odometry("/odom", 1.0, (3, 0, 0))
    with pytest.raises(InputError, match="tf does not say"):
        open_dataset(tmp_path / "bag")


def test_poses_from_tf(tmp_path):
    with Recorder(tmp_path / "bag") as r:
        r.tf("/tf_static", 0.0, "base", "camera", (0, 0, 1))
        for k in range(4):
            r.tf("/tf", 0.9 + 0.2 * k, "odom", "base", (k, 0, 0))
            r.tf("/tf", 0.9 + 0.2 * k, "map", "odom", (0, 10, 0))
        for at in (1.0, 1.2, 9.0):
            r.image("/rgb/image", at, RGB, "rgb8")
        r.info("/rgb/camera_info", 1.0)
    dataset = open_dataset(tmp_path / "bag")
    np.testing.assert_allclose(dataset.poses[:, :3, 3], [[0.5, 10, 1], [1.5, 10, 1]], atol=1e-9)
    assert dataset.dropped == {"images without a pose at their stamp": 1}
    with pytest.raises(InputError, match="no frame 'world'"):
        open_dataset(tmp_path / "bag", topics=BagTopics(map_frame="world"))


def test_bad_poses_are_skipped_and_counted(tmp_path):
    with Recorder(tmp_path / "bag") as r:
        for i in range(3):
            r.image("/rgb/image", 1.0 + i, RGB, "rgb8")
        r.info("/rgb/camera_info", 1.0)
        r.pose("/pose", 1.0, (0, 0, 0))
        r.pose("/pose", 2.0, (np.nan, 0, 0))
        r.pose("/pose", 3.0, (0, 0, 0), xyzw=(0, 0, 0, 2))
    dataset = open_dataset(tmp_path / "bag")
    assert len(dataset) == 1
    assert dataset.dropped == {
        "poses not finite or without a unit quaternion": 2,
        "images without a pose at their stamp": 2,
    }


def record_minimal(path, encoding="rgb8", pose_at=1.0, size=(6, 4), **info):
    with Recorder(path) as r:
        r.image("/rgb/image", 1.0, RGB, encoding)
        r.info("/rgb/camera_info", 1.0, size=size, **info)
        r.pose("/pose", pose_at, (0, 0, 0))
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoding": "yuv999"}, "encoding 'yuv999'"),
        ({"encoding": "16UC1"}, "not a colour encoding"),
        ({"encoding": "rgba8"}, "less than a row"),
        ({"pose_at": 5.0}, "No image .* can be used"),
        ({"size": (12, 4)}, "the camera says 12×4"),
        ({"model": "double_sphere", "d": (0.1, 0.2)}, "double_sphere"),
        ({"k": (0,) * 9}, "not calibrated"),
    ],
)
def test_bad_messages(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        open_dataset(record_minimal(tmp_path / "bag", **options))[0]


def test_a_distorted_camera_is_undistorted(tmp_path):
    record_minimal(tmp_path / "bag", d=(0.5, 0.0, 0.0, 0.0, 0.0))
    assert open_dataset(tmp_path / "bag").reader.read(0).lens.coefficients == (0.5, 0, 0, 0, 0)
    assert open_dataset(tmp_path / "bag")[0].valid is not None


def test_damaged_bags(tmp_path):
    write_bag(make_frames(), tmp_path / "bag", "mcap")
    file = next((tmp_path / "bag").glob("*.mcap"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"was cut off, .* before its first messages were whole"):
        open_dataset(tmp_path / "bag")
    file.unlink()
    with pytest.raises(InputError, match="cannot be opened"):
        open_dataset(tmp_path / "bag")
    file.write_bytes(content)
    (tmp_path / "bag/metadata.yaml").write_text("rosbag2_bagfile_information: {")
    with pytest.raises(InputError, match="cannot be opened"):
        open_dataset(tmp_path / "bag")
    (tmp_path / "bag/metadata.yaml").unlink()  # the storage file itself is whole
    assert len(open_dataset(tmp_path / "bag")) == 3


# --- topics ---


BASE = {"/rgb/image": IMAGE, "/rgb/camera_info": INFO, "/pose": POSE}


def test_topics_by_name_and_type():
    found = detect_topics(
        {**BASE, "/depth/image": IMAGE, "/masks/image": IMAGE, "/chatter": "x"}, BagTopics()
    )
    assert (found.rgb, found.camera_info, found.pose) == ("/rgb/image", "/rgb/camera_info", "/pose")
    assert (found.depth, found.masks) == ("/depth/image", "/masks/image")
    found = detect_topics({"/left/image": IMAGE, "/left/camera_info": INFO, TF: TF}, BagTopics())
    assert (found.rgb, found.camera_info, found.pose) == ("/left/image", "/left/camera_info", "tf")
    assert (found.depth, found.masks) == ("", "")


def test_given_topics_win():
    available = {**BASE, "/left/image": IMAGE, "/left/camera_info": INFO, "/odom": ODOMETRY}
    found = detect_topics(available, BagTopics(rgb="/left/image", pose="/odom"))
    assert (found.rgb, found.camera_info, found.pose) == ("/left/image", "/left/camera_info", "/odom")


@pytest.mark.parametrize(
    ("available", "words"),
    [
        ({"/pose": POSE, "/rgb/camera_info": INFO}, "no topic with a colour image"),
        ({"/rgb/image": IMAGE, "/pose": POSE}, "no topic with a camera_info"),
        ({"/rgb/image": IMAGE, "/rgb/camera_info": INFO}, "no poses"),
        ({**BASE, "/rgb/image": INFO, "/l/image": IMAGE, "/r/image": IMAGE}, "several topics .* topics.rgb"),
    ],
)
def test_missing_or_ambiguous_topics(available, words):
    with pytest.raises(InputError, match=words):
        detect_topics(available, BagTopics())


def test_an_unknown_topic_name():
    with pytest.raises(InputError, match="no topic '/colour'"):
        detect_topics(BASE, BagTopics(rgb="/colour"))


# --- encodings ---


class Message:
    def __init__(self, array, encoding, bigendian=0, padding=0):
        rows = array.reshape(array.shape[0], -1).view(np.uint8)
        rows = np.pad(rows, ((0, 0), (0, padding)))
        self.height, self.width = array.shape[:2]
        self.encoding, self.is_bigendian, self.step = encoding, bigendian, rows.shape[1]
        self.data = rows.ravel()


def test_colour_encodings():
    rgba = np.arange(96, dtype=np.uint8).reshape(4, 6, 4)
    np.testing.assert_array_equal(ros_images.rgb_from(Message(RGB, "rgb8", padding=5)), RGB)
    np.testing.assert_array_equal(ros_images.rgb_from(Message(RGB, "bgr8")), RGB[..., ::-1])
    np.testing.assert_array_equal(ros_images.rgb_from(Message(rgba, "rgba8")), rgba[..., :3])
    np.testing.assert_array_equal(ros_images.rgb_from(Message(rgba, "bgra8")), rgba[..., 2::-1])
    grey = ros_images.rgb_from(Message(np.ascontiguousarray(RGB[..., 0]), "mono8"))
    np.testing.assert_array_equal(grey, np.repeat(RGB[..., :1], 3, axis=2))


def test_depth_encodings():
    millimetres = np.array([[0, 1500], [65535, 1]], np.uint16)
    expected = millimetres * np.float32(0.001)
    for encoding in ("16UC1", "mono16"):
        np.testing.assert_array_equal(ros_images.depth_from(Message(millimetres, encoding)), expected)
    big = Message(millimetres.astype(">u2"), "16UC1", bigendian=1)
    np.testing.assert_array_equal(ros_images.depth_from(big), expected)
    metres = np.array([[0.5, np.nan], [np.inf, -1.0]], np.float32)
    np.testing.assert_array_equal(ros_images.depth_from(Message(metres, "32FC1")), [[0.5, 0], [0, 0]])
    with pytest.raises(InputError, match="Depth encoding"):
        ros_images.depth_from(Message(RGB, "rgb8"))


def test_label_encodings():
    labels = np.array([[0, 3], [-1, 70000]], np.int32)
    np.testing.assert_array_equal(ros_images.label_image_from(Message(labels, "32SC1")), [[0, 3], [0, 70000]])
    short = np.array([[0, 65535]], np.uint16)
    np.testing.assert_array_equal(ros_images.label_image_from(Message(short, "mono16")), [[0, 65535]])
    with pytest.raises(InputError, match="Label image encoding"):
        ros_images.label_image_from(Message(labels.view(np.float32), "32FC1"))


def test_empty_and_short_images():
    message = Message(RGB, "rgb8")
    message.width = 0
    with pytest.raises(InputError, match="empty"):
        ros_images.rgb_from(message)
    message = Message(RGB, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(InputError, match="needs"):
        ros_images.rgb_from(message)


# --- poses over time ---


class XYZW:
    def __init__(self, x, y, z, w=0.0):
        self.x, self.y, self.z, self.w = x, y, z, w


def test_matrix_from_parts():
    half = np.sqrt(0.5)
    matrix = matrix_from_parts(XYZW(1, 2, 3), XYZW(0, 0, half, half), "It")  # a quarter turn about z
    np.testing.assert_allclose(matrix[:3], [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]], atol=1e-12)
    for bad, words in ((XYZW(0, 0, 0, 1.1), "length 1.1"), (XYZW(0, 0, 0, np.nan), "NaN")):
        with pytest.raises(InputError, match=words):
            matrix_from_parts(XYZW(0, 0, 0), bad, "It")


def shifted(x):
    matrix = np.eye(4)
    matrix[0, 3] = x
    return matrix


def test_interpolate_half_way_turns_half():
    quarter = np.eye(4)
    quarter[:3, :3] = matrix_from_quaternion([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    quarter[0, 3] = 2.0
    middle = interpolate(np.eye(4), quarter, 0.5)
    np.testing.assert_allclose(middle[:3, 0], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-12)
    assert middle[0, 3] == 1.0


def test_a_track_interpolates_small_gaps_and_never_extrapolates_far():
    track = PoseTrack(tolerance_s=0.02, longest_gap_s=0.5)
    for stamp in (1.4, 1.0, 5.0):  # any order
        track.add(stamp, shifted(stamp))
    assert track.at(1.1)[0, 3] == pytest.approx(1.1)
    assert track.at(1.0)[0, 3] == 1.0
    assert track.at(1.41)[0, 3] == 1.4  # nearest, the gap to 5 is too long
    assert track.at(5.01)[0, 3] == 5.0
    assert track.at(3.0) is None and track.at(0.5) is None
    assert PoseTrack(0.02).at(0.0) is None


def test_a_tree_connects_through_common_ancestors():
    tree = TransformTree(0.02)
    tree.add("map", "base", 0.0, shifted(1.0), static=True)
    tree.add("/base", "camera", 0.0, shifted(0.25), static=True)
    tree.add("base", "arm", 2.0, shifted(5.0), static=False)
    assert tree.lookup("map", "camera", 9.0)[0, 3] == 1.25
    assert tree.lookup("arm", "camera", 2.0)[0, 3] == -4.75
    np.testing.assert_allclose(tree.lookup("camera", "map", 0.0), inverse(tree.lookup("map", "camera", 0.0)))
    assert tree.lookup("map", "arm", 9.0) is None and tree.lookup("map", "moon", 0.0) is None
