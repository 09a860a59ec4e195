# What is used of cv_bridge, which is optional and comes with ROS only.
import numpy as np
from sensor_msgs.msg import Image

class CvBridge:
    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = ...) -> np.ndarray: ...
