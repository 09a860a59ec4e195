#!/usr/bin/env python3
"""Plans with MoveIt to a grasp of grasp_node.py:

    python examples/05_moveit_grasp.py --group arm --tip hand_tcp

scene_node tells MoveIt of the objects by itself (`/collision_object`).  This takes the `grasps`, best first,
and asks move_group (action `move_action`) for a plan to a place a little before each, until it has one.  It
only plans unless `--execute` is given.  docs/ros/moveit.md tells the whole of it.
"""

import argparse
import sys
from collections.abc import Iterator
from types import SimpleNamespace

MISSING = (
    "moveit_msgs is not installed; `apt install ros-$ROS_DISTRO-moveit-msgs` brings it (the rest of MoveIt "
    "may run elsewhere)."
)
WAIT_S = 30.0  # for grasps and for move_group
POSITION_TOLERANCE, ANGLE_TOLERANCE = 0.002, 0.02  # metres, radians


def messages() -> SimpleNamespace:
    """What is used of moveit_msgs.  SystemExit with one sentence where it is not installed."""
    try:
        from moveit_msgs import action, msg
    except ImportError:
        sys.exit(MISSING)
    return SimpleNamespace(**vars(msg), MoveGroup=action.MoveGroup)


def before(pose, distance: float):
    """A pose that is `distance` metres behind another along its own approach (z)."""
    from geometry_msgs.msg import Point, Pose

    q = pose.orientation
    z = (2 * (q.x * q.z + q.w * q.y), 2 * (q.y * q.z - q.w * q.x), 1 - 2 * (q.x * q.x + q.y * q.y))
    p = (pose.position.x, pose.position.y, pose.position.z)
    x, y, z = (a - distance * b for a, b in zip(p, z))
    return Pose(position=Point(x=x, y=y, z=z), orientation=q)


def goal_of(types, header, pose, group: str, tip: str, plan_only: bool):
    """A MoveGroup goal: the link `tip` at `pose`."""
    from shape_msgs.msg import SolidPrimitive

    sphere = SolidPrimitive(type=SolidPrimitive.SPHERE, dimensions=[POSITION_TOLERANCE])
    region = types.BoundingVolume(primitives=[sphere], primitive_poses=[pose])
    place = types.PositionConstraint(header=header, link_name=tip, constraint_region=region, weight=1.0)
    turn = types.OrientationConstraint(
        header=header, link_name=tip, orientation=pose.orientation, weight=1.0,
        absolute_x_axis_tolerance=ANGLE_TOLERANCE, absolute_y_axis_tolerance=ANGLE_TOLERANCE,
        absolute_z_axis_tolerance=ANGLE_TOLERANCE,
    )  # fmt: skip
    constraints = types.Constraints(position_constraints=[place], orientation_constraints=[turn])
    goal = types.MoveGroup.Goal()
    goal.request.group_name, goal.request.goal_constraints = group, [constraints]
    goal.request.start_state.is_diff = True  # from where the robot is
    goal.request.num_planning_attempts, goal.request.allowed_planning_time = 5, 5.0
    goal.request.max_velocity_scaling_factor = goal.request.max_acceleration_scaling_factor = 0.1
    goal.planning_options.plan_only = plan_only
    goal.planning_options.planning_scene_diff.is_diff = True
    goal.planning_options.planning_scene_diff.robot_state.is_diff = True
    return goal


def results(node, client, goals) -> Iterator[int]:
    """MoveIt's error codes (1 = success; 0 = the goal was not accepted), goal by goal."""
    import rclpy

    for goal in goals:
        sent = client.send_goal_async(goal)
        rclpy.spin_until_future_complete(node, sent)
        if not sent.result().accepted:
            yield 0
            continue
        ended = sent.result().get_result_async()
        rclpy.spin_until_future_complete(node, ended)
        yield ended.result().result.error_code.val


def plan(types, options) -> str:
    """What came of it, as one sentence; beginning with "Planned" where there is a way."""
    import time

    import rclpy
    from geometry_msgs.msg import PoseArray
    from rclpy.action.client import ActionClient
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    latched = QoSProfile(
        depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )
    node = rclpy.create_node("moveit_grasp")
    heard: list[PoseArray] = []
    node.create_subscription(PoseArray, "grasps", heard.append, latched)
    client = ActionClient(node, types.MoveGroup, "move_action")
    end = time.monotonic() + options.wait
    while not (heard and heard[-1].poses) and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.2)
    if not heard:
        return "Nothing arrives on `grasps`; start examples/grasp_node.py."
    grasps = heard[-1]
    if not grasps.poses:
        return "There is no grasp yet; complete an object, or look at the parameters of grasp_node."
    if not client.wait_for_server(timeout_sec=options.wait):
        return "move_group does not offer the action move_action; start MoveIt for your robot."
    places = [before(pose, options.distance) for pose in grasps.poses]
    asked = (options.group, options.tip, not options.execute)
    goals = (goal_of(types, grasps.header, place, *asked) for place in places)
    codes = []
    for index, code in enumerate(results(node, client, goals)):
        if code == 1:
            done = "moved" if options.execute else "not moved, as --execute was not given"
            return f"Planned to grasp {index + 1} of {len(places)} ({done})."
        codes.append(code)
    return f"None of {len(places)} grasps can be reached; MoveIt's error codes: {sorted(set(codes))}."


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--group", required=True, help="MoveIt's planning group of the arm")
    parser.add_argument("--tip", required=True, help="link between the fingertips: z approaches, y closes")
    parser.add_argument("--distance", type=float, default=0.1, help="metres kept before the grasp (0.1)")
    parser.add_argument(
        "--wait", type=float, default=WAIT_S, help=f"seconds for others to appear ({WAIT_S:g})"
    )
    parser.add_argument("--execute", action="store_true", help="move the robot")
    options = parser.parse_args(words)
    types = messages()
    import rclpy
    import rclpy.utilities

    rclpy.init()
    try:
        said = plan(types, options)
    finally:
        rclpy.utilities.try_shutdown()
    print(said)
    return 0 if said.startswith("Planned") else 1


if __name__ == "__main__":
    sys.exit(main())
