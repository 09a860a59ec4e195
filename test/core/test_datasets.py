"""What every format has in common: Dataset, undistorting and resizing frames, image files, options."""

from pathlib import Path

import numpy as np
import pytest
from dataset_folders import W, write_scene
from PIL import Image

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets import RawFrame, is_recording, make_frame, open_dataset
from instascene_core.datasets.dataset import evenly
from instascene_core.datasets.images import read_depth, read_labels, read_rgb
from instascene_core.datasets.nerfstudio import unique_names
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.images import resize
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset


def test_distorted_images_are_undistorted_and_outside_pixels_marked(tmp_path):
    """Pincushion (k1 > 0): the pinhole image reaches beyond the source at its corners."""
    width, height, f, k1 = 101, 81, 60.0, 0.6
    lens = LensModel(PinholeCamera(width, height, f, f, 50.5, 40.5), "plumb_bob", (k1, 0.0, 0.0, 0.0))
    rgb = np.zeros((height, width, 3), np.uint8)
    depth, labels = np.zeros((height, width), np.float32), np.zeros((height, width), np.int32)
    # Pinhole pixel (70, 40) has x = 20/60; it is seen at x·(1 + k1·x²) = 0.3556, pixel 71.33.
    rgb[40, 71], rgb[40, 72] = 90, 180
    depth[40, 71], labels[40, 71] = 2.0, 9
    frame = make_frame(RawFrame("a", 0.0, lens, np.eye(4), rgb, depth, labels))
    assert frame.rgb[40, 70, 0] == pytest.approx(90 * 0.667 + 180 * 0.333, abs=4)
    assert frame.depth[40, 70] == 2.0 and frame.labels[40, 70] == 9  # nearest, not mixed
    assert set(np.unique(frame.depth)) == {0.0, 2.0}
    assert not frame.valid[0, 0] and frame.valid[40, 50] and frame.labels[0, 0] == UNLABELLED


def test_scale_and_max_width(tmp_path):
    dataset = open_dataset(write_scene(tmp_path), scale=0.5, use_masks=True)
    frame = dataset[0]
    assert frame.rgb.shape == (3, 4, 3) and frame.depth.shape == (3, 4)
    assert frame.camera == PinholeCamera(4, 3, 5.0, 5.5, 2.25, 1.25)
    assert (frame.labels[:, :2] == UNLABELLED).all() and (frame.labels[:, 2:] == 300).all()
    assert open_dataset(tmp_path, max_width=4)[0].camera.width == 4
    assert open_dataset(tmp_path, max_width=100)[0].camera.width == W


def test_max_frames(tmp_path):
    write_scene(tmp_path, frames=5)
    assert open_dataset(tmp_path, max_frames=3).names == ("0", "2", "4")


def test_frames_are_read_when_asked_for(tmp_path):
    """A bad second image does not hurt the first."""
    write_scene(tmp_path)
    dataset = open_dataset(tmp_path, use_masks=True)
    (tmp_path / "rgb/1.png").write_bytes(b"broken")
    frames = iter(dataset)
    assert next(frames).name == "0"
    with pytest.raises(InputError, match="not an image"):
        next(frames)


def test_synthetic_scene_and_reader_agree(tmp_path):
    config = SyntheticConfig(seed=2, num_objects=2, num_views=3, width=64, height=48)
    scene = generate_scene(config)
    write_dataset(scene, tmp_path)
    dataset = open_dataset(tmp_path, use_masks=True)
    assert dataset.ground_truth == tmp_path / "ground_truth"
    for index, frame in enumerate(dataset):
        true = scene.frame(index)
        assert frame.camera == true.camera and frame.name == true.name
        assert frame.stamp == pytest.approx(true.stamp)
        np.testing.assert_allclose(frame.world_from_camera, true.world_from_camera, atol=1e-12)
        np.testing.assert_array_equal(frame.rgb, true.rgb)
        np.testing.assert_array_equal(frame.labels, true.labels)
        np.testing.assert_allclose(frame.depth, true.depth, atol=6e-5)


def test_depth_and_labels_of_another_size_are_refused(tmp_path):
    write_scene(tmp_path)
    Image.fromarray(np.zeros((6, 4), np.uint16)).save(tmp_path / "depth/0.png")  # another shape: cropped
    with pytest.raises(InputError, match=r"depth of '0' is 4×6.*register"):
        open_dataset(tmp_path, use_masks=True)[0]
    with pytest.raises(InputError, match="label image"):
        Image.fromarray(np.zeros((3, 4), np.uint16)).save(tmp_path / "masks/0.png")
        open_dataset(tmp_path, use_depth=False, use_masks=True)[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("transforms.json",), True),
        (("sparse/0/cameras.txt", "sparse/0/images.txt"), True),
        (("metadata.yaml",), True),  # a rosbag2
        (("rgb.txt", "groundtruth.txt"), True),  # TUM
        (("metadata", "rgbd/0.jpg"), True),  # a format that is known, and refused when it is opened
        (("images/a.jpg",), False),
        ((), False),
    ],
)
def test_what_would_be_read_is_told_by_names_alone(tmp_path, files, expected):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert is_recording(tmp_path) is expected


def test_no_dataset_at_all(tmp_path):
    with pytest.raises(InputError, match="nothing at"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no poses"):
        open_dataset(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="no poses"):
        open_dataset(tmp_path / "notes.txt")


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"scale": 99.0}, {"max_width": -1}, {"max_frames": -1}])
def test_bad_options(tmp_path, options):
    with pytest.raises(InputError, match="scale"):
        open_dataset(write_scene(tmp_path), **options)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_images_are_one_sentence(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="truncated"):
        read_rgb(file)


def test_an_empty_file_is_not_an_image(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="not an image"):
        read_rgb(tmp_path / "a.png")


def test_sixteen_bit_colour_and_colour_labels_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match="8-bit"):
        read_rgb(tmp_path / "deep.png")
    with pytest.raises(InputError, match="integer channel"):
        read_labels(tmp_path / "colour.png")
    with pytest.raises(InputError, match="one channel"):
        read_depth(tmp_path / "colour.png", 0.001)


def test_depth_of_8_bits_is_said_to_be_coarse(tmp_path):
    remarks = Remarks()
    for i in range(2):
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / f"{i}.png")
        np.testing.assert_allclose(read_depth(tmp_path / f"{i}.png", 0.01, remarks), 0.07)
    (said,) = remarks.sentences
    assert "8 bits, 255 steps of 0.01 m" in said
    Image.fromarray(np.full((4, 4), 7, np.uint16)).save(tmp_path / "deep.png")
    read_depth(tmp_path / "deep.png", 0.01, remarks)
    assert remarks.sentences == (said,)


def test_images_that_keep_looks_instead_of_values_are_refused(tmp_path):
    grey = Image.fromarray(np.full((4, 4), 7, np.uint8))
    grey.save(tmp_path / "lossy.jpg")
    grey.convert("P").save(tmp_path / "palette.png")
    for read in (lambda path: read_depth(path, 0.01), read_labels):
        with pytest.raises(InputError, match="JPEG file, which changes values"):
            read(tmp_path / "lossy.jpg")
    with pytest.raises(InputError, match="palette"):
        read_depth(tmp_path / "palette.png", 0.01)
    assert (read_labels(tmp_path / "palette.png") == 7).all()  # places in a palette are ids


def test_depth_from_npy_without_bad_values(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan], [np.inf, -2.0]]))
    np.testing.assert_array_equal(read_depth(tmp_path / "a.npy", 2.0), [[2.0, 0.0], [0.0, 0.0]])
    (tmp_path / "b.npy").write_bytes(b"no")
    with pytest.raises(InputError, match="npy"):
        read_depth(tmp_path / "b.npy", 1.0)
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object))  # a pickle: never loaded
    with pytest.raises(InputError, match="npy"):
        read_depth(tmp_path / "c.npy", 1.0)


def test_evenly():
    assert evenly(5, 0) == (0, 1, 2, 3, 4) == evenly(5, 9)
    assert evenly(5, 1) == (2,) and evenly(5, 2) == (0, 4)


def test_resize_takes_pixel_centres_or_means():
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(resize(image, 2, 2, smooth=False), [[5, 7], [13, 15]])
    np.testing.assert_allclose(resize(image, 2, 2, smooth=True), [[2.5, 4.5], [10.5, 12.5]])


def test_unique_names_use_folders_where_stems_repeat():
    assert unique_names([Path("a/0.png"), Path("b/1.png")]) == ("0", "1")
    assert unique_names([Path("a/0.png"), Path("b/0.png")]) == ("a_0", "b_0")


@pytest.mark.parametrize(
    ("name", "frames", "size", "options"),
    [
        ("fox", 50, (540, 960), {}),
        ("apc_shelf", 15, (640, 480), {"masks": "masks_noisy"}),
        ("redkitchen", 100, (640, 480), {}),
    ],
)
def test_real_data_opens(shared_data, name, frames, size, options):
    dataset = open_dataset(shared_data(name), **options)
    assert len(dataset) == frames
    frame = dataset[frames // 2]
    assert (frame.camera.width, frame.camera.height) == size
    assert frame.rgb.std() > 10
    if name == "fox":
        assert frame.valid is not None and 0.95 < frame.valid.mean() < 1 and frame.depth is None
    else:
        assert 0.2 < np.median(frame.depth[frame.depth > 0]) < 4
    if options:
        assert set(np.unique(frame.labels)) <= {UNLABELLED, 1, 2, 3, 4} and (frame.labels > 0).any()
