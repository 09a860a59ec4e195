"""examples/grasp_node.py over DDS: completed objects in, grasps out, none of what has gone."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
import trimesh
from geometry_msgs.msg import Point, PoseArray
from instascene.msg import CompletedObject, Instance, InstanceArray
from nodes import LATCHED, ROOT, Client, wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from shape_msgs.msg import Mesh, MeshTriangle, Plane
from std_msgs.msg import Header

from instascene_ros.conversions import matrix_from_pose

MANY = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
NODE = ROOT / "examples" / "grasp_node.py"
HEADER = Header(frame_id="world")


def completed(number: int, size, at) -> CompletedObject:
    mesh = trimesh.creation.box(size).subdivide().subdivide().apply_translation(at)
    vertices = [Point(x=x, y=y, z=z) for x, y, z in mesh.vertices.tolist()]
    triangles = [MeshTriangle(vertex_indices=face) for face in mesh.faces.astype(np.uint32)]
    return CompletedObject(
        header=HEADER, instance_id=number, mesh=Mesh(vertices=vertices, triangles=triangles),
        vertex_observed=[1.0] * len(vertices),
    )  # fmt: skip


def instances(*numbers: int) -> InstanceArray:
    things = [Instance(id=number, kind="object", completed=True) for number in numbers]
    return InstanceArray(
        header=HEADER, instances=things, has_support=True, support=Plane(coef=[0.0, 0.0, 1.0, 0.0])
    )


def start(log, *words: str) -> subprocess.Popen:
    command = [sys.executable, str(NODE), "--ros-args", *words]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with log.open("w") as sink:
        return subprocess.Popen(
            command, stdout=sink, stderr=sink, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory, ros_domain):
    """The node, told before it started of a box and of another, close beside one half of it."""
    rclpy.init()
    client = Client("objects")
    objects = client.node.create_publisher(CompletedObject, "completed_objects", MANY)
    things = client.node.create_publisher(InstanceArray, "instances", LATCHED)
    log = tmp_path_factory.mktemp("grasps") / "log"
    things.publish(instances(1, 2))
    objects.publish(completed(1, (0.05, 0.1, 0.06), (0, 0, 0.03)))
    objects.publish(completed(2, (0.05, 0.05, 0.06), (0.056, 0.03, 0.03)))
    process = start(log, "-p", "count:=7", "-p", "opening:=0.08", "-p", "seed:=2")
    try:
        heard = client.listen(PoseArray, "grasps", LATCHED)
        yield SimpleNamespace(objects=objects, things=things, heard=heard, process=process, log=log)
    finally:
        process.terminate()
        process.wait(10)
        client.close()
        rclpy.try_shutdown()


def newest(world, condition) -> list[np.ndarray]:
    """The poses [4, 4] of the next message that fulfils the condition."""

    def found():
        assert world.process.poll() is None, world.log.read_text()
        return next((m for m in reversed(list(world.heard)) if condition(m)), None)

    message = wait_for(found, 30, "such grasps")
    assert message.header.frame_id == "world"
    return [matrix_from_pose(pose) for pose in message.poses]


def test_grasps_of_objects_that_were_there_before(world):
    """Of both; no finger in the gap of 6 mm."""
    poses = newest(world, lambda message: len(message.poses) == 14)
    for pose in poses[:7]:
        assert abs(pose[0, 1]) > 0.9 and pose[1, 3] < 0 and 0 < pose[2, 3] < 0.06 and pose[2, 2] < 0.1
    for pose in poses[7:]:
        assert abs(pose[1, 1]) > 0.9 and pose[0, 3] > 0.03


def test_an_object_that_left_takes_its_grasps_along_and_makes_room(world):
    world.heard.clear()
    world.things.publish(instances(1))
    poses = newest(world, lambda message: len(message.poses) == 7)
    assert any(pose[1, 3] > 0 for pose in poses)


def test_a_mesh_that_is_none_is_left_out_and_told(world):
    bad = completed(3, (0.05, 0.05, 0.05), (0.3, 0, 0.025))
    bad.vertex_observed = [1.0]
    world.objects.publish(bad)
    wait_for(lambda: "object 3 is left out: There are" in world.log.read_text(), 15, "it is told")


def test_what_comes_again_unchanged_is_not_sampled_again(world):
    """scene_node sends all objects anew when one has left."""
    done = world.log.read_text().count("grasps")
    world.objects.publish(completed(1, (0.05, 0.1, 0.06), (0, 0, 0.03)))
    world.things.publish(instances(1))
    time.sleep(1.0)
    assert world.log.read_text().count("grasps") == done
    world.objects.publish(completed(4, (0.04, 0.04, 0.04), (0.3, 0, 0.02)))  # listed late
    world.things.publish(instances(1, 4))
    newest(world, lambda message: len(message.poses) == 14)


def test_it_ends_with_a_signal(world):
    world.process.send_signal(2)
    assert world.process.wait(15) == 0
    assert "Traceback" not in world.log.read_text()


def test_a_gripper_that_cannot_be_is_refused_in_one_sentence(world, tmp_path):
    process = start(tmp_path / "log", "-p", "clearance:=0.05")
    assert process.wait(20) == 2
    told = (tmp_path / "log").read_text()
    assert told.strip() == "grasp_node: The clearance 0.05 leaves nothing of the opening 0.08."
