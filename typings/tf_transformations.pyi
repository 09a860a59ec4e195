# What is used of tf_transformations, which is optional and comes with ROS only.
import numpy as np

def quaternion_matrix(quaternion: np.ndarray) -> np.ndarray: ...  # xyzw → [4, 4]
def quaternion_from_matrix(matrix: np.ndarray) -> np.ndarray: ...  # [4, 4] → xyzw
