"""Depth from posed colour images, alone or beside that of a sensor."""

from instascene_core.stereo.beside_depth import DepthDifference, differences_from_stereo
from instascene_core.stereo.depth import depth_from_stereo
from instascene_core.stereo.triangulation import SparsePoints, triangulate

__all__ = ["DepthDifference", "SparsePoints", "depth_from_stereo", "differences_from_stereo", "triangulate"]
