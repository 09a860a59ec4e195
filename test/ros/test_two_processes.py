"""The job end to end: player and scene node as two processes over DDS, on a small procedural scene.

The tests share one pair of processes and run in the order of this file.
"""

import math
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped
from instascene.action import BuildScene, CompleteInstances
from instascene.msg import CompletedObject, InstanceArray, SceneStatus
from instascene.srv import (
    CompleteInstance,
    GetInstance,
    LoadScene,
    RemoveInstance,
    ResetScene,
    SaveScene,
    SegmentAt,
    SegmentInstances,
)
from nodes import (
    END_S,
    LATCHED,
    Client,
    error_count,
    next_status,
    result_of,
    running,
    wait_for,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import is_watertight, signed_distance
from instascene_ros.conversions import matrix_from_pose

NUM_OBJECTS, NUM_VIEWS = 3, 14
ITERATIONS = 150


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

    folder = tmp_path_factory.mktemp("scene")
    config = SyntheticConfig(
        seed=3,
        num_objects=NUM_OBJECTS,
        num_views=NUM_VIEWS,
        width=192,
        height=144,
        supersampling=1,
        room=False,
        layout="spread",
        kinds=("box", "can", "bottle"),
    )
    write_dataset(generate_scene(config), folder)
    return folder


@pytest.fixture(scope="module")
def world(dataset, tmp_path_factory, ros_domain):
    """The running scene node and a client with ears on its topics."""
    folder = tmp_path_factory.mktemp("nodes")
    rclpy.init()
    client = Client("test_client")
    parameters = {
        "data_dir": folder / "data",
        "reconstruction.iterations": ITERATIONS,
        "keyframe_translation_m": 0.0,
        "keyframe_rotation_deg": 0.0,
        "sync_wait_s": 1.0,
        "status_period_s": 0.2,
    }
    with running("scene_node", parameters, folder / "scene_node.log") as node:
        yield SimpleNamespace(
            node=node,
            client=client,
            folder=folder,
            dataset=dataset,
            status=client.listen(SceneStatus, "status"),
            completed=client.listen(CompletedObject, "completed_objects"),
            diagnostics=client.listen(DiagnosticArray, "/diagnostics"),
            objects={},  # id → Instance message
            meshes={},  # id → completed TriangleMesh
        )
    client.close()
    rclpy.try_shutdown()


def newest_status(world, condition=lambda status: True, timeout=20.0) -> SceneStatus:
    return next_status(world.status, condition, timeout)


# ── before there is a scene ───────────────────────────────────────────────────────────────────────


def test_services_before_there_is_a_scene(world):
    call = world.client.call
    answers = [
        (call(SegmentInstances, "segment_instances"), "at least 2 are needed"),
        (call(CompleteInstance, "complete_instance", instance_id=1), "at least 2 are needed"),
        (call(GetInstance, "get_instance", instance_id=1), "no instances yet; call segment_instances first"),
        (call(SaveScene, "save_scene", name="early"), "no reconstruction yet; call segment_instances"),
    ]
    for answer, words in answers:
        assert not answer.success and words in answer.message and "\n" not in answer.message
    status = newest_status(world)
    assert status.state == SceneStatus.STATE_WAITING and math.isnan(status.psnr)
    assert error_count(status, "not ready") == 4
    assert not (world.folder / "data" / "early").exists()


# ── the job ───────────────────────────────────────────────────────────────────────────────────────


def test_player_sends_every_frame_and_ends(world):
    parameters = {"dataset": world.dataset, "rate": 20.0, "use_masks": False}
    with running("dataset_player", parameters, world.folder / "player.log") as player:
        assert player.wait(60.0) == 0, player.log.read_text()
    status = newest_status(world, lambda s: s.frames_used == NUM_VIEWS)
    assert status.frames_received == NUM_VIEWS and status.frames_dropped == 0
    assert status.state == SceneStatus.STATE_READY and status.header.frame_id == "map"
    assert f"{NUM_VIEWS} of {NUM_VIEWS} frames sent" in player.log.read_text()


def test_segment_instances(world):
    answer = world.client.call(SegmentInstances, "segment_instances", timeout=180.0)
    assert answer.success, answer.message
    assert answer.instances.header.frame_id == "map"
    world.objects = {i.id: i for i in answer.instances.instances if i.kind == "object"}
    assert len(world.objects) == NUM_OBJECTS and answer.instances.has_support
    c, d = answer.instances.support.coef[2:]
    assert c > 0.99 and abs(d) < 0.01  # the table is z = 0
    status = newest_status(world)
    assert status.gaussians > 1000 and status.psnr > 15 and status.instances >= NUM_OBJECTS


def truth_meshes(world) -> list[TriangleMesh]:
    import json

    import trimesh

    folder = world.dataset / "ground_truth"
    meshes = []
    for entry in json.loads((folder / "scene.json").read_text())["objects"]:
        mesh = trimesh.load(folder / entry["mesh"], process=False)
        meshes.append(TriangleMesh(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32)))
    return meshes


def volume_iou(a: TriangleMesh, b: TriangleMesh) -> float:
    both = np.concatenate([a.vertices, b.vertices])
    points = np.random.default_rng(0).uniform(both.min(0), both.max(0), (40_000, 3))
    inside_a, inside_b = signed_distance(a, points) < 0, signed_distance(b, points) < 0
    return float((inside_a & inside_b).sum() / max(1, (inside_a | inside_b).sum()))


def mesh_of(message) -> TriangleMesh:
    vertices = np.array([[p.x, p.y, p.z] for p in message.vertices])
    return TriangleMesh(vertices, np.array([t.vertex_indices for t in message.triangles], np.int32))


def test_complete_instance_gives_watertight_meshes_in_the_map_frame(world):
    truth, matched = truth_meshes(world), set()
    for instance_id in world.objects:
        answer = world.client.call(CompleteInstance, "complete_instance", instance_id=instance_id)
        assert answer.success, answer.message
        result = answer.completed_object
        mesh = mesh_of(result.mesh)
        assert result.header.frame_id == "map" and result.instance_id == instance_id
        assert result.watertight and is_watertight(mesh)
        assert 4 <= len(mesh.triangles) <= 20_000
        assert len(result.vertex_colors) == len(result.vertex_observed) == len(mesh.vertices)
        assert 0 < result.observed_fraction <= 1 and result.volume > 0
        # The pose is that of the box: all vertices lie in it, standing on its origin.
        local = (
            np.linalg.inv(matrix_from_pose(result.pose)) @ np.c_[mesh.vertices, np.ones(len(mesh.vertices))].T
        )[:3].T
        half = np.array([result.dimensions.x, result.dimensions.y]) / 2
        assert (np.abs(local[:, :2]) <= half + 1e-3).all()
        assert abs(local[:, 2].min()) < 1e-3 and abs(local[:, 2].max() - result.dimensions.z) < 1e-3
        scores = [volume_iou(mesh, other) for other in truth]
        assert max(scores) > 0.5, scores
        matched.add(int(np.argmax(scores)))
        world.meshes[instance_id] = mesh
    assert matched == set(range(NUM_OBJECTS))
    wait_for(lambda: len(world.completed) == NUM_OBJECTS, 10, "every completion on its topic")
    assert newest_status(world).completed_objects == NUM_OBJECTS


def test_same_seed_same_mesh(world):
    instance_id = min(world.objects)
    answer = world.client.call(CompleteInstance, "complete_instance", instance_id=instance_id, seed=0)
    mesh = mesh_of(answer.completed_object.mesh)
    np.testing.assert_array_equal(mesh.vertices, world.meshes[instance_id].vertices)
    np.testing.assert_array_equal(mesh.triangles, world.meshes[instance_id].triangles)


def test_late_subscriber_gets_markers_instances_and_gaussians(world):
    late = Client("late_client")
    try:
        markers = late.listen(MarkerArray, "markers", LATCHED)
        instances = late.listen(InstanceArray, "instances", LATCHED)
        clouds = late.listen(PointCloud2, "gaussians", LATCHED)
        wait_for(lambda: markers and instances and clouds, 15, "all three arrive")
    finally:
        late.close()
    shown = [m for m in markers[-1].markers if m.action == Marker.ADD]
    for namespace in ("mesh", "surface", "box", "label"):
        assert {m.id for m in shown if m.ns == namespace} == set(world.objects)
    assert all(m.header.frame_id == "map" for m in shown)
    for marker in shown:
        if marker.type == Marker.TRIANGLE_LIST:
            assert len(marker.points) % 3 == 0 and 12 <= len(marker.points) <= 60_000
            assert len(marker.colors) == len(marker.points)
    completed = {i.id for i in instances[-1].instances if i.completed}
    assert completed == set(world.objects)
    cloud = clouds[-1]
    assert cloud.width == newest_status(world).gaussians
    assert [f.name for f in cloud.fields][:5] == ["x", "y", "z", "rgb", "instance"]


def test_rendered_image_comes_when_somebody_looks(world):
    images = world.client.listen(Image, "rendered/image")
    infos = world.client.listen(CameraInfo, "rendered/camera_info")
    wait_for(lambda: images and infos, 20, "a rendered image")
    assert images[0].header == infos[0].header and images[0].header.frame_id == "camera_optical_frame"
    assert (infos[0].width, infos[0].height) == (192, 144) and infos[0].k[0] > 0
    assert (images[0].width, images[0].height, images[0].encoding) == (192, 144, "rgb8")
    assert np.frombuffer(images[0].data, np.uint8).std() > 5


def test_get_instance(world):
    instance_id = min(world.objects)
    answer = world.client.call(GetInstance, "get_instance", instance_id=instance_id)
    assert answer.success and answer.instance.id == instance_id and answer.instance.completed
    assert answer.completed_object.watertight and answer.header.frame_id == "map"


def test_a_click_gives_the_instance(world):
    """On its top, by a point; and in the newest frame, by the pixel that shows it."""
    for instance_id, instance in world.objects.items():
        centre = np.array([getattr(instance.box_min, a) + getattr(instance.box_max, a) for a in "xyz"]) / 2
        point = PointStamped(header=Header(frame_id="map"))
        point.point.x, point.point.y, point.point.z = centre[0], centre[1], instance.box_max.z
        answer = world.client.call(SegmentAt, "segment_at", use_point=True, point=point)
        assert answer.success, answer.message
        assert answer.instance_id == instance_id and not answer.created
        assert answer.sizes[answer.level_index] == answer.instance.num_gaussians
    seen = [
        world.client.call(SegmentAt, "segment_at", x=x, y=y, preview=True)
        for x in range(24, 192, 24)
        for y in range(24, 144, 24)
    ]
    known = {answer.instance_id for answer in seen if answer.success and not answer.created}
    assert known >= set(world.objects)
    refused = world.client.call(SegmentAt, "segment_at", x=192, y=0)
    assert not refused.success and "192×144" in refused.message


def test_save_scene(world):
    answer = world.client.call(SaveScene, "save_scene", name="run/one")
    assert answer.success, answer.message
    folder = world.folder / "data" / "run" / "one"
    assert answer.folder == str(folder)
    assert {"scene.ply", "scene.json", "metrics.json"} <= set(answer.files)
    assert len(list((folder / "instances").glob("*.png"))) == NUM_VIEWS
    for instance_id in world.objects:
        assert (folder / "objects" / str(instance_id) / "mesh.ply").stat().st_size > 100
    assert sorted([*answer.files, ".instascene/manifest.json"]) == sorted(
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()
    )


def test_an_object_is_taken_away_and_the_saved_scene_brings_it_back(world):
    gone = max(world.objects)
    answer = world.client.call(RemoveInstance, "remove_instance", instance_id=gone)
    assert answer.success and answer.removed > 50, answer.message
    assert not world.client.call(GetInstance, "get_instance", instance_id=gone).success
    answer = world.client.call(LoadScene, "load_scene", name="run/one")
    assert answer.success and answer.frames == NUM_VIEWS, answer.message
    assert set(answer.completed_ids) == set(world.objects)
    assert world.client.call(GetInstance, "get_instance", instance_id=gone).completed_object.watertight
    again = world.client.call(CompleteInstance, "complete_instance", instance_id=gone)
    assert again.success and again.completed_object.watertight, again.message


# ── actions ───────────────────────────────────────────────────────────────────────────


def test_complete_instances_reports_what_failed(world):
    feedback = []
    known = min(world.objects)
    goal = world.client.send_goal(
        CompleteInstances, "complete_instances", feedback, instance_ids=[known, 4711]
    )
    outcome = result_of(goal)
    assert outcome.status == GoalStatus.STATUS_SUCCEEDED and not outcome.result.success
    assert list(outcome.result.completed_ids) == [known] and list(outcome.result.failed_ids) == [4711]
    assert "no instance 4711" in outcome.result.failures[0]
    assert outcome.result.message == f"1 of 2 objects failed: {outcome.result.failures[0]}"
    assert {(f.instance_id, f.index, f.total) for f in feedback} >= {(known, 1, 2), (4711, 2, 2)}


def test_cancelling_build_scene_leaves_the_scene_as_it_was(world):
    feedback = []
    goal = world.client.send_goal(BuildScene, "build_scene", feedback, iterations=100_000)
    wait_for(lambda: any(f.progress > 0 for f in feedback), 60, "feedback")
    busy = newest_status(world)
    assert busy.state == SceneStatus.STATE_BUSY and busy.stage
    wait_for(goal.cancel_goal_async().done, 20, "the cancel request is answered")
    outcome = result_of(goal, 30)
    assert outcome.status == GoalStatus.STATUS_CANCELED and not outcome.result.success
    assert outcome.result.message == "Cancelled; the scene is as it was before."
    answer = world.client.call(GetInstance, "get_instance", instance_id=min(world.objects))
    assert answer.success and answer.completed_object.watertight


# ── reset, end ──────────────────────────────────────────────────────────────────────────────────────


def test_reset_scene(world):
    markers = world.client.listen(MarkerArray, "markers", LATCHED)
    wait_for(lambda: markers, 10, "the present markers")
    assert world.client.call(ResetScene, "reset_scene").success
    status = newest_status(world)
    assert (status.frames_received, status.frames_used, status.gaussians, status.errors) == (0, 0, 0, 0)
    assert status.state == SceneStatus.STATE_WAITING
    wait_for(
        lambda: all(m.action == Marker.DELETE for m in markers[-1].markers), 10, "markers are taken away"
    )
    assert {m.id for m in markers[-1].markers} == set(world.objects)
    assert not world.client.call(GetInstance, "get_instance", instance_id=1).success


def test_interrupt_ends_both_processes_while_they_work(world):
    """The player in the middle of its dataset, the node in the middle of a long optimisation."""
    with running(
        "dataset_player", {"dataset": world.dataset, "rate": 2.0}, world.folder / "p2.log"
    ) as player:
        newest_status(world, lambda s: s.frames_used >= 2, 40)
        world.client.send_goal(BuildScene, "build_scene", iterations=100_000)
        newest_status(world, lambda s: s.state == SceneStatus.STATE_BUSY and s.progress > 0, 60)
        assert player.process.poll() is None
        for process in (player, world.node):
            code, seconds = process.interrupt()
            assert code == 0, process.log.read_text()
            assert seconds < END_S
            assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize("stage", ["segmentation", "features", "complete"])
def test_an_interrupt_ends_the_node_at_each_stage(world, tmp_path, stage):
    """After the reconstruction (above): amid masks, features, the completion of an object."""
    parameters = {
        "data_dir": tmp_path / "data", "keyframe_translation_m": 0.0, "keyframe_rotation_deg": 0.0,
        "sync_wait_s": 1.0, "status_period_s": 0.2, "work_ahead": False,
        "reconstruction.iterations": ITERATIONS,
    }  # fmt: skip
    player = {"dataset": world.dataset, "rate": 20.0, "use_masks": False}
    with running("scene_node", parameters, tmp_path / "node.log") as node:
        world.status.clear()
        newest_status(world, lambda s: s.frames_received == 0, 30)
        with running("dataset_player", player, tmp_path / "player.log") as process:
            assert process.wait(60.0) == 0, process.log.read_text()
        newest_status(world, lambda s: s.frames_used == NUM_VIEWS)
        told: list = []
        if stage == "complete":
            assert world.client.call(SegmentInstances, "segment_instances", timeout=180.0).success
            world.client.send_goal(CompleteInstances, "complete_instances", told)
        else:
            world.client.send_goal(BuildScene, "build_scene", told, segment=True)
        # An action's feedback names the stage in words while objects are completed.
        wait_for(lambda: any(stage in ("complete", f.stage) for f in told), 120, f"the stage {stage}")
        code, seconds = node.interrupt()
        assert code == 0 and seconds < END_S, node.log.read_text()
        assert "Traceback" not in node.log.read_text()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_idle_node(tmp_path, ros_domain, sign):
    with running("scene_node", {"data_dir": tmp_path}, tmp_path / "node.log") as node:
        wait_for(lambda: "ready" in node.log.read_text(), 30, "the node is ready")
        code, seconds = node.interrupt(sign)
        assert code == 0 and seconds < END_S, node.log.read_text()
        assert "Traceback" not in node.log.read_text()


@pytest.mark.parametrize(
    "name, parameters, words",
    [
        ("scene_node", {"reconstruction.iteratons": 5}, "did you mean 'reconstruction.iterations'"),
        ("scene_node", {"pose_source": "gps"}, "takes one of"),
        ("dataset_player", {"rate": 5.0}, "nothing to play"),
        ("dataset_player", {"dataset": "/nonexistent/scene"}, "/nonexistent/scene"),
        ("dataset_player", {"dataset": "/nonexistent", "sacle": 0.5}, "did you mean 'scale'"),
    ],
)
def test_bad_parameters_end_a_node_with_one_sentence(tmp_path, ros_domain, name, parameters, words):
    with running(name, parameters, tmp_path / "log") as process:
        assert process.wait(60.0) == 2
    text = process.log.read_text()
    assert words in text and "Traceback" not in text and len(text.strip().splitlines()) == 1
