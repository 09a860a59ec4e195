"""The rows of docs/recordings.md about rosbag2: the command, executed on such a bag."""

import struct

import numpy as np
import pytest
from bag_recorder import CAMERA, K, Recorder
from recordings_table import opened, recording

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets import open_dataset, ros_images, write_bag
from instascene_core.datasets.registration import DepthCamera
from instascene_core.errors import InputError

RGB = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
MILLIMETRES = np.arange(24, dtype=np.uint16).reshape(4, 6) * 100
COLOR, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"


@pytest.fixture
def open_typed(tmp_path, monkeypatch):
    return lambda typed: opened(typed, tmp_path / "recorded", monkeypatch)


@pytest.fixture
def recorder(tmp_path):
    return lambda: Recorder(tmp_path / "recorded")


def color(r, at, topic=COLOR, **info):
    """A colour image with its camera_info and pose."""
    r.image(topic, at, RGB, "rgb8")
    r.info(topic.rsplit("/", 1)[0] + "/camera_info", at, **info)
    r.pose("/pose", at, (at, 0, 0))


@recording("a rosbag2")
def test_a_bag(typed, open_typed, recorder):
    with recorder() as r:
        for at in (1.0, 2.0):
            color(r, at)
            r.image(DEPTH, at, MILLIMETRES, "16UC1")
    first, second = open_typed(typed)
    assert first.camera == CAMERA and second.world_from_camera[0, 3] == 2.0
    np.testing.assert_allclose(first.depth, MILLIMETRES / 1000, atol=1e-6)


@recording("a rosbag2 with several cameras")
def test_a_named_camera(typed, open_typed, recorder):
    with recorder() as r:
        for side in ("left", "right"):
            r.image(f"/{side}/image", 1.0, RGB if side == "left" else RGB * 0, "rgb8")
            r.info(f"/{side}/camera_info", 1.0)
        r.pose("/pose", 1.0, (0, 0, 0))
    np.testing.assert_array_equal(open_typed(typed)[0].rgb, RGB)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@recording("a bare `.mcap` or `.db3` without `metadata.yaml`")
def test_bare_storage_files(typed, tmp_path, monkeypatch, storage):
    from test_datasets_rosbag import make_frames

    write_bag(make_frames(), tmp_path / "bag", storage)
    (tmp_path / "bag/metadata.yaml").unlink()
    file = next(p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3"))
    for recorded in (file, tmp_path / "bag"):
        dataset = opened(typed, recorded, monkeypatch)
        assert len(dataset) == 3 and dataset[2].depth is not None


@recording("a bag with compressed colour images")
def test_compressed_colour(typed, open_typed, recorder):
    import cv2

    with recorder() as r:
        data = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
        r.packed(f"{COLOR}/compressed", 1.0, data, "rgb8; png compressed bgr8")
        r.info("/camera/color/camera_info", 1.0)
        r.pose("/pose", 1.0, (0, 0, 0))
    np.testing.assert_array_equal(open_typed(typed)[0].rgb, RGB)


@recording("a bag with images at another scale than their camera_info")
def test_images_at_another_scale(typed, open_typed, recorder, caplog):
    """As many a republisher leaves it: small images beside the camera_info of large ones."""
    large = tuple(2 * value if index in (0, 4) else value for index, value in enumerate(K))
    center = {2: 2 * (K[2] + 0.5) - 0.5, 5: 2 * (K[5] + 0.5) - 0.5}  # ROS counts pixel centres from 0
    large = tuple(center.get(index, value) for index, value in enumerate(large))
    with recorder() as r:
        for at in (1.0, 2.0):
            color(r, at, k=large, size=(12, 8))
            r.image(DEPTH, at, MILLIMETRES, "16UC1")
    frames = list(open_typed(typed))
    assert [frame.camera for frame in frames] == [CAMERA] * 2
    np.testing.assert_allclose(frames[1].depth, MILLIMETRES / 1000, atol=1e-6)
    assert caplog.text.count("the images are 6×4, their camera 12×8; its intrinsics are scaled") == 1


def test_images_of_another_shape_than_their_camera_info_are_refused(recorder, tmp_path):
    with recorder() as r:
        color(r, 1.0, size=(12, 4))
    with pytest.raises(InputError, match="is 6×4, the camera says 12×4"):
        open_dataset(tmp_path / "recorded")[0]


def test_depth_of_another_camera_at_another_scale(caplog):
    """As through the camera of that size, whose intrinsics are scaled."""
    own = PinholeCamera(160, 120, 140.0, 141.0, 81.0, 58.0)
    beside, color_lens = np.eye(4), LensModel(PinholeCamera(160, 120, 150.0, 150.0, 80.0, 60.0))
    beside[0, 3] = 0.03
    depth = np.linspace(0.5, 1.5, 80 * 60, dtype=np.float32).reshape(60, 80)
    camera = DepthCamera(LensModel(own))
    seen = [camera.seen_from(depth, color_lens, beside) for _ in range(2)][-1]
    expected = DepthCamera(LensModel(own.resized(80, 60))).seen_from(depth, color_lens, beside)
    np.testing.assert_array_equal(seen, expected)
    assert seen.any() and caplog.text.count("the depth images are 80×60, their camera 160×120") == 1
    with pytest.raises(InputError, match="80×30, but its camera_info says 160×120"):
        camera.seen_from(depth[:30], color_lens, beside)


# ── depth ─────────────────────────────────────────────────────────────────────────────────────────


def packed_depth(values, a=0.0, b=0.0):
    import cv2

    return struct.pack("<iff", 0, a, b) + cv2.imencode(".png", values)[1].tobytes()


@recording("a bag with `compressedDepth` only")
def test_compressed_depth(typed, open_typed, recorder):
    a, b = 10100.0, 1 - 1010.0  # depth_quantization 100, depth_max 10 m, as the plugin computes them
    metres = np.linspace(0.3, 5.0, 24).reshape(4, 6)
    inverse = np.round(a / metres + b).astype(np.uint16)
    inverse[0, 0] = 0  # no measurement
    with recorder() as r:
        color(r, 1.0)
        r.packed(f"{DEPTH}/compressedDepth", 1.0, packed_depth(MILLIMETRES), "16UC1; compressedDepth")
        color(r, 2.0)
        r.packed(f"{DEPTH}/compressedDepth", 2.0, packed_depth(MILLIMETRES), "16UC1; compressedDepth png")
        color(r, 3.0)
        r.packed(f"{DEPTH}/compressedDepth", 3.0, packed_depth(inverse, a, b), "32FC1; compressedDepth png")
        # `ros2 bag record --all` takes such a topic of the colour image along.
        r.packed(f"{COLOR}/compressedDepth", 1.0, b"", "bgr8; compressedDepth")
    old, new, floats = open_typed(typed)
    for frame in (old, new):  # as from a raw topic
        raw = ros_images.depth_from(ImageOf(MILLIMETRES, "16UC1"))
        np.testing.assert_array_equal(frame.depth, raw)
    assert floats.depth[0, 0] == 0
    assert (np.abs(floats.depth - metres) <= metres**2 / a + 1e-6).ravel()[1:].all()


class ImageOf:
    """A sensor_msgs/Image of an array."""

    is_bigendian = 0

    def __init__(self, array, encoding, size=None):
        self.height, self.width = size or array.shape[:2]
        self.encoding, self.data = encoding, np.ascontiguousarray(array).view(np.uint8).ravel()
        self.step = array.strides[0]


class PackedOf:
    def __init__(self, data, name):
        self.data, self.format = np.frombuffer(data, np.uint8), name


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"\0" * 12 + b"rvl data", "16UC1; compressedDepth rvl", "'16UC1; compressedDepth rvl' is not known"),
        (b"\0" * 12 + b"no png at all", "16UC1; compressedDepth", "holds no PNG"),
        (b"\0" * 5, "16UC1; compressedDepth", "truncated"),
        (packed_depth(MILLIMETRES)[:-40], "16UC1; compressedDepth png", "cannot be decoded"),
        (packed_depth(MILLIMETRES.astype(np.uint8)), "16UC1; compressedDepth png", "16 bits is needed"),
        (b"\xff\xd8\xff", "16UC1; jpeg compressed bgr8", "loses what was measured"),
        (packed_depth(MILLIMETRES), "bgr8; compressedDepth", "not known"),
    ],
)
def test_other_payloads_are_refused_by_name(data, name, words):
    with pytest.raises(InputError, match=words):
        ros_images.depth_from(PackedOf(data, name))


@recording("a bag with depth of another camera frame")
def test_depth_of_another_camera(typed, open_typed, recorder, caplog):
    """The depth camera sits 0.1 m to the left and sees a wall 2 m ahead, and half of it 1 m ahead."""
    depth = np.full((40, 60), 2.0, np.float32)
    depth[:, 30:] = 1.0
    with recorder() as r:
        r.image(COLOR, 1.0, np.zeros((40, 60, 3), np.uint8), "rgb8", "color")
        r.info("/camera/color/camera_info", 1.0, k=(50, 0, 29.5, 0, 50, 19.5, 0, 0, 1), size=(60, 40))
        r.image("/camera/depth/image_rect_raw", 1.0, depth, "32FC1", "depth")
        r.info("/camera/depth/camera_info", 1.0, k=(50, 0, 29.5, 0, 50, 19.5, 0, 0, 1), size=(60, 40))
        r.tf("/tf_static", 0.0, "color", "depth", (-0.1, 0, 0))
        r.pose("/pose", 1.0, (0, 0, 0))
    seen = open_typed(typed)[0].depth
    # 0.1 m at 2 m are 2.5 pixels to the left, at 1 m 5 pixels; the nearer one covers the farther.
    assert (seen[:, 25:55] == 1.0).all() and (seen[:, :25] == 2.0).all() and not seen[:, 56:].any()
    assert "is moved to 'color' by tf" in caplog.text


def test_depth_of_another_camera_without_tf_is_refused(recorder, tmp_path):
    with recorder() as r:
        color(r, 1.0)
        r.image("/camera/depth/image_rect_raw", 1.0, MILLIMETRES, "16UC1", "depth")
        r.image("/other/aligned_depth/image", 1.0, MILLIMETRES, "16UC1")
    open_dataset(tmp_path / "recorded")  # takes the aligned one by itself
    from instascene_core.datasets import BagTopics

    with pytest.raises(InputError, match=r"'depth', the images are of 'camera'.*topics.depth=/other/aligned"):
        open_dataset(tmp_path / "recorded", topics=BagTopics(depth="/camera/depth/image_rect_raw"))


def test_registration_respects_resolution_and_distortion():
    """A plane seen by a coarse depth camera covers a distorted colour image without holes."""
    color_lens = LensModel(PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0), "plumb_bob", (-0.2, 0.05, 0, 0))
    coefficients = (0.1, 0.05, 0.002, -0.001, 0.0, 0.05, 0.0, 0.0)
    depth_lens = LensModel(PinholeCamera(40, 30, 25.0, 25.0, 20.0, 15.0), "rational_polynomial", coefficients)
    moved = np.eye(4)
    moved[:3, 3] = [0.02, 0.0, 0.1]
    seen = DepthCamera(depth_lens).seen_from(np.full((30, 40), 1.5, np.float32), color_lens, moved)
    undistorted = color_lens.undistort(seen, interpolate=False)
    np.testing.assert_allclose(undistorted[8:40, 10:54], 1.6, atol=1e-5)


@recording("a bag with aligned depth of another frame_id")
def test_depth_said_to_be_registered(typed, open_typed, recorder):
    with recorder() as r:
        color(r, 1.0)
        r.image("/depth", 1.0, MILLIMETRES, "16UC1", "another_name")
    np.testing.assert_allclose(open_typed(typed)[0].depth, MILLIMETRES / 1000, atol=1e-6)


@recording("a bag with depth in other steps than millimetres")
def test_depth_unit_of_a_topic(typed, open_typed, recorder):
    with recorder() as r:
        color(r, 1.0)
        r.image(DEPTH, 1.0, MILLIMETRES, "16UC1")
    np.testing.assert_allclose(open_typed(typed)[0].depth, MILLIMETRES * 0.00025, atol=1e-6)


# ── images ────────────────────────────────────────────────────────────────────────────────────────


@recording("a bag with rectified images (`image_rect`, `image_rect_color`)")
def test_rectified_images(typed, open_typed, recorder, caplog):
    with recorder() as r:
        raw = {"k": (6, 0, 3, 0, 6, 2, 0, 0, 1), "d": (-0.3, 0.1, 0, 0, 0)}
        p = (5, 0, 2.7, 0, 0, 5.5, 1.4, 0, 0, 0, 1, 0)
        color(r, 1.0, "/camera/color/image_rect_color", **raw, p=p)
    frame = open_typed(typed)[0]
    assert frame.camera == CAMERA and frame.valid is None
    np.testing.assert_array_equal(frame.rgb, RGB)
    assert caplog.text.count("is rectified by its name") == 1


def test_rectified_without_p(recorder, tmp_path):
    """Drivers without distortion leave P empty: K holds; with distortion, nobody knows."""
    with recorder() as r:
        color(r, 1.0, "/camera/color/image_rect_raw", k=K)
    assert open_dataset(tmp_path / "recorded")[0].camera == CAMERA
    with Recorder(tmp_path / "distorted") as r:
        color(r, 1.0, "/camera/color/image_rect", d=(-0.3, 0, 0, 0, 0))
    with pytest.raises(InputError, match="P is zero"):
        open_dataset(tmp_path / "distorted")


def yuv_of(rgb):
    """Full-size Y, U, V planes of video range, independent of OpenCV's conversions (BT.601)."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return [np.round(plane).astype(np.uint8) for plane in (y, u, v)]


def blocks_of_color():
    """[8, 12, 3] uint8 of even blocks, so that halved colour planes lose nothing."""
    return np.kron(np.random.default_rng(3).integers(30, 220, (4, 6, 3)), np.ones((2, 2, 1))).astype(np.uint8)


def encoded(rgb, encoding):
    """The values of an image message, [rows, bytes]."""
    y, u, v = yuv_of(rgb)
    if encoding.startswith("bayer"):
        sites = {"r": 0, "g": 1, "b": 2}
        result = np.zeros(rgb.shape[:2], np.uint8)
        for i, channel in enumerate(encoding.removeprefix("bayer_")[:4]):
            result[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, sites[channel]]
        return result.astype(np.uint16) * 257 if encoding.endswith("16") else result
    if encoding in ("rgb16", "bgr16"):
        return (rgb if encoding == "rgb16" else rgb[..., ::-1]).astype(np.uint16) * 257
    if encoding == "8UC3":
        return rgb[..., ::-1]
    small = {"u": u[::2, ::2], "v": v[::2, ::2]}
    if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        first = encoding in ("yuv422", "uyvy")
        row = np.zeros((*y.shape, 2), np.uint8)
        row[..., 1 if first else 0] = y
        row[:, 0::2, 0 if first else 1], row[:, 1::2, 0 if first else 1] = u[:, ::2], v[:, ::2]
        return row
    if encoding == "i420":
        return np.concatenate([y, small["u"].reshape(-1, y.shape[1]), small["v"].reshape(-1, y.shape[1])])
    if encoding == "nv24":
        return np.concatenate([y, np.dstack([u, v]).reshape(2 * len(y), -1)])
    pair = [small["u"], small["v"]] if encoding == "nv12" else [small["v"], small["u"]]
    return np.concatenate([y, np.dstack(pair).reshape(len(y) // 2, -1)])


ENCODINGS = (
    *(f"bayer_{p}{bits}" for p in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)),
    *("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "nv24", "i420", "rgb16", "bgr16", "8UC3"),
)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_colour_encoding(encoding):
    # A Bayer pattern loses detail: one colour all over there.
    rgb = np.full((8, 12, 3), (200, 90, 40), np.uint8) if "bayer" in encoding else blocks_of_color()
    decoded = ros_images.rgb_from(ImageOf(encoded(rgb, encoding), encoding, rgb.shape[:2]))
    assert decoded.shape == rgb.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - rgb).max() <= 4


def test_colour_encodings_of_odd_sizes_are_refused():
    for encoding in ("yuv422", "nv12"):
        with pytest.raises(InputError, match="even"):
            ros_images.rgb_from(ImageOf(np.zeros((6, 10), np.uint8), encoding, (4, 5)))


@recording("a bag with Bayer or YUV images")
def test_a_bag_of_bayer_images(typed, open_typed, recorder):
    with recorder() as r:
        r.image("/camera/image_raw", 1.0, np.full((4, 6), 90, np.uint8), "bayer_rggb8")
        r.info("/camera/camera_info", 1.0)
        r.pose("/pose", 1.0, (0, 0, 0))
    assert (open_typed(typed)[0].rgb == 90).all()


@recording("a bag with `valid/image` (mono8, black = ignore)")
def test_a_topic_of_pixels_to_ignore(typed, open_typed, recorder, tmp_path):
    with recorder() as r:
        color(r, 1.0)
        r.image(DEPTH, 1.0, MILLIMETRES + np.uint16(100), "16UC1")
        kept = np.full((4, 6), 255, np.uint8)
        kept[:, 3:] = 0
        r.image("/valid/image", 1.0, kept, "mono8")
    frame = open_typed(typed)[0]
    assert frame.valid[:, :3].all() and not frame.valid[:, 3:].any() and not frame.depth[:, 3:].any()
    write_bag([frame], tmp_path / "again")  # and it is written as it is read
    np.testing.assert_array_equal(open_dataset(tmp_path / "again")[0].valid, frame.valid)


# ── stamps and poses ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stamp", [0.0, 77.0])
@recording("a bag whose stamps are zero or constant")
def test_useless_stamps(typed, open_typed, recorder, caplog, stamp):
    with recorder() as r:
        r.stamp_of = lambda at: stamp
        for at in (101.0, 102.0, 103.0):
            color(r, at)
            r.image(DEPTH, at + 0.01, MILLIMETRES + np.uint16(at), "16UC1")
    frames = list(open_typed(typed))
    assert [f.stamp for f in frames] == [101.0, 102.0, 103.0]
    assert [f.world_from_camera[0, 3] for f in frames] == [101.0, 102.0, 103.0]
    assert [round(f.depth[0, 0] * 1000) for f in frames] == [101, 102, 103]
    assert caplog.text.count("the times at which the bag was recorded") == 1


@recording("a bag with poses at another rate")
def test_poses_at_another_rate(typed, open_typed, recorder):
    with recorder() as r:
        for at in (1.0, 1.25, 1.9, 3.0):
            r.image(COLOR, at, RGB, "rgb8")
        r.info("/camera/color/camera_info", 1.0)
        for at in (0.9, 1.2, 1.4, 3.5):  # then none for 2.1 s
            r.pose("/pose", at, (at, 0, 0))
    dataset = open_typed(typed)
    np.testing.assert_allclose(dataset.poses[:, 0, 3], [1.0, 1.25], atol=1e-9)
    assert dataset.dropped == {"images without a pose at their stamp": 2}


@recording("a bag with odometry of the base")
def test_odometry(typed, open_typed, recorder):
    with recorder() as r:
        r.tf("/tf_static", 0.0, "base", "camera", (0, 0, 0.5))
        r.image(COLOR, 1.0, RGB, "rgb8")
        r.info("/camera/color/camera_info", 1.0)
        r.odometry("/odom", 1.0, (3, 0, 0))
    np.testing.assert_allclose(open_typed(typed).poses[0][:3, 3], [3, 0, 0.5])


@recording("a bag with poses in tf only")
def test_tf(typed, open_typed, recorder):
    with recorder() as r:
        for at in (0.9, 1.1):
            r.tf("/tf", at, "odom", "camera", (at, 0, 0))
        r.image(COLOR, 1.0, RGB, "rgb8")
        r.info("/camera/color/camera_info", 1.0)
    np.testing.assert_allclose(open_typed(typed).poses[0][:3, 3], [1, 0, 0])
