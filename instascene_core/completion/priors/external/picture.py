"""One image of an object as generators that take one image want it: square, cut out, on grey."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.tsdf import TARGET, DepthView

GREY = 127  # of the background, as Zero123++ was trained
FILL = 0.8  # of the square's side that the object takes


@dataclass(frozen=True)
class Picture:
    """A view of the object, cut out."""

    rgb: np.ndarray  # [S, S, 3] uint8, GREY outside the object
    mask: np.ndarray  # [S, S] bool
    view: DepthView  # it was cut out of


def best_view(views: Sequence[DepthView]) -> DepthView:
    """The view that shows most pixels of the object, whole images before cut ones; InputError where none
    shows any."""

    def key(view: DepthView) -> tuple[bool, int]:
        mine = view.what == TARGET
        cut = mine[[0, -1]].any() or mine[:, [0, -1]].any()
        return not cut, int(mine.sum())

    shown = [view for view in views if (view.what == TARGET).any()]
    if not shown:
        raise InputError("No image shows the object, so nothing can be generated from one.")
    return max(shown, key=key)


def cut_out(view: DepthView, side: int) -> Picture:
    """The object in `view` on a grey square of `side` pixels, centred, FILL of its side long."""
    import cv2

    mine = view.what == TARGET
    rows, columns = np.nonzero(mine)
    (v0, v1), (u0, u1) = (rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1)
    scale = FILL * side / max(v1 - v0, u1 - u0)
    move = np.array(
        [[scale, 0, side / 2 - scale * (u0 + u1) / 2], [0, scale, side / 2 - scale * (v0 + v1) / 2]]
    )
    move[:, 2] += (scale - 1) / 2  # OpenCV's pixel centres
    flat = np.where(mine[..., None], view.rgb, GREY).astype(np.uint8)
    border = (GREY, GREY, GREY)
    rgb = cv2.warpAffine(flat, move, (side, side), flags=cv2.INTER_LINEAR, borderValue=border)
    mask = cv2.warpAffine(mine.astype(np.float32), move, (side, side), flags=cv2.INTER_LINEAR) > 0.5
    return Picture(np.where(mask[..., None], rgb, GREY).astype(np.uint8), mask, view)


def azimuth_of(view: DepthView, center: np.ndarray, axes: np.ndarray) -> float:
    """Radians, counterclockwise seen from above, from the first of `axes` ([3, 3] columns, the last one up)
    to the camera of a view, about `center` [3]."""
    toward = (view.world_from_camera[:3, 3] - center) @ axes
    return float(np.arctan2(toward[1], toward[0]))


def size_of(mesh: TriangleMesh) -> float:
    """Metres, diagonal of a mesh's box."""
    return float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
