"""Reader of transforms.json folders."""

import numpy as np
import pytest
from dataset_folders import H, W, edit, write_scene
from PIL import Image

from instascene_core.camera import PinholeCamera
from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED


def test_frames_come_with_pose_depth_and_labels(tmp_path):
    dataset = open_dataset(write_scene(tmp_path), use_masks=True)
    assert (len(dataset), dataset.names, dataset.kind) == (2, ("0", "1"), "transforms.json")
    assert dataset.has_depth and dataset.has_labels and dataset.ground_truth is None
    first, second = dataset
    assert first.camera == PinholeCamera(W, H, 10.0, 11.0, 4.5, 2.5)
    # The OpenGL camera above looks along world +x with z up: OpenCV x = −y world, y = −z, z = +x.
    expected = [[0, 0, 1, 5], [-1, 0, 0, 6], [0, -1, 0, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(first.world_from_camera, expected)
    np.testing.assert_allclose(dataset.poses[1], second.world_from_camera)
    assert (first.rgb == 5).all() and (second.rgb == 15).all()
    np.testing.assert_allclose(second.depth, 1.501, rtol=1e-6)  # default unit: millimetres
    assert (first.labels[:, :4] == UNLABELLED).all() and (first.labels[:, 4:] == 300).all()
    assert first.valid is None and (first.stamp, second.stamp) == (0.0, 1.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_normals_come_along_as_unit_vectors(tmp_path, dtype):
    cv2 = pytest.importorskip("cv2")
    write_scene(tmp_path)
    full = np.iinfo(dtype).max
    image = np.zeros((H, W, 3), dtype)
    image[:, : W // 2] = np.round([0.5 * full, 0.5 * full, 0.0])  # (0, 0, −1): towards the camera
    image[0, 0] = full  # (1, 1, 1) is made a unit vector
    cv2.imwrite(str(tmp_path / "n.png"), image[..., ::-1])
    edit(tmp_path, lambda m: m["frames"][1].update(normal_file_path="n.png"))
    first, second = open_dataset(tmp_path)
    assert first.normals is None and second.normals.dtype == np.float32
    np.testing.assert_allclose(second.normals[2, 1], [0, 0, -1], atol=3 / full)
    np.testing.assert_allclose(second.normals[0, 0], 3**-0.5, atol=1e-6)
    assert not second.normals[:, W // 2 :].any()  # black: unknown
    small = open_dataset(tmp_path, scale=0.5)[1]
    assert small.normals.shape == (H // 2, W // 2, 3)


def test_bad_normals_are_refused(tmp_path):
    write_scene(tmp_path)
    edit(tmp_path, lambda m: m["frames"][0].update(normal_file_path="depth/0.png"))
    with pytest.raises(InputError, match="RGB of 8 or 16 bits"):
        open_dataset(tmp_path)[0]
    (tmp_path / "n.png").write_bytes(b"nothing")
    edit(tmp_path, lambda m: m["frames"][0].update(normal_file_path="n.png"))
    with pytest.raises(InputError, match="not an image"):
        open_dataset(tmp_path)[0]
    Image.fromarray(np.ones((3, 3, 3), np.uint8)).save(tmp_path / "n.png")
    with pytest.raises(InputError, match="normals of '0' is 3×3"):
        open_dataset(tmp_path)[0]


def test_a_path_to_the_file_itself_works(tmp_path):
    assert len(open_dataset(write_scene(tmp_path) / "transforms.json")) == 2


def test_depth_and_masks_can_be_left_out(tmp_path):
    dataset = open_dataset(write_scene(tmp_path), use_depth=False, use_masks=False)
    assert dataset[0].depth is None and dataset[0].labels is None
    assert not dataset.has_depth and not dataset.has_labels


def test_another_folder_of_masks(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "masks_noisy").mkdir()
    for i in range(2):
        Image.fromarray(np.full((H, W), 7, np.uint8)).save(tmp_path / f"masks_noisy/{i}.png")
    assert (open_dataset(tmp_path, masks="masks_noisy")[1].labels == 7).all()
    (tmp_path / "masks_noisy/1.png").unlink()
    with pytest.raises(InputError, match="missing"):
        open_dataset(tmp_path, masks="masks_noisy")
    with pytest.raises(InputError, match="no folder"):
        open_dataset(tmp_path, masks="nowhere")


def test_depth_unit_stamp_and_intrinsics_per_frame(tmp_path):
    write_scene(tmp_path, depth_unit_scale_factor=0.01)
    edit(
        tmp_path,
        lambda m: m["frames"][1].update(timestamp=12.5, fl_x=20.0, cx=1.0, depth_unit_scale_factor=1),
    )
    first, second = open_dataset(tmp_path)
    assert (first.camera.fx, second.camera.fx, second.camera.cx) == (10.0, 20.0, 1.0)
    assert second.stamp == 12.5
    np.testing.assert_allclose([first.depth[0, 0], second.depth[0, 0]], [15.0, 1501.0], rtol=1e-6)


def test_camera_angle_and_default_principal_point(tmp_path):
    write_scene(tmp_path, fl_x=None, fl_y=None, cx=None, cy=None, w=None, h=None, camera_angle_x=np.pi / 2)
    camera = open_dataset(tmp_path)[0].camera
    assert (camera.fx, camera.fy) == (pytest.approx(4.0), pytest.approx(4.0))  # half of 8 px at 45°
    assert (camera.width, camera.height, camera.cx, camera.cy) == (W, H, 4.0, 3.0)


def test_sizes_written_as_floats(tmp_path):
    assert open_dataset(write_scene(tmp_path, w=8.0, h=6.0))[0].camera.width == 8


def test_blender_file_names_without_suffix_and_grey_with_alpha(tmp_path):
    write_scene(tmp_path)
    Image.fromarray(np.full((H, W, 2), 77, np.uint8), "LA").save(tmp_path / "rgb/0.png")
    edit(tmp_path, lambda m: m["frames"][0].update(file_path="./rgb/0"))
    frame = open_dataset(tmp_path)[0]
    assert frame.name == "0" and (frame.rgb == 77).all()


@pytest.mark.parametrize(
    ("name", "keys", "model", "coefficients"),
    [
        ("PINHOLE", {"k1": 0.5}, "none", ()),
        ("SIMPLE_RADIAL", {"k1": 0.1}, "plumb_bob", (0.1, 0, 0, 0, 0)),
        ("OPENCV", {"k1": 1, "k2": 2, "p1": 3, "p2": 4, "k3": 5}, "plumb_bob", (1, 2, 3, 4, 5)),
        ("FULL_OPENCV", {f"k{i}": i for i in range(1, 7)}, "rational_polynomial", (1, 2, 0, 0, 3, 4, 5, 6)),
        ("OPENCV_FISHEYE", {"k1": 1, "k2": 2, "k3": 3, "k4": 4}, "fisheye", (1, 2, 3, 4)),
    ],
)
def test_camera_models(tmp_path, name, keys, model, coefficients):
    lens = open_dataset(write_scene(tmp_path, camera_model=name, **keys)).reader.lens(0)
    assert (lens.model, lens.coefficients) == (model, coefficients)


def test_shared_intrinsics_share_one_undistortion(tmp_path):
    reader = open_dataset(write_scene(tmp_path, camera_model="OPENCV", k1=0.1)).reader
    assert reader.lens(0) is reader.lens(1)


def _drop(key):
    return lambda m: m["frames"][1].pop(key)


def _set(**values):
    return lambda m: m["frames"][1].update(**values)


def _matrix(change):
    def edit_matrix(meta):
        matrix = np.array(meta["frames"][1]["transform_matrix"])
        change(matrix)
        meta["frames"][1]["transform_matrix"] = matrix.tolist()

    return edit_matrix


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(frames=[]), "no frames"),
        (lambda m: m.pop("frames"), "no frames"),
        (_drop("transform_matrix"), "no transform_matrix"),
        (_drop("file_path"), "no file_path"),
        (_set(file_path="rgb/9.png"), "missing"),
        (_set(depth_file_path="depth/9.png"), "missing"),
        (_set(label_file_path="masks/9.png"), "missing"),
        (_set(file_path="rgb/0.png"), "more than once"),
        (_matrix(lambda a: a.__setitem__((0, 3), np.nan)), "NaN"),
        (_matrix(lambda a: a[:3, :3].__imul__(2)), "not a rigid"),
        (_set(transform_matrix=[[1, 2], [3, 4]]), "4×4"),
        (_set(transform_matrix="here"), "not a matrix"),
        (_set(transform_matrix=[[1, 2], [3]]), "not a matrix"),
    ],
)
def test_bad_entries_are_refused_when_opening(tmp_path, change, words):
    edit(write_scene(tmp_path), change)
    with pytest.raises(InputError, match=words):
        open_dataset(tmp_path, use_masks=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(camera_model="EQUIRECTANGULAR"), "not known"),
        (lambda m: m.update(k4=0.1), "FULL_OPENCV"),
        (lambda m: (m.pop("fl_x"), m.pop("fl_y")), "neither fl_x nor camera_angle_x"),
        (lambda m: m.update(fl_x="wide"), "not a finite number"),
        (lambda m: m.update(fl_x=-3.0), "not usable"),
        (lambda m: m.update(k1=float("nan")), "not a finite number"),
        (lambda m: m.update(w=16), "the camera says 16×6"),
    ],
)
def test_bad_cameras_are_refused_when_reading(tmp_path, change, words):
    edit(write_scene(tmp_path), change)
    with pytest.raises(InputError, match=words):
        open_dataset(tmp_path, use_masks=True)[0]


@pytest.mark.parametrize("content", ["{", "[1]", "\x00\xff"])
def test_a_transforms_file_that_is_not_json(tmp_path, content):
    (tmp_path / "transforms.json").write_text(content)
    with pytest.raises(InputError, match="JSON"):
        open_dataset(tmp_path, use_masks=True)
