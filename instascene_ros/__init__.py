"""The ROS 2 face of InstaScene: nodes, conversions; no mathematics (that is `instascene_core`)."""

import instascene_core  # noqa: F401 (before the messages load numpy, whose threads it limits)
