"""The ROS 2 face of InstaScene: nodes, conversions; no mathematics (that is `instascene_core`)."""
