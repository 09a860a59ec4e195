# What examples/05_moveit_grasp.py uses of moveit_msgs, which is optional and comes with ROS only.
from typing import Any

class MoveGroup:
    Goal: Any
