"""Slanted patches: each pixel's depth with its slopes, refined by the kernel (`csrc/patch_match.cpp`).

A plane's inverse depth is affine in the pixel, so three numbers say where a window lies in another view.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_double, c_float, c_int32, c_uint32, c_void_p
from dataclasses import dataclass

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.geometry.depth_maps import normals_from_depth
from instascene_core.rendering.library import check, kernel
from instascene_core.stereo.views import StereoView

SPACING = 1  # pixels from tap to tap; the window has the black squares of 5 × 5
GREY_SIGMA = 20.0  # grey levels: what differs more from the middle belongs less to its surface
LEAST_VARIANCE = 1.0  # grey levels²: flatter windows match anything, so they say nothing
_LEAST_COSINE = 0.12  # between ray and normal
# How far planes that are tried lie from the best one in the first iteration, relative; then halved
_DRAWN_DEPTH, _DRAWN_TILT = 0.01, 0.5


@dataclass(frozen=True)
class DepthPlanes:
    """A plane a pixel of one view."""

    camera: PinholeCamera
    inverse: np.ndarray  # [3, H, W] float32: inverse depth (1 / m), its slope a pixel right and down
    cost: np.ndarray  # [H, W] float32: 1 − NCC of the views that agree best; 1: nothing could be compared

    @classmethod
    def unknown(cls, camera: PinholeCamera) -> "DepthPlanes":
        """Of a view that nothing can be said about."""
        shape = (camera.height, camera.width)
        return cls(camera, np.zeros((3, *shape), np.float32), np.ones(shape, np.float32))


class _Source(ctypes.Structure):
    """`isk_stereo_source`."""

    _fields_ = [("width", c_int32), ("height", c_int32), ("image", c_void_p), ("from_pixel", c_double * 12)]


class _Stereo(ctypes.Structure):
    """`isk_stereo`."""

    _fields_ = (
        [(name, c_int32) for name in ("width", "height", "num_sources", "num_threads")]
        + [(name, c_int32) for name in ("iterations", "spacing")]
        + [("seed", c_uint32)]
        + [(name, c_float) for name in ("grey_sigma", "least_variance", "nearest", "farthest")]
        + [(name, c_float) for name in ("least_cosine", "draw_depth", "draw_tilt")]
        + [(name, c_double) for name in ("fx", "fy", "cx", "cy")]
        + [("image", c_void_p), ("sources", POINTER(_Source))]
    )


def planes_of_depth(depth: np.ndarray, camera: PinholeCamera, otherwise: float) -> DepthPlanes:
    """The planes that a depth image [H, W] shows (0 = none: there the inverse depth is `otherwise`)."""
    fitted = normals_from_depth(depth, camera)
    measured = depth > 0
    inverse = np.where(measured, 1 / np.where(measured, depth, 1), otherwise)
    # n · ray = d / z: the inverse depth's slopes are the normal's components over d and the focal length.
    distance = (fitted.normals * camera.rays).sum(-1) * depth
    usable = fitted.valid & (np.abs(distance) > 1e-9)
    scale = np.where(usable, 1 / np.where(usable, distance, 1), 0)
    slopes = fitted.normals[..., 0] * scale / camera.fx, fitted.normals[..., 1] * scale / camera.fy
    return DepthPlanes(camera, np.stack([inverse, *slopes]).astype(np.float32), np.ones_like(depth))


def finer(planes: DepthPlanes, camera: PinholeCamera) -> DepthPlanes:
    """The planes at the pixels of a larger image of the same view."""
    if (camera.width, camera.height) == (planes.camera.width, planes.camera.height):
        return planes
    u, columns, step_u = _coarser(camera.width, planes.camera.width)
    v, rows, step_v = _coarser(camera.height, planes.camera.height)
    inverse, right, down = planes.inverse[:, rows[:, None], columns[None, :]]
    inverse = inverse + right * u[None, :] + down * v[:, None]
    coarse = np.stack([inverse, right * step_u, down * step_v]).astype(np.float32)
    return DepthPlanes(camera, coarse, planes.cost[rows[:, None], columns[None, :]])


def _coarser(fine: int, coarse: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Per fine pixel how far its centre lies beside that of the coarse one that holds it (coarse pixels), and
    which that is; coarse pixels a fine one."""
    step = coarse / fine
    at = (np.arange(fine) + 0.5) * step
    holder = np.minimum(at.astype(int), coarse - 1)
    return at - (holder + 0.5), holder, step


def refine(
    view: StereoView,
    sources: Sequence[StereoView],
    planes: DepthPlanes,
    limits: tuple[float, float],
    iterations: int,
    num_threads: int = 1,
) -> DepthPlanes:
    """Planes of `view` that match the sources better, by propagation and random search.

    planes: at the view's size, where to start; limits: the least and the greatest inverse depth (1 / m).
    """
    camera = view.camera
    assert planes.inverse.shape == (3, camera.height, camera.width), planes.inverse.shape
    held = (_Source * len(sources))(*(_Source(*_from_pixel(view, source)) for source in sources))
    stereo = _Stereo(
        camera.width, camera.height, len(sources), num_threads, iterations, SPACING, 0, GREY_SIGMA,
        LEAST_VARIANCE, limits[1], limits[0], _LEAST_COSINE, _DRAWN_DEPTH, _DRAWN_TILT,
        camera.fx, camera.fy, camera.cx, camera.cy, view.grey.ctypes.data, held,
    )  # fmt: skip
    inverse = np.array(planes.inverse, dtype=np.float32, order="C")  # a copy: the kernel works in place
    cost = np.empty((camera.height, camera.width), np.float32)
    check(kernel().isk_patch_match(ctypes.addressof(stereo), inverse.ctypes.data, cost.ctypes.data))
    return DepthPlanes(camera, inverse, cost)


def _from_pixel(view: StereoView, source: StereoView) -> tuple:
    """Fields of a _Source: (u, v, 1, inverse depth) of the view → homogeneous pixel of the source."""
    pose = np.linalg.inv(source.world_from_camera) @ view.world_from_camera
    rotation = source.camera.matrix @ pose[:3, :3] @ np.linalg.inv(view.camera.matrix)
    matrix = np.concatenate([rotation, (source.camera.matrix @ pose[:3, 3])[:, None]], axis=1)
    grey = source.grey
    return grey.shape[1], grey.shape[0], grey.ctypes.data, (c_double * 12)(*matrix.ravel())
