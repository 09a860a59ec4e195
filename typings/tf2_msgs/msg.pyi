# What is used of tf2_msgs, which comes with tf2 and is not among the wheels of a machine without ROS.
from geometry_msgs.msg import TransformStamped

class TFMessage:
    def __init__(self, *, transforms: list[TransformStamped]) -> None: ...
