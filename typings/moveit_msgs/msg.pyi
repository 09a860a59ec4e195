# What is used of moveit_msgs, which is optional and comes with ROS only.
from geometry_msgs.msg import Pose
from shape_msgs.msg import Mesh
from std_msgs.msg import Header

class CollisionObject:
    ADD: bytes
    REMOVE: bytes
    pose: Pose
    meshes: list[Mesh]
    mesh_poses: list[Pose]
    def __init__(self, *, header: Header, id: str, operation: bytes) -> None: ...

class RobotState:
    is_diff: bool

class PlanningSceneWorld:
    collision_objects: list[CollisionObject]

class PlanningScene:
    robot_state: RobotState
    world: PlanningSceneWorld
    def __init__(self, *, is_diff: bool) -> None: ...
