"""Every row of the table in docs/recordings.md: the command, executed on such a recording.

Folders here; bags in test_recordings_bags.py; live topics in test/ros.
"""

import numpy as np
import pytest
from dataset_folders import H, W, edit, halve, write_scene
from PIL import Image
from recordings_table import opened, recording, rows, rows_with_tests

from instascene_core.datasets.exr import read_exr
from instascene_core.errors import DamagedImage, InputError
from instascene_core.frame import UNLABELLED


@pytest.fixture
def open_typed(tmp_path, monkeypatch):
    """Opens what the command of a row says; the recording is tmp_path/recorded."""
    return lambda typed: opened(typed, tmp_path / "recorded", monkeypatch)


@pytest.fixture
def folder(tmp_path):
    """A transforms.json folder of two frames, tmp_path/recorded."""
    return write_scene(tmp_path / "recorded")


def test_every_row_of_the_table_has_a_test():
    assert len(rows()) > 30
    assert set(rows()) - rows_with_tests() == set()
    assert rows_with_tests() - set(rows()) == set(), "tests of rows that are no longer there"


@recording("a folder with `transforms.json` (nerfstudio, instant-ngp), RGB-D")
def test_a_folder(typed, open_typed, folder):
    first, second = open_typed(typed)
    assert (first.rgb == 5).all() and second.depth[0, 0] == pytest.approx(1.501)
    assert first.labels is None and first.valid is None


@recording("the same without depth, or depth that is not to be used")
def test_without_depth(typed, open_typed, folder):
    assert not open_typed(typed).has_depth


@recording("the same with your own label images in a folder")
def test_own_labels(typed, open_typed, folder):
    (folder / "masks").rename(folder / "labels")
    edit(folder, lambda m: [f.pop("label_file_path") for f in m["frames"]])
    assert open_typed(typed)[0].labels.max() == 300


# ── depth ─────────────────────────────────────────────────────────────────────────────────────────


def write_slope(folder, step):
    """Two planes with an edge at x = 32 in an image of 64 × 48, their depth measured every `step` pixels."""
    write_scene(folder, frames=1, w=64, h=48, fl_x=60.0, fl_y=60.0, cx=32.0, cy=24.0)
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    depth = np.where(x < 32, 1 / (0.8 + 0.004 * x), 1 / (1.4 - 0.003 * y))  # planes: linear in 1 / z
    rgb = np.where(x[..., None] < 32, [200, 40, 40], [30, 60, 180]).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "rgb/0.png")
    edit(folder, lambda m: [f.pop("label_file_path") for f in m["frames"]])
    edit(folder, lambda m: m.update(depth_unit_scale_factor=1.0))
    half = step // 2
    low = depth[half::step, half::step] + depth[half - 1 :: step, half - 1 :: step]  # at the blocks' centres
    np.save(folder / "depth/0.npy", (low / 2).astype(np.float32))
    edit(folder, lambda m: m["frames"][0].update(depth_file_path="depth/0.npy"))
    return depth


@recording("depth at a lower resolution than the colour (phones with LiDAR)")
def test_depth_of_lower_resolution(typed, open_typed, tmp_path, caplog):
    depth = write_slope(tmp_path / "recorded", 4)
    dataset = open_typed(typed)
    (frame,) = dataset
    assert np.abs(frame.depth - depth).max() < 2e-3  # the two sides of the edge are 30 cm apart
    assert caplog.text.count("the depth is 16×12, the colour 64×48") == 1


@pytest.mark.parametrize(
    ("first", "noise", "expected"), [(0, 0.0, -1.5), (2, 0.0, 0.5), (2, 0.01, 0.0)], ids=str
)
def test_where_depth_was_sampled_is_found_from_the_views(first, noise, expected):
    """A ball on a table seen from around; every fourth pixel is kept, from the first or from the third on.

    With noise that hides it the middle is taken.
    """
    from instascene_core.camera import LensModel, PinholeCamera
    from instascene_core.datasets.sampling import LowDepth, sampling_shift
    from instascene_core.transforms import look_at

    lens, rng = LensModel(PinholeCamera(320, 240, 300.0, 300.0, 160.0, 120.0)), np.random.default_rng(1)
    views = []
    for angle in np.radians([0, 25, 50, 75]):
        pose = look_at(np.array([0.8 * np.cos(angle), 0.8 * np.sin(angle), 0.5]), np.zeros(3))
        rays, eye = lens.camera.rays @ pose[:3, :3].T, pose[:3, 3]
        table = -eye[2] / np.minimum(rays[..., 2], -1e-3)
        a, b = (rays**2).sum(-1), rays @ eye
        root = b**2 - a * (eye @ eye - 0.25**2)
        ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        depth = np.where(table < 5, np.minimum(table, ball), 0)[first::4, first::4]
        depth = depth * (1 + noise * rng.normal(size=depth.shape))
        views.append(LowDepth(depth.astype(np.float32), lens, pose))
    assert sampling_shift(views) == expected
    assert sampling_shift(views[:1]) == 0


def write_exr(path, values, compression):
    """An EXR of one float channel Z, written byte by byte, independent of the code under test."""
    import struct
    import zlib

    height, width = values.shape

    def attribute(name, kind, data):
        return name + b"\0" + kind + b"\0" + struct.pack("<i", len(data)) + data

    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channel = b"Z\0" + struct.pack("<iIii", 2, 0, 1, 1) + b"\0"
    header = b"\x76\x2f\x31\x01" + struct.pack("<I", 2)
    header += attribute(b"channels", b"chlist", channel)
    header += attribute(b"compression", b"compression", bytes([compression]))
    header += attribute(b"dataWindow", b"box2i", window) + b"\0"
    lines = {0: 1, 3: 16}[compression]
    blocks, offsets = b"", []
    start = len(header) + 8 * -(-height // lines)
    for y in range(0, height, lines):
        data = np.frombuffer(values[y : y + lines].astype("<f4").tobytes(), np.uint8)
        if compression == 3:
            data = np.concatenate([data[0::2], data[1::2]]).astype(int)
            data[1:] = (np.diff(data) + 128) % 256
            data = zlib.compress(data.astype(np.uint8).tobytes())
        offsets.append(start + len(blocks))
        blocks += struct.pack("<ii", y, len(bytes(data))) + bytes(data)
    path.write_bytes(header + struct.pack(f"<{len(offsets)}Q", *offsets) + blocks)


@recording("depth as PNG, TIFF, EXR or npy")
def test_kinds_of_depth_files(typed, open_typed, tmp_path):
    folder = write_scene(tmp_path / "recorded", frames=7, depth_unit_scale_factor=1.0)
    depth = np.linspace(0.5, 2.0, W * H, dtype=np.float32).reshape(H, W)
    Image.fromarray(depth).save(folder / "depth/0.TIFF")
    Image.fromarray((depth * 1000).astype(np.uint16)).save(folder / "depth/1.tif")
    np.save(folder / "depth/2.npy", depth)
    np.savez_compressed(folder / "depth/3.npz", depth=depth.astype(np.float16))
    write_exr(folder / "depth/4.exr", np.repeat(depth, 4, axis=0)[::4], 0)
    write_exr(folder / "depth/5.EXR", depth, 3)
    Image.fromarray((depth * 1000).astype(np.uint16)).save(folder / "depth/6.png")
    suffixes = ("TIFF", "tif", "npy", "npz", "exr", "EXR", "png")

    def name(meta):
        for i, (entry, suffix) in enumerate(zip(meta["frames"], suffixes)):
            entry["depth_file_path"] = f"depth/{i}.{suffix}"
            if suffix in ("tif", "png"):
                entry["depth_unit_scale_factor"] = 0.001

    edit(folder, name)
    for frame in open_typed(typed):
        np.testing.assert_allclose(frame.depth, depth, atol=1.1e-3)


def test_exr_of_several_blocks_and_what_is_refused(tmp_path):
    values = np.random.default_rng(0).uniform(0, 9, (35, 5)).astype(np.float32)
    for compression in (0, 3):
        write_exr(tmp_path / "a.exr", values, compression)
        np.testing.assert_array_equal(read_exr(tmp_path / "a.exr"), values)
    whole = (tmp_path / "a.exr").read_bytes()
    for cut in (3, 40, len(whole) // 2, len(whole) - 3):
        (tmp_path / "a.exr").write_bytes(whole[:cut])
        with pytest.raises(InputError, match="truncated or corrupt"):
            read_exr(tmp_path / "a.exr")
    at = whole.index(b"compression\0compression\0") + 24 + 4
    (tmp_path / "a.exr").write_bytes(whole[:at] + bytes([4]) + whole[at + 1 :])
    with pytest.raises(InputError, match="compression PIZ"):
        read_exr(tmp_path / "a.exr")


@recording("depth in other steps than millimetres")
def test_depth_unit(typed, open_typed, tmp_path):
    folder = write_scene(tmp_path / "recorded", depth_unit_scale_factor=0.0001)
    edit(folder, lambda m: m["frames"][1].update(depth_unit_scale_factor=0.002))
    first, second = open_typed(typed)
    assert (first.depth[0, 0], second.depth[0, 0]) == (pytest.approx(0.15), pytest.approx(3.002))


@recording("depth with values that no sensor measured")
def test_insane_depth(typed, open_typed, folder, caplog):
    depth = np.full((H, W), 1.5, np.float32)
    depth[0, :5] = [1e7, np.inf, -1.0, np.nan, 0.0]  # the last two are sensors' usual marks for none
    np.save(folder / "depth/0.npy", depth)
    edit(folder, lambda m: m["frames"][0].update(depth_file_path="depth/0.npy", depth_unit_scale_factor=1.0))
    dataset = open_typed(typed)
    first, _ = dataset
    assert not first.depth[0, :5].any() and (first.depth[1:] == 1.5).all()
    assert list(dataset.remarks.counts.values()) == [3] and "ignored: 3 depth values" in caplog.text


# ── images ────────────────────────────────────────────────────────────────────────────────────────


@recording("images with an EXIF orientation")
def test_exif_orientation(typed, open_typed, folder):
    upright = np.arange(W * H * 3, dtype=np.uint8).reshape(H, W, 3)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown after a quarter turn clockwise
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    stored.save(folder / "rgb/0.png", exif=turned)
    Image.fromarray(upright).save(folder / "rgb/1.png", exif=turned)  # calibrated as it is stored
    for frame in open_typed(typed):
        np.testing.assert_array_equal(frame.rgb, upright)


@recording("a recording of which some images are damaged")
def test_damaged_images(typed, open_typed, tmp_path, caplog):
    folder = write_scene(tmp_path / "recorded", frames=10)
    halve(folder / "rgb/2.png")
    halve(folder / "depth/5.png")
    dataset = open_typed(typed)
    assert [frame.name for frame in dataset] == ["0", "1", "3", "4", "6", "7", "8", "9"]
    assert any("rgb/2.png cannot" in line and "the frame is left out" in line for line in caplog.messages)
    assert dataset.remarks.counts == {"frames with a damaged image": 2}
    told = dataset.reading_metrics["damaged_frames"]
    assert told["count"] == 2 and [frame["name"] for frame in told["frames"]] == ["2", "5"]
    assert "depth/5.png cannot be decoded" in told["frames"][1]["reason"]
    halve(folder / "depth/9.png")
    with pytest.raises(DamagedImage, match=r"depth/9\.png cannot be decoded"):
        list(open_typed(typed))


@recording("a list of which some images are missing")
def test_missing_images(typed, open_typed, tmp_path, caplog):
    folder = write_scene(tmp_path / "recorded", frames=6)
    (folder / "rgb/2.png").unlink()
    (folder / "depth/4.png").unlink()
    dataset = open_typed(typed)
    assert dataset.names == ("0", "1", "3", "4", "5") and dataset.dropped == {"missing images": 1}
    assert [frame.depth is None for frame in dataset] == [False, False, False, True, False]
    assert "1 of 6 images are missing" in caplog.text and "1 of 5 depth images are missing" in caplog.text
    (folder / "rgb/3.png").unlink()
    with pytest.raises(SystemExit):  # two of six: another recording than the list is of
        open_typed(typed)


@recording("images at another scale than their intrinsics")
def test_images_at_another_scale(typed, open_typed, tmp_path, caplog):
    folder = write_scene(tmp_path / "recorded", w=2 * W, h=2 * H, fl_x=20.0, k1=0.1, camera_model="OPENCV")
    dataset = open_typed(typed)
    first, _ = dataset
    assert (first.camera.width, first.camera.fx, first.camera.cx) == (W, 10.0, 2.25)
    lens = dataset.reader.read(0).lens
    assert lens.coefficients[0] == 0.1 and lens is dataset.reader.read(1).lens  # one undistortion for all
    assert caplog.text.count("scaled to the images") == 1
    edit(folder, lambda m: m.update(w=W + 4))
    with pytest.raises(InputError, match="the camera says"):
        open_typed(typed)[0]


@recording("several cameras in one list")
def test_several_cameras(typed, open_typed, folder):
    Image.fromarray(np.full((2 * H, 2 * W, 3), 9, np.uint8)).save(folder / "rgb/1.png")
    other = {"w": 2 * W, "h": 2 * H, "fl_x": 15.0, "camera_model": "OPENCV_FISHEYE", "k1": 0.1}
    edit(folder, lambda m: m["frames"][1].update(other))
    edit(folder, lambda m: [m["frames"][1].pop(k) for k in ("depth_file_path", "label_file_path")])
    first, second = open_typed(typed)
    assert (first.camera.width, first.camera.fx, first.valid) == (W, 10.0, None)
    assert (second.camera.width, second.camera.fx) == (2 * W, 15.0)


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
@recording("lens distortion: 4, 5, 8, 12 or 14 coefficients, or fisheye")
def test_numbers_of_coefficients(typed, count):
    """A pixel of the pinhole image shows what OpenCV's own projection says."""
    import cv2

    from instascene_core.camera import LensModel, PinholeCamera

    values = np.array([-0.2, 0.05, 0.01, -0.008, 0.02, 0.1, 0.03, 0.01, 0.02, 0.01, -0.01, 0.02, 0.05, -0.04])
    lens = LensModel(PinholeCamera(101, 81, 60.0, 60.0, 50.5, 40.5), "plumb_bob", tuple(values[:count]))
    columns, rows_ = np.meshgrid(np.arange(101, dtype=np.float32), np.arange(81, dtype=np.float32))
    shown = lens.undistort(np.dstack([columns, rows_]))[20, 70]  # where in the source this pixel is
    point = np.array([[[(70 - 50) / 60, (20 - 40) / 60, 1.0]]])
    k = np.array([[60.0, 0, 50], [0, 60.0, 40], [0, 0, 1]])
    seen = cv2.projectPoints(point, np.zeros(3), np.zeros(3), k, values[:count])[0].ravel()
    np.testing.assert_allclose(shown, seen, atol=0.04)


@recording("lens distortion: 4, 5, 8, 12 or 14 coefficients, or fisheye")
def test_fisheye_and_its_valid_area(typed, open_typed, tmp_path):
    meta = {"camera_model": "OPENCV_FISHEYE", "fl_x": 3.0, "fl_y": 3.0, "cx": 4.0, "cy": 3.0}
    write_scene(tmp_path / "recorded", **meta, k1=-0.4)
    frame = open_typed(typed)[0]
    assert frame.valid is not None and frame.valid[3, 4] and not frame.valid[0, 0]
    assert (frame.rgb[frame.valid] == 5).all() and not frame.rgb[~frame.valid].any()
    assert not frame.depth[~frame.valid].any()


@recording("a list written on Windows")
def test_a_list_of_windows(typed, open_typed, folder):
    file = folder / "transforms.json"
    text = file.read_text().replace("rgb/", "rgb\\\\").replace("0.png", "0.PNG")
    file.write_text(text, encoding="utf-8-sig")
    (folder / "rgb/1.png").rename(folder / "rgb/1.PNG")
    assert [frame.rgb[0, 0, 0] for frame in open_typed(typed)] == [5, 15]


# ── things fixed to the camera ────────────────────────────────────────────────────────────────────


def write_gripper(path):
    """Black in the right half."""
    kept = np.zeros((H, W), np.uint8)
    kept[:, : W // 2] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(kept).save(path)


def hides_the_right_half(frame):
    half = W // 2
    assert frame.valid[:, :half].all() and not frame.valid[:, half:].any()
    assert (frame.depth is None) or (frame.depth[:, :half].all() and not frame.depth[:, half:].any())
    assert frame.labels is None or (frame.labels[:, half:] == UNLABELLED).all()
    return True


@recording("something fixed to the camera, with `mask_path` (black = ignore)")
def test_mask_path(typed, open_typed, folder):
    rgb = np.full((H, W, 3), 77, np.uint8)
    rgb[:, W // 2 :] = 255  # the gripper
    Image.fromarray(rgb).save(folder / "rgb/0.png")
    write_gripper(folder / "ignore/0.png")
    edit(folder, lambda m: m["frames"][0].update(mask_path="ignore/0.png"))
    first, second = open_typed(typed)
    assert hides_the_right_half(first) and second.valid is None
    assert (first.rgb == 77).all()  # no segmenter sees a border either
    edit(folder, lambda m: m.update(mask_path="ignore/0.png"))
    assert all(hides_the_right_half(frame) for frame in open_typed(typed))
    edit(folder, lambda m: m["frames"][1].update(mask_path="ignore/1.png"))
    with pytest.raises(SystemExit):
        open_typed(typed)


@recording("something fixed to the camera, in any recording")
def test_one_image_for_all(typed, open_typed, folder):
    write_gripper(folder.parent / "mask.png")
    assert all(hides_the_right_half(frame) for frame in open_typed(typed))
    Image.fromarray(np.ones((2, 2), np.uint8)).save(folder.parent / "mask.png")
    with pytest.raises(InputError, match="pixels to keep"):
        open_typed(typed)[0]


# ── COLMAP ────────────────────────────────────────────────────────────────────────────────────────


def write_colmap(folder, models):
    """Text models below sparse/, name → number of images; images 0.png, 1.png … are shared out in order."""
    (folder / "images").mkdir(parents=True)
    count = 0
    for name, number in models.items():
        model = folder / "sparse" / name
        model.mkdir(parents=True)
        (model / "cameras.txt").write_text(f"1 PINHOLE {W} {H} 10 11 4.5 2.5\n")
        (model / "points3D.txt").write_text("")
        lines = [f"{i + 1} 1 0 0 0 {i} 0 0 1 {i}.png\n\n" for i in range(count, count + number)]
        (model / "images.txt").write_text("".join(lines))
        count += number
    for i in range(count):
        Image.fromarray(np.full((H, W, 3), i, np.uint8)).save(folder / f"images/{i}.png")
    return folder


@recording("a COLMAP model (`sparse/0` with `images/`)")
def test_colmap(typed, open_typed, tmp_path):
    folder = write_colmap(tmp_path / "recorded", {"0": 6})
    (folder / "images/3.png").unlink()
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(folder / "images/extra.png")
    dataset = open_typed(typed)
    assert dataset.names == ("0", "1", "2", "4", "5")
    assert dataset.dropped == {"missing images": 1, "images not registered": 1}


@recording("COLMAP with several sub-models")
def test_sub_models(typed, open_typed, tmp_path, caplog):
    write_colmap(tmp_path / "recorded", {"0": 2, "1": 5, "10": 1})
    dataset = open_typed(typed)
    assert dataset.names == ("2", "3", "4", "5", "6") and dataset.dropped == {"images not registered": 3}
    assert "holds 3 models" in caplog.text and "1 with 5 images is used" in caplog.text


@recording("one of COLMAP's sub-models")
def test_a_named_sub_model(typed, open_typed, tmp_path):
    write_colmap(tmp_path / "recorded", {"0": 2, "1": 5})
    assert open_typed(typed).names == ("0", "1")


@recording("COLMAP with downscaled images only (`images_4`)")
def test_downscaled_images(typed, open_typed, tmp_path):
    folder = write_colmap(tmp_path / "recorded", {"0": 2})
    (folder / "images").rename(folder / "images_4")
    cameras = folder / "sparse/0/cameras.txt"
    cameras.write_text(f"1 PINHOLE {4 * W} {4 * H} 40 44 18 10\n")
    camera = open_typed(typed)[0].camera
    assert (camera.width, camera.fx, camera.cx, camera.cy) == (W, 10.0, 4.5, 2.5)


@recording("COLMAP with `masks/<image>.png` (black = ignore)")
def test_masks_of_colmap(typed, open_typed, tmp_path):
    folder = write_colmap(tmp_path / "recorded", {"0": 2})
    for i in range(2):
        write_gripper(folder / f"masks/{i}.png.png")
    assert all(hides_the_right_half(frame) for frame in open_typed(typed))
    (folder / "masks/1.png.png").unlink()
    with pytest.raises(SystemExit):
        open_typed(typed)
