"""A scene follows the robot's work: things that left, moved or appeared are noticed in new frames.

New frames with depth are held against the Gaussians (`comparing`).  What is seen through is not where it was;
what nothing explains is gathered as points and parted into things (`unexplained`); a thing that is missing
is laid over them (`placing_again`): where it fits it has moved, and keeps its id and its completed mesh.
Then the scene is changed accordingly, and pixels of frames that tell of the past do not count any more
(`changing`).
"""

from instascene_core.scene.following.changes import APPEARED, LEFT, MOVED, Change
from instascene_core.scene.following.noticing import follow, frames_to_follow

__all__ = ["APPEARED", "LEFT", "MOVED", "Change", "follow", "frames_to_follow"]
