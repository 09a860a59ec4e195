"""Reader of COLMAP models."""

import shutil

import numpy as np
import pytest
from dataset_folders import H, W
from PIL import Image

from instascene_core.camera import PinholeCamera
from instascene_core.datasets import open_dataset
from instascene_core.datasets.colmap import lens_from_colmap
from instascene_core.errors import InputError


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


def test_transparent_pixels_are_ignored(tmp_path):
    """As in every other format, and with what a mask hides."""
    write_colmap(tmp_path)
    rgba = np.full((H, W, 4), 255, np.uint8)
    rgba[2, 3, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "images/a.png")
    a, b = open_dataset(tmp_path)
    assert not a.valid[2, 3] and a.valid.sum() == H * W - 1 and b.valid is None
    (tmp_path / "masks").mkdir()
    kept = np.full((H, W), 255, np.uint8)
    kept[0, 0] = 0
    for name in ("a", "b"):
        Image.fromarray(kept).save(tmp_path / f"masks/{name}.png.png")
    a, b = open_dataset(tmp_path)
    assert a.valid.sum() == H * W - 2 and b.valid.sum() == H * W - 1


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
