"""examples/05_moveit_grasp.py without MoveIt: one sentence; its goals with stand-ins for moveit_msgs."""

import importlib.util
import os
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Pose
from nodes import ROOT
from std_msgs.msg import Header

from instascene_ros.conversions import matrix_from_pose, pose_from_matrix

sys.path.insert(0, str(ROOT / "examples"))
moveit_grasp = import_module("05_moveit_grasp")  # what is numbered has no name for `import`

# Fields of moveit_msgs (2.x) that the example sets.
FIELDS = {
    "BoundingVolume": {"primitives", "primitive_poses", "meshes", "mesh_poses"},
    "PositionConstraint": {"header", "link_name", "target_point_offset", "constraint_region", "weight"},
    "OrientationConstraint": {
        "header", "orientation", "link_name", "absolute_x_axis_tolerance", "absolute_y_axis_tolerance",
        "absolute_z_axis_tolerance", "parameterization", "weight",
    },
    "Constraints": {
        "name", "joint_constraints", "position_constraints", "orientation_constraints",
        "visibility_constraints",
    },
}  # fmt: skip


def stand_ins() -> SimpleNamespace:
    def message(name: str):
        def make(**values):
            assert set(values) <= FIELDS[name]
            return SimpleNamespace(**values)

        return make

    def goal():
        scene = SimpleNamespace(is_diff=False, robot_state=SimpleNamespace(is_diff=False))
        return SimpleNamespace(
            request=SimpleNamespace(start_state=SimpleNamespace(is_diff=False)),
            planning_options=SimpleNamespace(planning_scene_diff=scene),
        )

    return SimpleNamespace(**{name: message(name) for name in FIELDS}, MoveGroup=SimpleNamespace(Goal=goal))


def a_pose() -> Pose:
    """Approaches along x of the map."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    matrix[:3, 3] = (0.5, 0.1, 0.2)
    return pose_from_matrix(matrix)


def test_the_place_before_a_grasp_lies_against_its_approach():
    place = matrix_from_pose(moveit_grasp.before(a_pose(), 0.1))
    np.testing.assert_allclose(place[:3, 3], [0.4, 0.1, 0.2], atol=1e-12)
    np.testing.assert_allclose(place[:3, :3], matrix_from_pose(a_pose())[:3, :3], atol=1e-12)
    turned = matrix_from_pose(a_pose()) @ matrix_from_pose(a_pose())
    place = matrix_from_pose(moveit_grasp.before(pose_from_matrix(turned), 0.3))
    np.testing.assert_allclose(place[:3, 3], turned[:3, 3] - 0.3 * turned[:3, 2], atol=1e-12)


def test_a_goal_asks_for_the_pose_and_does_not_move():
    header = Header(frame_id="map")
    goal = moveit_grasp.goal_of(stand_ins(), header, a_pose(), "arm", "tip", plan_only=True)
    assert goal.request.group_name == "arm" and goal.planning_options.plan_only
    (constraints,) = goal.request.goal_constraints
    (place,), (turn,) = constraints.position_constraints, constraints.orientation_constraints
    assert place.link_name == turn.link_name == "tip" and place.header.frame_id == "map"
    assert place.constraint_region.primitive_poses == [a_pose()] and turn.orientation == a_pose().orientation
    assert goal.request.start_state.is_diff and goal.planning_options.planning_scene_diff.is_diff


@pytest.mark.skipif(importlib.util.find_spec("moveit_msgs") is not None, reason="moveit_msgs is installed")
def test_without_moveit_one_sentence_says_what_to_install():
    command = [
        sys.executable,
        str(ROOT / "examples" / "05_moveit_grasp.py"),
        "--group",
        "arm",
        "--tip",
        "tip",
    ]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60
    )
    assert done.returncode == 1 and done.stderr.strip() == moveit_grasp.MISSING
