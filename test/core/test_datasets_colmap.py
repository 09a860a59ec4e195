"""Reader of COLMAP models."""

import shutil
import struct

import numpy as np
import pytest
from dataset_folders import H, W
from PIL import Image
from recordings_table import opened, recording

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets import open_dataset
from instascene_core.datasets.colmap import lens_from_colmap
from instascene_core.datasets.colmap_model import ColmapCamera, read_model
from instascene_core.errors import InputError
from instascene_core.lens_formulas import FORMULAS, LensFormula


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
        ("SIMPLE_FISHEYE", "10 4 3", "fisheye", (0, 0, 0, 0)),
        ("FISHEYE", "10 10 4 3", "fisheye", (0, 0, 0, 0)),
        ("FOV", "10 10 4 3 0.5", "fov", (0.5,)),
        ("SIMPLE_DIVISION", "10 4 3 0.1", "division", (0.1,)),
        ("DIVISION", "10 10 4 3 0.1", "division", (0.1,)),
        ("EUCM", "10 10 4 3 0.5 1", "eucm", (0.5, 1)),
        ("THIN_PRISM_FISHEYE", "10 10 4 3 1 2 3 4 5 6 7 8", "thin_prism_fisheye", (1, 2, 3, 4, 5, 6, 7, 8)),
    ],
)
def test_colmap_camera_models(model, params, ours, coefficients):
    lens = lens_from_colmap(ColmapCamera(model, W, H, tuple(float(p) for p in params.split())))
    assert (lens.model, lens.coefficients) == (ours, coefficients)
    assert lens.camera == PinholeCamera(W, H, 10.0, 10.0, 4.0, 3.0)


LENSES = [
    ("60 60 50.5 40.5 0.9", "FOV"),
    ("60 50.5 40.5 -0.2", "SIMPLE_DIVISION"),
    ("60 60 50.5 40.5 0.1", "DIVISION"),
    ("60 50.5 40.5", "SIMPLE_FISHEYE"),
    ("60 60 50.5 40.5", "FISHEYE"),
    ("60 60 50.5 40.5 0.6 1.1", "EUCM"),
    ("60 60 50.5 40.5 0.1 -0.02 0.01 -0.02 0.003 0.001 0.01 0.02", "THIN_PRISM_FISHEYE"),
    (
        "60 60 50.5 40.5 0.1 -0.02 0.003 0.001 0.0002 -0.0001 0.01 -0.02 0.003 -0.004 0.005 0.002",
        "RAD_TAN_THIN_PRISM_FISHEYE",
    ),
]


def colmap_camera(pycolmap, model: str, width: int, height: int):
    """Skips the test where pycolmap is older than the model."""
    try:
        return pycolmap.Camera.create_from_model_name(1, model, 60.0, width, height)
    except (ValueError, RuntimeError) as error:
        pytest.skip(f"this pycolmap has no model {model} ({error})")


@pytest.mark.parametrize(("params", "model"), LENSES)
def test_formulas_are_those_of_colmap(params, model):
    """Every point of the plane lands on the pixel on which COLMAP puts it."""
    import pycolmap

    camera = colmap_camera(pycolmap, model, 101, 81)
    camera.params = [float(p) for p in params.split()]
    lens = lens_from_colmap(ColmapCamera(model, 101, 81, tuple(camera.params)))
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (2000, 2))
    formula = FORMULAS.get(lens.model) or LensFormula(4, lambda r, k: np.arctan(r))
    ours = formula.distorted(points, lens.coefficients) * 60.0 + (50.5, 40.5)
    np.testing.assert_allclose(ours, camera.img_from_cam(np.c_[points, np.ones(2000)]), atol=1e-6)
    center = formula.distorted(np.zeros((1, 2)), lens.coefficients)
    np.testing.assert_array_equal(center, 0)


@pytest.mark.parametrize(
    ("model", "number"), [("DIVISION", 13), ("EUCM", 16), ("RAD_TAN_THIN_PRISM_FISHEYE", 11)]
)
def test_numbers_of_models_in_binary_files(tmp_path, model, number):
    import pycolmap

    camera = colmap_camera(pycolmap, model, 64, 48)
    assert int(camera.model) == number
    params = struct.pack(f"<{len(camera.params)}d", *camera.params)
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<QIiQQ", 1, 1, number, 64, 48) + params)
    (tmp_path / "images.bin").write_bytes(struct.pack("<Q", 0))
    cameras, _ = read_model(tmp_path)
    assert cameras[1] == ColmapCamera(model, 64, 48, tuple(camera.params))


@recording("COLMAP with any of its camera models")
def test_any_camera_model(typed, tmp_path, monkeypatch):
    for params, model in LENSES:
        numbers = params.split()
        places = 1 if "SIMPLE" in model else 2  # of focal lengths, before the principal point
        numbers[: places + 2] = ["6"] * places + ["4", "3"]
        write_colmap(tmp_path / model, model=model, params=" ".join(numbers))
        first, _ = opened(typed, tmp_path / model, monkeypatch)
        assert first.camera == PinholeCamera(W, H, 6.0, 6.0, 4.0, 3.0) and (first.rgb == ord("a")).any()


def test_a_lens_that_does_not_reach_the_corners():
    """By division with a positive coefficient no ray beyond 1/(2 √k) is seen."""
    lens = LensModel(PinholeCamera(101, 81, 30.0, 30.0, 50.5, 40.5), "division", (0.25,))
    rows, columns = np.mgrid[:81, :101] + 0.5
    radius = np.hypot((columns - 50.5) / 30, (rows - 40.5) / 30)
    valid = lens.valid_pixels()
    assert not valid[radius > 1.01].any() and valid[radius < 0.6].all()


@pytest.mark.parametrize(
    ("params", "model"),
    [
        ("60 60 50.5 40.5 0.2 0.05 0.01 -0.02", "OPENCV"),
        ("60 60 50.5 40.5 0.1 0.02 0 0", "OPENCV_FISHEYE"),
        *LENSES,
    ],
)
def test_undistortion_agrees_with_colmap(params, model):
    """A smooth image through COLMAP's projection and our undistortion gives back the pinhole image."""
    import pycolmap
    from scipy.ndimage import binary_erosion

    width, height = 101, 81
    camera = colmap_camera(pycolmap, model, width, height)
    camera.params = [float(p) for p in params.split()]
    lens = lens_from_colmap(ColmapCamera(model, width, height, tuple(camera.params)))
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
        (
            {"model": "EQUIRECTANGULAR", "params": "8 6"},
            "'EQUIRECTANGULAR' is of panoramas, which no pinhole",
        ),
        ({"pose": "nan 0 0 0 0 0 0"}, "NaN|cannot be read"),
        ({"params": "10"}, "cannot be read: a PINHOLE camera has 4 parameters, not 1"),
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


def test_points_are_not_needed(tmp_path):
    (write_colmap(tmp_path) / "sparse/0/points3D.txt").unlink()
    assert len(open_dataset(tmp_path)) == 2


def binary(folder):
    """The model of `write_colmap` as binary files; its folder."""
    import pycolmap

    sparse = write_colmap(folder) / "sparse/0"
    pycolmap.Reconstruction(str(sparse)).write_binary(str(sparse))
    for file in sparse.glob("*.txt"):
        file.unlink()
    return sparse


@pytest.mark.parametrize("name", ["cameras", "images"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c[: len(c) * 2 // 3], "cut off"),
        (lambda c: b"", "cut off"),
        (lambda c: struct.pack("<Q", 2**60) + c[8:], "cut off"),
        (lambda c: struct.pack("<Q", 0) + c[8:], "more than it says"),
    ],
)
def test_binary_files_that_lie(tmp_path, name, spoil, words):
    """pycolmap took what lies beyond the end of a cut file for the camera's numbers."""
    file = binary(tmp_path) / f"{name}.bin"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError, match=rf"{name}\.bin cannot be read: .*{words}"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"a.png\0", b"\xff\xfe.pg\0", "is no text"),
        (b"a.png\0", b"a.png" * 1000, "has no end"),
        (struct.pack("<d", 1.0), struct.pack("<d", 0.0), "quaternion of length 0"),
    ],
)
def test_binary_images_that_are_none(tmp_path, old, new, words):
    file = binary(tmp_path) / "images.bin"
    file.write_bytes(file.read_bytes().replace(old, new))
    with pytest.raises(InputError, match=words):
        open_dataset(tmp_path)


def test_damaged_points_do_not_matter(tmp_path):
    """pycolmap never came back from an empty file."""
    (binary(tmp_path) / "points3D.bin").write_bytes(b"")
    assert len(open_dataset(tmp_path)) == 2


def test_the_number_of_images_that_a_model_pretends_is_not_believed(tmp_path, caplog):
    liar = tmp_path / "sparse/1"
    shutil.copytree(binary(tmp_path), liar)
    images = liar / "images.bin"
    images.write_bytes(struct.pack("<Q", 2**40) + images.read_bytes()[8:])
    assert len(open_dataset(tmp_path)) == 2
    assert "0 with 2 images is used, not 1 (0 images)" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 1 0 0 1 b.png\n",  # by hand, without the lines of features
        "1 1 0 0 0 0 0 0 1 a.png\n3.5 4.5 -1 5.5 6.5 7\n2 1 0 0 0 1 0 0 1 b.png\n\n",
        "\ufeff# a comment\n1 1 0 0 0 0 0 0 1 a.png\r\n\r\n2 1 0 0 0 1 0 0 1 b.png\r\n",
    ],
)
def test_lists_of_images_as_people_write_them(tmp_path, text):
    (write_colmap(tmp_path) / "sparse/0/images.txt").write_text(text)
    np.testing.assert_allclose(open_dataset(tmp_path).poses[:, 0, 3], [0, -1], atol=1e-12)


def test_names_with_blanks(tmp_path):
    write_colmap(tmp_path)
    (tmp_path / "images/a.png").rename(tmp_path / "images/an image.png")
    (tmp_path / "sparse/0/images.txt").write_text("1 1 0 0 0 0 0 0 1 an image.png\n\n")
    assert open_dataset(tmp_path).names == ("an image",)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("cameras.txt", "1 MYCAM 8 6 1 2 3\n", "model 'MYCAM' is not known"),
        ("cameras.txt", "1 PINHOLE a b 1 2 3 4\n", "is no camera"),
        ("cameras.txt", "7 PINHOLE 8 6 10 10 4 3\n", "of camera 1, which"),
        ("images.txt", "hello world\n", "is no image"),
        ("images.txt", "1 2 0 0 0 0 0 0 1 a.png\n\n", "quaternion of length 2"),
        ("images.txt", "1 0 0 0 0 0 0 0 1 a.png\n\n", "quaternion of length 0"),
    ],
)
def test_text_files_that_are_wrong(tmp_path, file, text, words):
    (write_colmap(tmp_path) / "sparse/0" / file).write_text(text)
    with pytest.raises(InputError, match=words):
        open_dataset(tmp_path)
