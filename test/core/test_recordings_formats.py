"""The rows of docs/recordings.md about folders of other tools and data sets: one rendered scene, written in
their layouts, is read with the poses, intrinsics, depth and labels that it has.
"""

import json

import numpy as np
import pytest
from foreign_folders import (
    HEIGHT,
    WIDTH,
    Truth,
    agrees,
    matrix_text,
    save,
    steps,
    write_blender,
    write_bop,
    write_colmap_export,
    write_llff,
    write_ns_process_data,
    write_polycam,
    write_record3d,
    write_replica,
    write_scannet,
    write_scannetpp,
    write_seven_scenes,
    write_stray,
    write_tum,
)
from recordings_table import opened, recording
from test_recordings import write_exr

from instascene_core.datasets import open_dataset
from instascene_core.datasets.formats import FORMATS
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED


@pytest.fixture(scope="module")
def truth():
    return Truth()


@pytest.fixture
def open_typed(tmp_path, monkeypatch):
    return lambda typed: opened(typed, tmp_path / "recorded", monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "recorded"


def same_colors(frames, shots):
    for frame, shot in zip(frames, shots):
        np.testing.assert_array_equal(frame.rgb, shot.rgb)
    return True


def lifted(frames, shots, unsure_rows=0):
    """Depth of half the resolution at the colour's pixels: nothing where the sensor was not sure, elsewhere
    nearly the truth."""
    for frame, shot in zip(frames, shots):
        assert not frame.depth[: 2 * unsure_rows - 1].any() or not unsure_rows
        rest, true = frame.depth[2 * unsure_rows + 1 :], shot.depth[2 * unsure_rows + 1 :]
        both = (rest > 0) & (true > 0)
        assert both.mean() > 0.9 * (true > 0).mean()
        assert np.median(np.abs(rest - true)[both]) < 1.5e-3
        assert np.percentile(np.abs(rest - true)[both], 80) < 8e-3
    return True


@recording("TUM RGB-D, or ETH3D SLAM (`rgb.txt`, `depth.txt`, `groundtruth.txt`)")
def test_tum(typed, open_typed, folder, truth):
    write_tum(folder, truth)
    frames = list(open_typed(typed))
    assert agrees(frames, truth.shots, truth.camera, 1 / 5000) and same_colors(frames, truth.shots)
    np.testing.assert_allclose([f.stamp for f in frames], [s.stamp for s in truth.shots], atol=1e-6)


def test_tum_between_poses_and_without(folder, truth):
    """A pose between two stamps lies between them; an image before all poses is dropped and counted."""
    write_tum(folder, truth)
    lines = (folder / "groundtruth.txt").read_text().splitlines()
    (folder / "groundtruth.txt").write_text("\n".join([*lines[:2], lines[3], lines[5]]))
    dataset = open_dataset(folder)
    assert dataset.dropped == {"images without a pose": 1} and len(dataset) == 3
    middle = (truth.shots[1].pose[:3, 3] + truth.shots[3].pose[:3, 3]) / 2
    np.testing.assert_allclose(dataset.poses[1][:3, 3], middle, atol=1e-6)


def test_tum_depth_of_another_time_is_not_used(folder, truth):
    write_tum(folder, truth)
    lines = (folder / "depth.txt").read_text().splitlines()
    (folder / "depth.txt").write_text("\n".join(lines[:2] + lines[3:]))  # the second view's is gone
    assert [frame.depth is None for frame in open_dataset(folder)] == [False, True, False, False]


@pytest.mark.parametrize(("number", "fx", "cy", "k1"), [(1, 517.3, 255.8, 0.2624), (3, 535.4, 248.1, None)])
def test_tum_cameras_by_their_number(folder, truth, number, fx, cy, k1):
    write_tum(folder, truth)
    (folder / "calibration.txt").unlink()
    text = (folder / "rgb.txt").read_text()
    (folder / "rgb.txt").write_text(text.replace("dataset_own", f"dataset_freiburg{number}_xyz"))
    for shot in truth.shots:
        save(folder / f"rgb/{shot.stamp:.6f}.png", np.zeros((480, 640, 3), np.uint8))
    lens = open_dataset(folder).reader.read(0).lens
    assert (lens.camera.fx, lens.camera.cy) == (fx, pytest.approx(cy))
    assert (lens.coefficients[0] if k1 else lens.is_distorted) == (k1 or False)


def test_tum_with_bad_lines(folder, truth):
    write_tum(folder, truth)
    (folder / "groundtruth.txt").write_text("100.0 1 2 3\n")
    with pytest.raises(InputError, match="position and a quaternion"):
        open_dataset(folder)
    (folder / "groundtruth.txt").write_text("nothing here at all to read 1 2\n")
    with pytest.raises(InputError, match="not numbers"):
        open_dataset(folder)
    (folder / "groundtruth.txt").write_text("7.0 0 0 0 0 0 0 1\n")
    with pytest.raises(InputError, match="4 images without a pose"):
        open_dataset(folder)


@recording("ScanNet, extracted (`color/`, `depth/`, `pose/`, `intrinsic/`)")
def test_scannet(typed, open_typed, folder, truth):
    """Depth comes from a camera of its own."""
    write_scannet(folder, truth)
    frames = list(open_typed(typed))
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_allclose(frame.world_from_camera, shot.pose, atol=1e-6)
        assert frame.camera.cx == pytest.approx(truth.camera.cx, abs=1e-6)
        seen = frame.depth > 0
        assert seen.mean() > 0.85
        assert np.median(np.abs(frame.depth - shot.depth)[seen]) < 1.5e-3
        assert np.percentile(np.abs(frame.depth - shot.depth)[seen], 80) < 6e-3
    assert same_colors(frames, truth.shots)


def test_scannet_of_two_places_is_refused_with_depth_only(folder, truth):
    write_scannet(folder, truth)
    moved = np.eye(4)
    moved[0, 3] = 0.03
    (folder / "intrinsic/extrinsic_depth.txt").write_text(matrix_text(moved))
    with pytest.raises(InputError, match="--no-depth"):
        open_dataset(folder)
    assert len(open_dataset(folder, use_depth=False)) == 4


@recording("ScanNet with its instances as label images")
def test_scannet_labels(typed, open_typed, folder, truth):
    write_scannet(folder, truth)
    first = open_typed(typed)[0]
    np.testing.assert_array_equal(
        np.where(first.labels == UNLABELLED, 0, first.labels), truth.shots[0].labels
    )


def test_scannet_lost_poses_and_scaled_images(folder, truth):
    """−inf is no pose; images that are smaller than their calibration's have their intrinsics scaled."""
    write_scannet(folder, truth)
    (folder / "pose/1.txt").write_text(matrix_text(np.full((4, 4), -np.inf)))
    (folder / "pose/2.txt").unlink()
    dataset = open_dataset(folder)
    assert dataset.names == ("0", "3") and dataset.dropped == {"images without a pose": 2}
    k = np.array([[1170.0, 0, 647.5, 0], [0, 1170.0, 483.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    (folder / "intrinsic/intrinsic_color.txt").write_text(matrix_text(k))
    camera = open_dataset(folder, use_depth=False)[0].camera
    assert (camera.fx, camera.cx) == (pytest.approx(1170 * WIDTH / 1296), WIDTH / 2)


@recording("ScanNet++ (`iphone/` with `rgb/` extracted, or `dslr/`)")
def test_scannetpp(typed, open_typed, folder, truth):
    write_scannetpp(folder / "iphone", truth)
    dataset = open_typed(typed)
    frames = list(dataset)
    assert dataset.dropped == {"frames marked as bad": 1}
    assert not any(frame.valid[:5].any() for frame in frames)
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_allclose(frame.world_from_camera, shot.pose, atol=1e-9)
        np.testing.assert_array_equal(frame.rgb[5:], shot.rgb[5:])
        assert np.median(np.abs(frame.depth - shot.depth)[6:]) < 1.5e-3
        assert frame.camera == truth.camera


def test_scannetpp_dslr(folder, truth):
    write_scannetpp(folder / "dslr", truth)
    (folder / "dslr/rgb").rename(folder / "dslr/resized_images")
    (folder / "dslr/rgb_masks").rename(folder / "dslr/resized_anon_masks")
    for path in (folder, folder / "dslr"):
        dataset = open_dataset(path, use_depth=False)
        assert len(dataset) == 4 and not dataset.has_depth and not dataset[0].valid[:5].any()


@recording("7-Scenes (`frame-000000.color.png`, `.depth.png`, `.pose.txt`)")
def test_seven_scenes(typed, open_typed, folder, truth):
    write_seven_scenes(folder, truth)
    c = truth.camera
    (folder / "calibration.txt").write_text(f"{c.fx} {c.fy} {c.cx - 0.5} {c.cy - 0.5}")
    frames = list(open_typed(typed))
    assert not any(frame.depth[0].any() for frame in frames)  # 65535
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_allclose(frame.depth[1:], shot.depth[1:], atol=0.51e-3)
        frame.depth[0] = shot.depth[0]
    assert agrees(frames, truth.shots, truth.camera, 1e-3) and same_colors(frames, truth.shots)


def test_seven_scenes_without_calibration(folder):
    """A slope z = 2 + X / 2 before the depth camera of f = 585, seen by the colour camera of f = 525 that is
    25 mm to the right of it."""
    x = (np.arange(640) - 320) / 585  # its tangents
    depth = np.broadcast_to(2 / (1 - 0.5 * x), (480, 640))
    save(folder / "frame-000000.color.png", np.zeros((480, 640, 3), np.uint8))
    save(folder / "frame-000000.depth.png", steps(depth, 1000))
    (folder / "frame-000000.pose.txt").write_text(matrix_text(np.diag([-1.0, -1, 1, 1])))
    frame = open_dataset(folder)[0]
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], [-0.025, 0, 0], atol=1e-9)
    x = (np.arange(640) - 320) / 525
    true = (2 + 0.0125) / (1 - 0.5 * x)
    seen = np.abs(x) < 0.52  # what the narrower camera sees
    assert np.abs(frame.depth[240, seen] - true[seen]).max() < 4e-3  # half a pixel of the slope
    assert np.abs(np.mean(frame.depth[240, seen] - true[seen])) < 1e-3
    assert not frame.depth[240, np.abs(x) > 0.57].any()


@recording("Replica as in iMAP and NICE-SLAM (`results/`, `traj.txt`)")
def test_replica(typed, open_typed, folder, truth):
    write_replica(folder, truth)
    frames = list(open_typed(typed))
    assert agrees(frames, truth.shots, truth.camera, 1 / 6553.5) and same_colors(frames, truth.shots)


@recording("a scene of BOP (`scene_camera.json`, `scene_gt.json`)")
def test_bop(typed, open_typed, folder, truth):
    write_bop(folder, truth)
    frames = list(open_typed(typed))
    assert agrees(frames, truth.shots, truth.camera, 1e-4) and same_colors(frames, truth.shots)


@recording("a scene of BOP with its masks as label images")
def test_bop_masks(typed, open_typed, folder, truth):
    """Instances keep their ids though the annotations' order changes from image to image."""
    write_bop(folder, truth)
    ids = {}
    for frame, shot in zip(open_typed(typed), truth.shots):
        found = np.where(frame.labels == UNLABELLED, 0, frame.labels)
        np.testing.assert_array_equal(found > 0, shot.labels > 0)
        for number in np.unique(shot.labels[shot.labels > 0]):
            (here,) = np.unique(found[shot.labels == number])
            assert ids.setdefault(int(number), int(here)) == here
    assert sorted(ids.values()) == list(range(1, len(ids) + 1))


def test_bop_models_are_ground_truth(folder, truth):
    """The models at their poses are the true objects, in metres."""
    from instascene_core.metrics.objects import load_truth

    scene = write_bop(folder, truth)
    dataset = open_dataset(scene)
    assert dataset.ground_truth == scene
    loaded = load_truth(dataset.ground_truth)
    assert len(loaded) == len(truth.scene.objects)
    for (mesh, row), thing in zip(loaded, truth.scene.objects):
        np.testing.assert_allclose(mesh.vertices, thing.mesh.vertices, atol=1e-6)
        assert row.name == f"object {10 + thing.id}"


def test_bop_without_camera_poses(folder, truth):
    """The world is the frame of an object that stands in every image."""
    dataset = open_dataset(write_bop(folder, truth, camera_poses=False))
    first = truth.scene.objects[0].world_from_object
    for pose, shot in zip(dataset.poses, truth.shots):
        np.testing.assert_allclose(pose, np.linalg.inv(first) @ shot.pose, atol=1e-6)


@recording("a Polycam raw data export (`keyframes/`)")
def test_polycam(typed, open_typed, folder, truth):
    write_polycam(folder, truth)
    dataset = open_typed(typed)
    frames = list(dataset)
    assert lifted(frames, truth.shots, unsure_rows=4) and same_colors(frames, truth.shots)
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_allclose(frame.world_from_camera, shot.pose, atol=1e-9)
        assert frame.camera == truth.camera and frame.stamp == pytest.approx(shot.stamp)
    assert dataset.remarks.counts["depth values that the sensor was not sure of"] == 4 * 4 * WIDTH // 2


def test_polycam_of_a_large_session_without_corrections(folder, truth):
    write_polycam(folder, truth)
    for name in ("images", "cameras"):
        (folder / f"keyframes/corrected_{name}").rename(folder / f"keyframes/{name}")
    dataset = open_dataset(folder)
    np.testing.assert_allclose(dataset.poses, [shot.pose for shot in truth.shots], atol=1e-9)
    assert any("no corrected images" in sentence for sentence in dataset.remarks.sentences)


@recording("a Record3D export (EXR + JPG sequence)")
def test_record3d(typed, open_typed, folder, truth):
    write_record3d(folder, truth, write_exr)
    frames = list(open_typed(typed))
    assert lifted(frames, truth.shots) and same_colors(frames, truth.shots)
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_allclose(frame.world_from_camera, shot.pose, atol=1e-9)
        assert frame.camera == truth.camera


def test_record3d_with_the_principal_point_of_the_sensor_on_its_side(folder, truth):
    write_record3d(folder, truth, write_exr)
    file = folder / "metadata.json"
    meta = json.loads(file.read_text())
    meta["K"][6], meta["K"][7] = meta["K"][7], meta["K"][6]
    file.write_text(json.dumps(meta))
    assert open_dataset(folder)[0].camera == truth.camera


def test_record3d_own_archive_is_refused(folder):
    folder.mkdir()
    (folder / "a.r3d").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"EXR \+ JPG"):
        open_dataset(folder / "a.r3d")


@recording("a Stray Scanner recording (`rgb.mp4`, `odometry.csv`)")
def test_stray(typed, open_typed, folder, truth):
    write_stray(folder, truth)
    frames = list(open_typed(typed))
    assert lifted(frames, truth.shots, unsure_rows=4)
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_allclose(frame.world_from_camera, shot.pose, atol=1e-6)
        assert frame.camera == truth.camera and frame.stamp == pytest.approx(shot.stamp, abs=1e-6)
        others = [np.abs(frame.rgb.astype(int) - other.rgb).mean() for other in truth.shots]
        assert np.argmin(others) == truth.shots.index(shot)  # the video is lossy
    assert frames[0].rgb.shape[:2] == (HEIGHT, WIDTH)


def test_stray_frames_in_any_order(folder, truth):
    write_stray(folder, truth)
    dataset = open_dataset(folder)
    forwards = [dataset[i].rgb for i in range(4)]
    for i in (3, 1, 2, 0):
        np.testing.assert_array_equal(dataset[i].rgb, forwards[i])


@recording("LLFF (`poses_bounds.npy`)")
def test_llff(typed, open_typed, folder, truth):
    camera = write_llff(folder, truth)
    assert agrees(list(open_typed(typed)), truth.shots, camera)


@recording("Blender's `transforms_train.json`")
def test_blender(typed, open_typed, folder, truth):
    camera = write_blender(folder, truth)
    frames = list(open_typed(typed))
    assert agrees(frames, truth.shots[:3], camera)
    for frame, shot in zip(frames, truth.shots):
        np.testing.assert_array_equal(frame.valid, truth.render(camera, shot.pose).labels > 0)


@recording("Blender's `transforms_test.json` or `transforms_val.json`")
def test_blender_other_splits(typed, open_typed, folder, truth):
    camera = write_blender(folder, truth)
    assert agrees(list(open_typed(typed)), truth.shots[3:], camera)


@recording("what `ns-process-data` wrote")
def test_ns_process_data(typed, open_typed, folder, truth):
    write_ns_process_data(folder, truth)
    frames = list(open_typed(typed))
    assert agrees(frames, truth.shots, truth.camera) and same_colors(frames, truth.shots)


@recording("RealityCapture or Metashape, exported for COLMAP")
def test_realitycapture_and_metashape(typed, open_typed, folder, truth):
    write_colmap_export(folder, truth)
    frames = list(open_typed(typed))
    assert agrees(frames, truth.shots, truth.camera) and same_colors(frames, truth.shots)


def test_no_two_formats_take_one_folder(tmp_path, truth):
    """Each layout is recognised by one class, and by no other."""
    writers = [write_tum, write_scannet, write_scannetpp, write_seven_scenes, write_replica, write_polycam,
               write_stray, write_llff,
               write_ns_process_data, write_colmap_export, write_blender]  # fmt: skip
    found = []
    for number, write in enumerate(writers):
        folder = tmp_path / str(number) / "recorded"
        folder.mkdir(parents=True)
        write(folder, truth)
        found.append([kind for kind in FORMATS if kind.find(folder)])
    assert [len(kinds) for kinds in found] == [1] * 8 + [0] * 3
    assert len({kinds[0] for kinds in found if kinds}) == 8
