"""Worlds far from the origin, as in UTM coordinates: computed near it, told where they are."""

import json
import logging

import numpy as np
import pytest
from recorded_room import recording as views
from recordings_table import recording
from scipy.spatial import cKDTree

from instascene_core import cli
from instascene_core.config_file import load_config
from instascene_core.datasets import open_dataset
from instascene_core.export.object_loading import load_object
from instascene_core.export.saved_scene import load_scene, save_scene, write_recording
from instascene_core.geometry import TriangleMesh
from instascene_core.local_frame import FARTHEST, STEP, TOLERANCE, moved, offset_for
from instascene_core.metrics import evaluate_objects, load_truth
from instascene_core.scene import Scene
from instascene_core.scene.region import box_of_region, local_region

MOVE = np.array([4.5e6, 5.2e6, 300.0])  # metres, as UTM coordinates are
SETTINGS = ("reconstruction.iterations=100", "reconstruction.max_gaussians=6000", "completion.num_samples=1")


def turned(frames, degrees: float, move: np.ndarray):
    """The frames of a world turned about z and then moved."""
    angle = np.radians(degrees)
    world = np.eye(4)
    world[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    world[:3, 3] = move
    return [frame.with_(world_from_camera=world @ frame.world_from_camera) for frame in frames]


def made_of(frames, *settings: str) -> Scene:
    scene = Scene(load_config(None, (*SETTINGS, *settings)))
    for frame in frames:
        scene.add_frame(frame)
    scene.run()
    return scene


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_rule_follows_from_the_rounding():
    """Up to FARTHEST ten roundings cost less than TOLERANCE; beyond, whole steps come off, exactly."""
    rounding = float(np.spacing(np.float32(FARTHEST))) / 2
    assert 10 * rounding <= 1.001 * TOLERANCE < 10 * 2.01 * rounding
    assert not offset_for(np.array([0.9 * FARTHEST, 0, 0])).any()
    position = MOVE + np.array([3.25, -4.0, 1.5])
    offset = offset_for(position)
    np.testing.assert_array_equal(offset % STEP, 0)
    assert np.abs(position - offset).max() <= STEP / 2
    np.testing.assert_array_equal((position - offset) + offset, position)


def test_near_scenes_stay_as_they_are():
    """Not a copy: the very same poses, regions and instances."""
    frames = views(3)
    scene = Scene()
    for frame in frames:
        scene.add_frame(frame)
    assert all(a is b for a, b in zip(scene.frames, frames)) and not scene.world_offset.any()
    assert "world_offset_m" not in scene.metrics
    pose = frames[0].world_from_camera
    assert moved(pose, np.zeros(3)) is pose
    assert local_region("0 0 0 1 1 1", np.zeros(3)) == "0 0 0 1 1 1"


def test_a_far_scene_is_placed_by_its_first_frame_and_says_so(caplog):
    frames = turned(views(3), 0, MOVE)
    scene = Scene()
    with caplog.at_level(logging.WARNING):
        for frame in frames:
            scene.add_frame(frame)
    np.testing.assert_array_equal(scene.world_offset, MOVE)
    assert scene.metrics["world_offset_m"] == MOVE.tolist()
    (said,) = [r.getMessage() for r in caplog.records if "local frame" in r.getMessage()]
    assert "0.5 m apart" in said and "(4500000, 5200000, 300)" in said
    for frame, given in zip(scene.frames, frames):
        back = moved(frame.world_from_camera, MOVE)
        np.testing.assert_array_equal(back[:3, 3], given.world_from_camera[:3, 3])
        np.testing.assert_allclose(back, given.world_from_camera, atol=1e-14)
    scene.reset()
    assert not scene.world_offset.any()


def test_a_frame_far_from_the_first_is_said(caplog):
    first, second = views(2)
    scene = Scene()
    scene.add_frame(first)
    with caplog.at_level(logging.WARNING):
        scene.add_frame(turned([second], 0, MOVE)[0])
    assert second.name in caplog.text and "check its pose" in caplog.text


def test_regions_are_of_the_world():
    box = box_of_region(local_region("4500000 5200000 300 4500001 5200002 300.5", MOVE))
    np.testing.assert_allclose(box, [[0, 0, 0], [1, 2, 0.5]], atol=1e-9)
    assert local_region("auto", MOVE) == "auto"


def write_double_ply(path, mesh: TriangleMesh) -> None:
    """A PLY whose vertices have 64 bits."""
    header = ["ply", "format ascii 1.0", f"element vertex {len(mesh.vertices)}"]
    header += [f"property double {axis}" for axis in "xyz"]
    header += [f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices", "end_header"]
    rows = [" ".join(map(repr, row)) for row in mesh.vertices.tolist()]
    rows += [f"3 {a} {b} {c}" for a, b, c in mesh.triangles.tolist()]
    path.write_text("\n".join([*header, *rows]) + "\n")


# ── the whole job ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def both():
    """The same recording, turned by 30°, near the origin and far from it."""
    frames = turned(views(), 30, np.zeros(3))
    return made_of(frames), made_of(turned(frames, 0, MOVE))


def test_a_far_scene_gives_the_same_objects(both):
    near, far = both
    assert set(near.objects) == set(far.objects) and len(near.objects) >= 3
    for number, thing in near.objects.items():
        placed = far.objects[number].in_world()
        # The same surface: a rounding may give one more vertex where it crosses the corner of a voxel.
        one, other = placed.mesh.vertices - MOVE, thing.mesh.vertices
        apart = np.concatenate([cKDTree(one).query(other)[0], cKDTree(other).query(one)[0]])
        assert abs(len(one) - len(other)) <= 0.001 * len(other) and (apart < 1e-4).mean() > 0.999
        np.testing.assert_allclose(placed.volume, thing.volume, rtol=1e-3)
        pose = moved(placed.world_from_object, -MOVE)
        np.testing.assert_allclose(pose, thing.world_from_object, atol=1e-4)
        np.testing.assert_allclose(placed.dimensions, thing.dimensions, atol=1e-4)
        assert placed.in_world() is placed and thing.in_world() is thing


def test_a_far_scene_on_disk(both, tmp_path):
    """JSON is of the world, meshes are of the objects' frames; all of it reads back."""
    _, far = both
    save_scene(far, tmp_path / "out", with_frames=True)
    described = json.loads((tmp_path / "out" / "scene.json").read_text())
    assert described["world_offset_m"] == MOVE.tolist()
    first = np.array(described["frames"][0]["world_from_camera"])
    np.testing.assert_allclose(first, turned(views(1), 30, MOVE)[0].world_from_camera, atol=1e-8)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["world_offset_m"] == MOVE.tolist()
    assert "world_offset_m" in (tmp_path / "out" / "report.html").read_text()
    for number, thing in far.objects.items():
        facts = json.loads((tmp_path / "out" / "objects" / str(number) / "object.json").read_text())
        assert facts["world_offset_m"] == MOVE.tolist()
        np.testing.assert_allclose(facts["position_m"], thing.in_world().world_from_object[:3, 3], atol=1e-8)
        again = load_object(tmp_path / "out" / "objects" / str(number))
        np.testing.assert_allclose(again.in_world().mesh.vertices, thing.in_world().mesh.vertices, atol=1e-6)
        for part, other in zip(again.convex_parts, thing.convex_parts, strict=True):
            np.testing.assert_allclose(part.vertices, other.vertices, atol=1e-5)
    loaded = load_scene(tmp_path / "out")
    again = loaded.scene
    assert loaded.frames_found == len(far.frames)
    np.testing.assert_array_equal(again.world_offset, MOVE)
    for frame, other in zip(again.frames, far.posed_frames, strict=True):
        np.testing.assert_allclose(frame.world_from_camera, other.world_from_camera, atol=2e-9)
    for one, other in zip(again.instances.instances, far.instances.instances, strict=True):
        np.testing.assert_allclose(one.box_min, other.box_min, atol=2e-9)
    np.testing.assert_allclose(again.instances.support.offset, far.instances.support.offset, atol=1e-8)
    number = next(iter(far.objects))
    completed = again.complete(number)
    np.testing.assert_array_equal(completed.world_offset, MOVE)
    top = far.objects[number].in_world().mesh.vertices
    clicked = again.segment_at(point=top[top[:, 2].argmax()], preview=True)
    assert clicked.instance.id == number
    np.testing.assert_allclose(clicked.point, top[top[:, 2].argmax()], atol=0.02)
    save_scene(again, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "scene.json").read_text())["world_offset_m"] == MOVE.tolist()


def test_a_far_scene_against_the_truth(both, tmp_path):
    """True meshes are of the world, in 64-bit numbers or with the offset beside."""
    _, far = both
    folder = tmp_path / "truth" / "meshes"
    folder.mkdir(parents=True)
    for number, thing in far.objects.items():
        write_double_ply(folder / f"{number}.ply", thing.in_world().mesh)
    assert len(load_truth(tmp_path / "truth")) == len(far.objects)
    accuracy = evaluate_objects(far.objects, tmp_path / "truth")
    assert accuracy.mean_volume_iou_all > 0.99 and accuracy.spurious == 0
    assert accuracy.mean_chamfer < 1e-4
    for number, thing in far.objects.items():
        write_double_ply(folder / f"{number}.ply", thing.mesh)
    beside = {"objects": [], "world_offset_m": MOVE.tolist()}
    (tmp_path / "truth" / "scene.json").write_text(json.dumps(beside))
    assert evaluate_objects(far.objects, tmp_path / "truth").mean_volume_iou_all > 0.99


def test_a_box_of_the_world_chooses_the_objects(both):
    """The region is given in the world's coordinates, also where the scene is computed elsewhere."""
    _, far = both
    placed = next(iter(far.objects.values())).in_world().mesh.vertices
    box = np.concatenate([placed.min(0) - 0.02, placed.max(0) + 0.02])
    frames = turned(views(), 30, MOVE)
    scene = Scene(load_config(None, (*SETTINGS, "region=" + " ".join(map(repr, box.tolist())))))
    for frame in frames:
        scene.add_frame(frame)
    scene.take_reconstruction(far.state.require_reconstruction())
    scene.segment()
    assert len(scene.instances.objects) == 1


@recording("poses far from the origin (UTM coordinates)")
def test_the_command_line_tells_the_offset(typed, tmp_path, capsys):
    write_recording(tmp_path / "in", turned(views(), 0, MOVE))
    poses = open_dataset(tmp_path / "in").poses
    assert np.abs(poses[:, :3, 3] - MOVE).max() < 2
    words = typed.replace("INPUT", str(tmp_path / "in")).replace("OUT", str(tmp_path / "out")).split()[1:]
    words += ["--stop-after", "segment", "--hold-out", "6"]
    cli.main(words + [word for setting in SETTINGS for word in ("--set", setting)])
    assert "world_offset_m" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["held_out_psnr"] > 15
