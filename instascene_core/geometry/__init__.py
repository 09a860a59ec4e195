"""Planes, meshes, points and volumes: the geometry that several steps share."""

from instascene_core.geometry.mesh import TriangleMesh
from instascene_core.geometry.plane import Plane
from instascene_core.geometry.points import SurfacePoints

__all__ = ["Plane", "SurfacePoints", "TriangleMesh"]
