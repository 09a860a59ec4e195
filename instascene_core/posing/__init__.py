"""Camera poses for images that have none: COLMAP's mapper (pycolmap), then scale and up.

`estimate_poses(source, output)` takes a folder of images or a video and writes a folder that `open_dataset`
reads: transforms.json, images, depth where it was given, and the COLMAP model.
"""

from instascene_core.posing.estimate import Estimate, estimate_poses
from instascene_core.posing.scale import DepthScale, DistanceScale, KnownScale, MarkerScale

__all__ = ["DepthScale", "DistanceScale", "Estimate", "KnownScale", "MarkerScale", "estimate_poses"]
