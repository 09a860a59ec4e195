"""Fusion of depth images into a grid by the compiled kernel (`csrc/depth_fusion.cpp`).

`geometry.tsdf.add_view` is its slow twin, and says what is added: both give the same bits.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_float, c_int32, c_void_p

import numpy as np

from instascene_core.geometry.depth_maps import depth_slopes
from instascene_core.geometry.tsdf import (
    DepthView,
    FusedVolume,
    VoxelGrid,
    VoxelSums,
    carving_depth,
    fuse,
    steps_to_pixels,
)
from instascene_core.rendering.library import check, kernel

_IMAGES = {  # of a view, by their names in `isk_depth_view`
    "depth": np.float32,
    "carve": np.float32,
    "slope_u": np.float32,
    "slope_v": np.float32,
    "what": np.uint8,
    "rgb": np.uint8,
    "weight": np.float32,
}
_SUMS = ("distance", "weight", "other_distance", "other_views", "color", "views", "free_views")


class _View(ctypes.Structure):
    """`isk_depth_view`."""

    _fields_ = [
        ("width", c_int32), ("height", c_int32), ("band", c_double), ("truncation", c_double),
        ("steps", c_float * 9), ("start", c_float * 3),
        *((name, c_void_p) for name in _IMAGES),
    ]  # fmt: skip


class _Sums(ctypes.Structure):
    """`isk_voxel_sums`."""

    _fields_ = [*((name, c_int32) for name in ("nx", "ny", "nz")), *((name, c_void_p) for name in _SUMS)]


def fuse_views(views: Sequence[DepthView], grid: VoxelGrid, band: float, truncation: float) -> FusedVolume:
    """`geometry.tsdf.fuse`, compiled."""
    return fuse(views, grid, band, truncation, _add_view)


def _add_view(sums: VoxelSums, view: DepthView, grid: VoxelGrid, band: float, truncation: float) -> None:
    steps, start = steps_to_pixels(view, grid)
    slope_u, slope_v = depth_slopes(view.depth)
    given = {
        "depth": view.depth, "carve": carving_depth(view), "slope_u": slope_u, "slope_v": slope_v,
        "what": view.what, "rgb": view.rgb, "weight": view.weight,
    }  # fmt: skip
    images = {k: np.ascontiguousarray(v, dtype=_IMAGES[k]) for k, v in given.items() if v is not None}
    seen = _View(
        view.camera.width, view.camera.height, band, truncation,
        (c_float * 9)(*steps.ravel()), (c_float * 3)(*start),
        **{name: image.ctypes.data for name, image in images.items()},
    )  # fmt: skip
    added = _Sums(*grid.shape, *(getattr(sums, name).ctypes.data for name in _SUMS))
    check(kernel().isk_fuse_depth(ctypes.addressof(seen), ctypes.addressof(added)))
