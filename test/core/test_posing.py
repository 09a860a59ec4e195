"""Poses for images that have none: from rendered images without them back to the true ones."""

import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from recordings_table import recording

from instascene_core import cli
from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets import open_dataset
from instascene_core.datasets.images import read_rgb
from instascene_core.errors import Cancelled, InputError
from instascene_core.files import write_image
from instascene_core.geometry import Plane
from instascene_core.posing import DepthScale, DistanceScale, MarkerScale, estimate_poses, mapping
from instascene_core.posing.images import gather_images
from instascene_core.posing.model import MappedImages
from instascene_core.posing.upright import upright_rotation
from instascene_core.progress import no_progress
from instascene_core.synthetic import SyntheticConfig, generate_scene
from instascene_core.transforms import apply, look_at

VIEWS = 10
MARKER = 0.08  # metres, side of a black square
# On the table around the things, some in each view
MARKER_PLACES = ((-0.17, -0.17), (0.17, -0.17), (-0.17, 0.17), (0.17, 0.17), (0.2, 0.0), (0.0, 0.2))
FINER = 3  # markers are drawn on a grid so many times finer


def make_scene(width, height):
    config = SyntheticConfig(seed=4, num_objects=6, num_views=VIEWS, width=width, height=height,
                             distance=0.62, elevations_degrees=(45.0,), arc_degrees=90.0)  # fmt: skip
    return generate_scene(config)


@pytest.fixture(scope="module")
def scene():
    return make_scene(320, 240)


@pytest.fixture(scope="module")
def recorded(scene, tmp_path_factory):
    """A folder with images/ and depth/ (millimetres); no poses."""
    folder = tmp_path_factory.mktemp("recorded")
    for i in range(VIEWS):
        frame = scene.frame(i)
        write_image(folder / f"images/{frame.name}.png", frame.rgb)
        write_image(folder / f"depth/{frame.name}.png", np.round(1000 * frame.depth).astype(np.uint16))
    return folder


def printed(rgb, depth, camera, pose, plane, picture, place, side):
    """`rgb` with a grey picture of `side` metres (its longer side) printed around `place` (x, y) of a level
    plane, where the depth [H, W] shows the plane."""
    fine = camera.resized(FINER * camera.width, FINER * camera.height)
    eye, rays = pose[:3, 3], fine.rays @ pose[:3, :3].T  # a metre along the camera's axis each
    z = (plane.offset - eye @ plane.normal) / (rays @ plane.normal)
    points = eye + rays * z[..., None]
    grown = [np.repeat(np.repeat(a, FINER, axis=0), FINER, axis=1) for a in (rgb, depth)]
    step = side / max(picture.shape)
    column = np.floor((points[..., 0] - place[0]) / step + picture.shape[1] / 2).astype(int)
    row = np.floor((place[1] - points[..., 1]) / step + picture.shape[0] / 2).astype(int)
    on = (column >= 0) & (row >= 0) & (column < picture.shape[1]) & (row < picture.shape[0])
    on &= np.abs(grown[1] - z) < 0.01
    grown[0][on] = picture[row[on], column[on]][:, None]
    shape = (rgb.shape[0], FINER, rgb.shape[1], FINER, 3)
    return grown[0].reshape(shape).mean(axis=(1, 3)).round().astype(np.uint8)


@pytest.fixture(scope="module")
def posed(recorded):
    """The folder that `instascene poses` writes, metric by depth."""
    output = recorded / "posed"
    cli.main(["poses", str(recorded), "--output", str(output), "--depth", str(recorded / "depth")])
    return output


def similarity(source, target):
    """(scale, rotation [3, 3]) that bring points [N, 3] closest to others (Umeyama 1991)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    s = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    return float(np.trace(np.diag(d) @ s) / (a**2).sum(axis=1).mean()), u @ s @ vt


def pose_errors(poses, true):
    """(scale true / found, largest position error in metres, largest angle in degrees),
    up to a similarity."""
    scale, rotation = similarity(poses[:, :3, 3], true[:, :3, 3])
    moved = scale * poses[:, :3, 3] @ rotation.T
    moved += true[:, :3, 3].mean(axis=0) - moved.mean(axis=0)
    turned = np.swapaxes(true[:, :3, :3], 1, 2) @ rotation @ poses[:, :3, :3]
    angles = np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return scale, np.linalg.norm(moved - true[:, :3, 3], axis=1).max(), angles.max()


def true_poses(dataset, scene):
    return scene.poses[[int(name) for name in dataset.names]]


def test_poses_of_rendered_images(posed, scene):
    dataset = open_dataset(posed)
    assert len(dataset) == VIEWS and dataset.has_depth
    scale, position, angle = pose_errors(dataset.poses, true_poses(dataset, scene))
    assert scale == pytest.approx(1, abs=0.01)  # metric by depth
    assert position < 0.004 and angle < 0.4
    frame = dataset[0]
    assert frame.camera.fx == pytest.approx(scene.camera.fx, rel=0.02)
    np.testing.assert_allclose(frame.depth[frame.depth > 0], scene.frame(0).depth[frame.depth > 0], atol=0.02)


def test_up_is_up(posed, scene):
    """The table is level: its normal is z."""
    dataset = open_dataset(posed)
    _, rotation = similarity(dataset.poses[:, :3, 3], true_poses(dataset, scene)[:, :3, 3])
    assert (rotation.T @ [0, 0, 1])[2] > np.cos(np.radians(2))


def test_the_colmap_model_has_the_same_poses(posed):
    ours, theirs = open_dataset(posed), open_dataset(posed / "sparse/0")
    assert ours.names == theirs.names
    np.testing.assert_allclose(ours.poses, theirs.poses, atol=1e-6)


def mapped_from(folder, scale=1.0):
    """What was written, as the scale's finders take it, in a world of another unit."""
    dataset = open_dataset(folder)
    lenses = tuple(dataset.reader.lens(i) for i in range(len(dataset)))
    names = tuple(f"{name}.png" for name in dataset.names)
    nothing = tuple(np.zeros((0,), np.int64) for _ in names), tuple(np.zeros((0, 2)) for _ in names)
    mapped = MappedImages(names, lenses, dataset.poses, np.zeros((0, 3)), *nothing)
    return mapped.moved(scale, np.eye(3), np.zeros(3))


def board_views(folder):
    """Four views of a ChArUco board (squares of 40 mm, markers of 30 mm) on a level plane, poses known."""
    import cv2

    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    picture = cv2.aruco.CharucoBoard((5, 4), 0.04, 0.03, dictionary).generateImage((1000, 800))
    camera, plane = PinholeCamera(640, 480, 600.0, 620.0, 325.0, 236.0), Plane(np.array([0, 0, 1.0]), 0.0)
    eyes = ([0.4, 0, 0.4], [0.3, 0.3, 0.4], [0, 0.4, 0.35], [-0.2, 0.35, 0.4])
    poses = np.stack([look_at(eye, [0, 0, 0]) for eye in eyes])
    names = tuple(f"{i}.png" for i in range(len(eyes)))
    for name, pose in zip(names, poses):
        grey = np.full((480, 640, 3), 128, np.uint8)
        depth = -pose[2, 3] / (camera.rays @ pose[:3, :3].T)[..., 2]
        image = printed(grey, depth.astype(np.float32), camera, pose, plane, picture, (0, 0), 0.2)
        write_image(folder / name, image)
    nothing = (np.zeros(0, np.int64),) * len(eyes), (np.zeros((0, 2)),) * len(eyes)
    return MappedImages(names, (LensModel(camera),) * len(eyes), poses, np.zeros((0, 3)), *nothing)


def test_scale_by_the_markers_of_a_board(tmp_path):
    mapped = board_views(tmp_path).moved(5.0, look_at([0, 0, 0], [1, 2, 3])[:3, :3], np.ones(3))
    found = MarkerScale(0.03, "5X5_100").find(mapped, tmp_path)
    assert found.factor == pytest.approx(0.2, rel=0.005) and found.spread < 0.01
    assert found.source == "40 sides of markers"  # ten markers
    with pytest.raises(InputError, match="No marker of the dictionary 6X6_50"):
        MarkerScale(0.03, "6X6_50").find(mapped, tmp_path)
    with pytest.raises(InputError, match="no marker dictionary 'nonsense'"):
        MarkerScale(0.03, "nonsense").find(mapped, tmp_path)


def test_a_marker_seen_from_one_place_has_no_scale(tmp_path):
    """The same view twice, and a pose that is wrong, give no length."""
    mapped = board_views(tmp_path)
    same = replace(mapped, poses=np.stack([mapped.poses[0]] * 4))
    with pytest.raises(InputError, match="from two places"):
        MarkerScale(0.03, "5X5_100").find(same, tmp_path)


def test_scale_by_a_distance(posed, scene):
    names = open_dataset(posed).names
    first, last = int(names[0]), int(names[-1])
    metres = float(np.linalg.norm(scene.poses[first, :3, 3] - scene.poses[last, :3, 3]))
    found = DistanceScale(names[0], f"{names[-1]}.png", metres).find(
        mapped_from(posed, 0.1), posed / "images"
    )
    assert 0.1 * found.factor == pytest.approx(1, rel=0.015)
    with pytest.raises(InputError, match="No registered image is called 'nothing'"):
        DistanceScale("nothing", names[0], 1.0).find(mapped_from(posed), posed / "images")
    with pytest.raises(InputError, match="from one place"):
        DistanceScale(names[0], names[0], 1.0).find(mapped_from(posed), posed / "images")


@pytest.mark.slow
@recording("a folder of images without poses")
def test_images_with_markers(typed, tmp_path, capsys):
    """Six markers on the table among the things; the scale is theirs."""
    import cv2

    scene = make_scene(480, 360)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    for i in range(VIEWS):
        frame = scene.frame(i)
        rgb = frame.rgb
        for number, place in enumerate(MARKER_PLACES):
            sheet = np.full((80, 80), 255, np.uint8)  # a marker of six cells and a white border of one
            sheet[10:70, 10:70] = cv2.aruco.generateImageMarker(dictionary, number, 60)
            parts = (scene.camera, frame.world_from_camera, scene.support, sheet, place, MARKER * 80 / 60)
            rgb = printed(rgb, frame.depth, *parts)
        write_image(tmp_path / f"recorded/{frame.name}.png", rgb)
    output = tmp_path / "posed"
    words = typed.replace("INPUT", str(tmp_path / "recorded")).replace("POSED", str(output))
    cli.main(shlex.split(words)[1:])
    dataset = open_dataset(output)
    scale, position, angle = pose_errors(dataset.poses, true_poses(dataset, scene))
    assert scale == pytest.approx(1, abs=0.015) and position < 0.004 and angle < 0.4
    assert "sides of markers" in capsys.readouterr().out


@pytest.mark.slow
@recording("a video without poses")
def test_a_video(typed, scene, recorded, tmp_path, capsys, monkeypatch):
    """Each view stands three frames long; one of each is taken, and neighbours are matched, as in long ones.
    Nothing says the scale, which is said."""
    import cv2

    monkeypatch.setattr(mapping, "EXHAUSTIVE_UP_TO", VIEWS - 1)

    video = tmp_path / "walk.mp4"
    size = (scene.camera.width, scene.camera.height)
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
    for file in sorted((recorded / "images").iterdir()):
        for _ in range(3):
            writer.write(np.ascontiguousarray(read_rgb(file)[..., ::-1]))
    writer.release()
    output = tmp_path / "posed"
    words = typed.replace("INPUT", str(video)).replace("POSED", str(output))
    cli.main([*shlex.split(words)[1:], "--max-images", str(VIEWS)])
    dataset = open_dataset(output)
    numbers = [int(name.removeprefix("frame_")) for name in dataset.names]
    _, position, angle = pose_errors(dataset.poses, scene.poses[numbers])
    assert len(numbers) >= VIEWS - 1 and position < 0.01 and angle < 1
    assert "the scale is not known" in capsys.readouterr().out


# ── what needs no mapping ─────────────────────────────────────────────────────────────────────────


def test_depth_scale_is_robust(tmp_path):
    """Every depth is some 3 % off, one in ten belongs to something else: the median stands.  Where nine in
    ten do, there is no scale."""
    mapped = cube_of_points(unit=0.25)
    write_depths(tmp_path / "good", mapped, wrong_share=0.1)
    found = DepthScale(tmp_path / "good", 1.0).find(mapped, tmp_path)
    assert found.factor == pytest.approx(4, rel=0.01) and found.spread < 0.05
    write_depths(tmp_path / "bad", mapped, wrong_share=0.9)
    with pytest.raises(InputError, match="is not one number"):
        DepthScale(tmp_path / "bad", 1.0).find(mapped, tmp_path)


def cube_of_points(unit):
    """Points in front of two cameras, seen by both; lengths in units of `unit` per metre."""
    rng = np.random.default_rng(0)
    points = rng.uniform([-0.3, -0.3, -0.3], [0.3, 0.3, 0.3], (400, 3))
    camera = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
    poses = np.stack([look_at([0.8, 0, 0.7], [0, 0, 0]), look_at([0.6, 0.6, 0.7], [0, 0, 0])])
    pixels = tuple(camera.project(apply(np.linalg.inv(pose), points))[0] for pose in poses)
    seen = (np.arange(400),) * 2
    mapped = MappedImages(("a.png", "b.png"), (LensModel(camera),) * 2, poses, points, seen, pixels)
    return mapped.moved(unit, np.eye(3), np.zeros(3))


def write_depths(folder, mapped, wrong_share):
    """Depth in metres at the points' pixels, where the mapped world's unit is 4 m."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, pixels, index in zip(mapped.names, mapped.pixels, range(len(mapped.names))):
        depth = np.zeros((48, 64), np.float32)
        for (x, y), z in zip(pixels, 4 * mapped.depths(index)):
            if 0 <= x < 64 and 0 <= y < 48:
                wrong = rng.uniform(0.2, 9) if rng.uniform() < wrong_share else 1.0
                depth[int(y), int(x)] = z * wrong * (1 + 0.03 * rng.normal())
        np.save(folder / name.replace(".png", ".npy"), depth)


def test_up_without_a_plane_is_how_the_cameras_were_held():
    mapped = cube_of_points(1.0)
    tilted = look_at([0, 0, 0], [0.3, -0.5, 0.8])[:3, :3]
    rotation, source = upright_rotation(mapped.moved(1.0, tilted, np.zeros(3)))
    assert source == "cameras"
    mean_up = -(rotation @ tilted @ mapped.poses[:, :3, 1].T).mean(axis=1)
    np.testing.assert_allclose(mean_up / np.linalg.norm(mean_up), [0, 0, 1], atol=1e-9)


def test_up_with_a_plane_is_its_normal():
    mapped = cube_of_points(1.0)
    flat = mapped.points * [1, 1, 1e-3]
    rotation, source = upright_rotation(replace(mapped, points=flat))
    assert source == "plane"
    np.testing.assert_allclose(rotation @ [0, 0, 1], [0, 0, 1], atol=1e-4)


def test_of_each_stretch_of_a_video_the_sharpest_frame(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    sharp = (2, 5, 9)
    for index in range(12):
        image = cv2.resize(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8), (64, 48), interpolation=0)
        image[:8, :] = 20 * index  # a stripe that tells the frame
        writer.write(image if index in sharp else cv2.GaussianBlur(image, (0, 0), 4))
    writer.release()
    names, ordered = gather_images(tmp_path / "v.mp4", tmp_path / "out", 3, no_progress)
    assert ordered and names == ["frame_000000.png", "frame_000001.png", "frame_000002.png"]
    stripes = [read_rgb(tmp_path / "out" / name)[2:5].mean() / 20 for name in names]
    np.testing.assert_allclose(stripes, sharp, atol=0.4)


def test_a_video_that_was_cut_off_is_said(tmp_path, caplog):
    import cv2

    rng, file = np.random.default_rng(0), tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(20):
        writer.write(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
    writer.release()
    gather_images(file, tmp_path / "whole", 10, no_progress)
    assert not caplog.text
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    gather_images(file, tmp_path / "half", 10, no_progress)
    assert "20 frames, but only 9 can be read" in caplog.text


def write_plain(folder, count=5):
    for i in range(count):
        write_image(folder / f"{i}.png", np.full((48, 64, 3), 100 + i, np.uint8))
    return folder


def test_images_without_detail_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="Only 0 of 5 images show enough detail"):
        estimate_poses(write_plain(tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out").exists()  # nothing is left behind


def test_images_that_do_not_fit_together_are_one_sentence(tmp_path):
    """Noise has features, but no two images have the same."""
    rng = np.random.default_rng(0)
    for i in range(4):
        small = Image.fromarray(rng.integers(0, 255, (60, 80, 3)).astype(np.uint8))
        (tmp_path / "in").mkdir(exist_ok=True)
        small.resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / f"in/{i}.png")
    with pytest.raises(InputError, match="Only 0 of 4 images fit together"):
        estimate_poses(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--marker-size", "-1"], "side of a marker must be a positive number of metres"),
        (["--distance", "a", "b", "0"], "distance must be a positive number of metres"),
        (["--depth", "nowhere"], "no folder of depth images nowhere"),
        (["--max-images", "-3"], "--max-images must not be negative"),
    ],
)
def test_bad_options_are_one_sentence(words, sentence, tmp_path, capsys):
    write_plain(tmp_path / "in")
    with pytest.raises(SystemExit) as end:
        cli.main(["poses", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *words])
    assert end.value.code == 1 and sentence in capsys.readouterr().err


def test_cancelling_leaves_nothing_behind(tmp_path, recorded):
    """A callback that raises ends COLMAP's process, and no folder is written."""

    def cancel(stage, fraction, message=""):
        if stage == "features":
            raise Cancelled

    with pytest.raises(Cancelled):
        estimate_poses(recorded, tmp_path / "out", progress=cancel)
    assert not (tmp_path / "out").exists()


def test_a_crash_of_colmap_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "CAMERA_MODEL", "NO_SUCH_MODEL")
    with pytest.raises(InputError, match="COLMAP stopped in the step 'features'"):
        estimate_poses(write_plain(tmp_path / "in"), tmp_path / "out")


def test_an_earlier_result_is_replaced_and_notes_stay(posed, recorded, tmp_path):
    """Of the same folder again: our files are replaced, others are not touched."""
    shutil.copytree(posed, tmp_path / "posed")
    (tmp_path / "posed/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="at least 3"):
        estimate_poses(write_plain(tmp_path / "in", 1), tmp_path / "posed")
    assert len(open_dataset(tmp_path / "posed")) == VIEWS  # a failure leaves the old one
    assert (tmp_path / "posed/notes.txt").read_text() == "mine"


def test_too_few_images_and_a_foreign_output(tmp_path):
    write_plain(tmp_path / "in", 2)
    with pytest.raises(InputError, match="has 2 images; at least 3"):
        estimate_poses(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="choose another folder with --output"):
        estimate_poses(tmp_path / "in", tmp_path / "in")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="cannot be opened"):
        estimate_poses(tmp_path / "a.mp4", tmp_path / "out")


def test_without_pycolmap_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(InputError, match="pip install pycolmap"):
        estimate_poses(write_plain(tmp_path / "in"), tmp_path / "out")


@pytest.mark.parametrize("kind", ["images", "video"])
def test_run_names_the_two_commands(kind, tmp_path, capsys):
    source = write_plain(tmp_path / "in") if kind == "images" else tmp_path / "walk.mp4"
    if kind == "video":
        source.write_bytes(b"any")
    with pytest.raises(SystemExit) as end:
        cli.main(["run", str(source), "--output", str(tmp_path / "out")])
    said = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 1
    assert f"`instascene poses {source} --output {tmp_path / (source.stem + '_posed')}`" in said
    assert f"`instascene run {tmp_path / (source.stem + '_posed')} --output OUT`" in said
