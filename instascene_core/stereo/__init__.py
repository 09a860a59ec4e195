"""Depth from posed colour images alone."""

from instascene_core.stereo.depth import depth_from_stereo
from instascene_core.stereo.triangulation import SparsePoints, triangulate

__all__ = ["SparsePoints", "depth_from_stereo", "triangulate"]
