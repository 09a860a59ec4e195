"""Readers of transforms.json folders and COLMAP models; what Dataset does to every frame."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets import RawFrame, make_frame, open_dataset
from instascene_core.datasets.colmap import lens_from_colmap
from instascene_core.datasets.dataset import evenly
from instascene_core.datasets.images import read_depth, read_labels, read_rgb
from instascene_core.datasets.nerfstudio import unique_names
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.images import resize
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

W, H = 8, 6
LOOKING_DOWN_X = [[0.0, 0.0, -1.0, 5.0], [-1.0, 0.0, 0.0, 6.0], [0.0, 1.0, 0.0, 7.0], [0, 0, 0, 1]]


def write_scene(folder, frames=2, **meta):
    """A transforms.json folder whose pixels can be checked by hand; `meta` overrides global keys."""
    for name in ("rgb", "depth", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    entries = []
    for i in range(frames):
        Image.fromarray(np.full((H, W, 3), 10 * i + 5, np.uint8)).save(folder / f"rgb/{i}.png")
        Image.fromarray(np.full((H, W), 1500 + i, np.uint16)).save(folder / f"depth/{i}.png")
        labels = np.zeros((H, W), np.uint16)
        labels[:, W // 2 :] = 300
        Image.fromarray(labels).save(folder / f"masks/{i}.png")
        matrix = np.array(LOOKING_DOWN_X)
        matrix[2, 3] += i
        entries.append(
            {
                "file_path": f"rgb/{i}.png",
                "depth_file_path": f"depth/{i}.png",
                "label_file_path": f"masks/{i}.png",
                "transform_matrix": matrix.tolist(),
            }
        )
    content = {"fl_x": 10.0, "fl_y": 11.0, "cx": 4.5, "cy": 2.5, "w": W, "h": H, "frames": entries, **meta}
    content = {k: v for k, v in content.items() if v is not None}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def edit(folder, change):
    """Apply `change(meta)` to a transforms.json."""
    file = folder / "transforms.json"
    meta = json.loads(file.read_text())
    change(meta)
    file.write_text(json.dumps(meta))


# --- transforms.json ---


def test_frames_come_with_pose_depth_and_labels(tmp_path):
    dataset = open_dataset(write_scene(tmp_path))
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


def test_shared_intrinsics_share_one_undistortion(tmp_path):
    reader = open_dataset(write_scene(tmp_path, camera_model="OPENCV", k1=0.1)).reader
    assert reader.lens(0) is reader.lens(1)


def test_scale_and_max_width(tmp_path):
    dataset = open_dataset(write_scene(tmp_path), scale=0.5)
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
    dataset = open_dataset(tmp_path)
    (tmp_path / "rgb/1.png").write_bytes(b"broken")
    frames = iter(dataset)
    assert next(frames).name == "0"
    with pytest.raises(InputError, match="not an image"):
        next(frames)


def test_synthetic_scene_and_reader_agree(tmp_path):
    config = SyntheticConfig(seed=2, num_objects=2, num_views=3, width=64, height=48)
    scene = generate_scene(config)
    write_dataset(scene, tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.ground_truth == tmp_path / "ground_truth"
    for index, frame in enumerate(dataset):
        true = scene.frame(index)
        assert frame.camera == true.camera and frame.name == true.name
        assert frame.stamp == pytest.approx(true.stamp)
        np.testing.assert_allclose(frame.world_from_camera, true.world_from_camera, atol=1e-12)
        np.testing.assert_array_equal(frame.rgb, true.rgb)
        np.testing.assert_array_equal(frame.labels, true.labels)
        np.testing.assert_allclose(frame.depth, true.depth, atol=6e-5)


# --- bad transforms.json ---


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
        (_matrix(lambda a: a.__imul__(2)), "not a rigid"),
        (_set(transform_matrix=[[1, 2], [3, 4]]), "4×4"),
        (_set(transform_matrix="here"), "not a matrix"),
        (_set(transform_matrix=[[1, 2], [3]]), "not a matrix"),
    ],
)
def test_bad_entries_are_refused_when_opening(tmp_path, change, words):
    edit(write_scene(tmp_path), change)
    with pytest.raises(InputError, match=words):
        open_dataset(tmp_path)


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
        open_dataset(tmp_path)[0]


def test_depth_and_labels_of_another_size_are_refused(tmp_path):
    write_scene(tmp_path)
    Image.fromarray(np.zeros((3, 4), np.uint16)).save(tmp_path / "depth/0.png")
    with pytest.raises(InputError, match="depth of '0' is 4×3"):
        open_dataset(tmp_path)[0]
    with pytest.raises(InputError, match="label image"):
        Image.fromarray(np.zeros((3, 4), np.uint16)).save(tmp_path / "masks/0.png")
        open_dataset(tmp_path, use_depth=False)[0]


@pytest.mark.parametrize("content", ["{", "[1]", "\x00\xff"])
def test_a_transforms_file_that_is_not_json(tmp_path, content):
    (tmp_path / "transforms.json").write_text(content)
    with pytest.raises(InputError, match="JSON"):
        open_dataset(tmp_path)


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


# --- image files ---


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


def test_depth_from_npy_without_bad_values(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan], [np.inf, -2.0]]))
    np.testing.assert_array_equal(read_depth(tmp_path / "a.npy", 2.0), [[2.0, 0.0], [0.0, 0.0]])
    (tmp_path / "b.npy").write_bytes(b"no")
    with pytest.raises(InputError, match="npy"):
        read_depth(tmp_path / "b.npy", 1.0)
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object))  # a pickle: never loaded
    with pytest.raises(InputError, match="npy"):
        read_depth(tmp_path / "c.npy", 1.0)


# --- helpers ---


def test_evenly():
    assert evenly(5, 0) == (0, 1, 2, 3, 4) == evenly(5, 9)
    assert evenly(5, 1) == (2,) and evenly(5, 2) == (0, 4)


def test_resize_takes_pixel_centres_or_means():
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(resize(image, 2, 2, smooth=False), [[5, 7], [13, 15]])
    np.testing.assert_allclose(resize(image, 2, 2, smooth=True), [[2.5, 4.5], [10.5, 12.5]])


def test_unique_names_use_folders_where_stems_repeat():
    from pathlib import Path

    assert unique_names([Path("a/0.png"), Path("b/1.png")]) == ("0", "1")
    assert unique_names([Path("a/0.png"), Path("b/0.png")]) == ("a_0", "b_0")


# --- COLMAP ---


def write_colmap(folder, model="PINHOLE", params="10 11 4.5 2.5", pose="0 1 0 0 1 2 3", suffix="txt"):
    """A text model with one camera and two images; quaternion wxyz and translation of camera_from_world."""
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    (folder / "images").mkdir()
    for name in ("b.png", "a.png"):
        Image.fromarray(np.full((H, W, 3), ord(name[0]), np.uint8)).save(folder / "images" / name)
    (sparse / "cameras.txt").write_text(f"1 {model} {W} {H} {params}\n")
    (sparse / "images.txt").write_text(f"1 {pose} 1 b.png\n\n2 1 0 0 0 0 0 0 1 a.png\n\n")
    (sparse / "points3D.txt").write_text("")
    return folder


@pytest.mark.parametrize("where", ["", "sparse", "sparse/0"])
def test_a_colmap_model(tmp_path, where):
    dataset = open_dataset(write_colmap(tmp_path) / where)
    assert (dataset.kind, dataset.names) == ("COLMAP model", ("a", "b"))
    a, b = dataset
    assert (a.rgb == ord("a")).all() and a.camera == PinholeCamera(W, H, 10.0, 11.0, 4.5, 2.5)
    np.testing.assert_allclose(a.world_from_camera, np.eye(4), atol=1e-12)
    # Half a turn about x, then (1, 2, 3): the centre is −Rᵀt = (−1, 2, 3).
    np.testing.assert_allclose(b.world_from_camera[:3, 3], [-1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(b.world_from_camera[:3, :3], np.diag([1, -1, -1]), atol=1e-12)


def test_a_binary_colmap_model_with_masks(tmp_path):
    import pycolmap

    write_colmap(tmp_path)
    sparse = tmp_path / "sparse/0"
    pycolmap.Reconstruction(str(sparse)).write_binary(str(sparse))
    for file in sparse.glob("*.txt"):
        file.unlink()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((H, W), 5, np.uint16)).save(tmp_path / f"labels/{name}.png")
    assert (open_dataset(tmp_path, masks="labels")[0].labels == 5).all()


@pytest.mark.parametrize(
    ("model", "params", "ours", "coefficients"),
    [
        ("SIMPLE_PINHOLE", "10 4 3", "none", ()),
        ("SIMPLE_RADIAL", "10 4 3 0.1", "plumb_bob", (0.1, 0, 0, 0)),
        ("RADIAL", "10 4 3 0.1 0.2", "plumb_bob", (0.1, 0.2, 0, 0)),
        ("OPENCV", "10 10 4 3 1 2 3 4", "plumb_bob", (1, 2, 3, 4)),
        ("FULL_OPENCV", "10 10 4 3 1 2 3 4 5 6 7 8", "rational_polynomial", (1, 2, 3, 4, 5, 6, 7, 8)),
        ("OPENCV_FISHEYE", "10 10 4 3 1 2 3 4", "fisheye", (1, 2, 3, 4)),
        ("SIMPLE_RADIAL_FISHEYE", "10 4 3 1", "fisheye", (1, 0, 0, 0)),
    ],
)
def test_colmap_camera_models(model, params, ours, coefficients):
    import pycolmap

    camera = pycolmap.Camera.create_from_model_name(1, model, 1.0, W, H)
    camera.params = [float(p) for p in params.split()]
    lens = lens_from_colmap(camera)
    assert (lens.model, lens.coefficients) == (ours, coefficients)
    assert lens.camera == PinholeCamera(W, H, 10.0, 10.0, 4.0, 3.0)


@pytest.mark.parametrize(
    ("params", "model"),
    [("60 60 50.5 40.5 0.2 0.05 0.01 -0.02", "OPENCV"), ("60 60 50.5 40.5 0.1 0.02 0 0", "OPENCV_FISHEYE")],
)
def test_undistortion_agrees_with_colmap(params, model):
    """A smooth image through COLMAP's projection and our undistortion gives back the pinhole image."""
    import pycolmap
    from scipy.ndimage import binary_erosion

    width, height = 101, 81
    camera = pycolmap.Camera.create_from_model_name(1, model, 60.0, width, height)
    camera.params = [float(p) for p in params.split()]
    lens = lens_from_colmap(camera)
    rows, columns = np.mgrid[:height, :width] + 0.5
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    seen = np.array(camera.cam_from_img(pixels)).reshape(height, width, 2)  # pinhole x, y of each pixel

    def pattern(x, y):
        return 128 + 100 * np.sin(6 * x) * np.cos(5 * y)

    ideal = pattern((columns - 50.5) / 60, (rows - 40.5) / 60)
    result = lens.undistort(pattern(seen[..., 0], seen[..., 1]).astype(np.float32))
    inner = binary_erosion(lens.valid_pixels(), iterations=2)
    assert inner.sum() > 2000
    assert np.abs(result - ideal)[inner].max() < 1.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "FOV", "params": "10 10 4 3 0.5"}, "not known"),
        ({"pose": "nan 0 0 0 0 0 0"}, "NaN|cannot be read"),
        ({"params": "10"}, "cannot be read"),
    ],
)
def test_bad_colmap_models(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        open_dataset(write_colmap(tmp_path, **options))


def test_colmap_models_with_missing_parts(tmp_path):
    write_colmap(tmp_path)
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(InputError, match="not found"):
        open_dataset(tmp_path)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(InputError, match="not found"):
        open_dataset(tmp_path)
    (tmp_path / "sparse/0/images.txt").write_text("")
    with pytest.raises(InputError, match="no registered images"):
        open_dataset(tmp_path)
    (tmp_path / "sparse/0/points3D.txt").unlink()
    with pytest.raises(InputError, match="points3D"):
        open_dataset(tmp_path)


# --- real data ---


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
