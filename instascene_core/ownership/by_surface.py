"""Rule 3: surface without a label that belongs to an instance all the same.

Label images have ragged borders: they leave out the rim of an object, or give the lowest rows of it to the
support.  A pixel without label belongs to the instance if three things hold: the nearest labelled pixel does,
the surface continues from there without a step or an inward bend, and the pixel does not lie on the support.
"""

import numpy as np

from instascene_core.config import SurfaceAdoptionConfig
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.geometry import Plane
from instascene_core.geometry.depth_maps import Part, part_holding
from instascene_core.instances import InstanceId
from instascene_core.transforms import apply


def surroundings(mask: np.ndarray, config: SurfaceAdoptionConfig) -> Part | None:
    """The part of the image that `adopt_surface` looks at for a mask [H, W] bool; None where it is empty."""
    return part_holding(mask, int(2 * _reach(mask, config)) + 2)


def _reach(mask: np.ndarray, config: SurfaceAdoptionConfig) -> float:
    """Pixels from the mask within which surface may belong to it."""
    return max(config.min_reach, config.reach * np.sqrt(int(mask.sum())))


def adopt_surface(
    frame: Frame,
    instance_id: InstanceId,
    support: Plane | None,
    normals: np.ndarray,
    config: SurfaceAdoptionConfig,
) -> np.ndarray:
    """[H, W] int32: the frame's labels, with the instance's own unlabelled surface added to it.

    Near the instance, what the label of the support wrongly took above the support becomes UNLABELLED.
    frame: with labels and depth (metres).  normals: unit, camera frame, of the `surroundings` [h, w, 3] of
    the instance's mask.
    """
    from scipy.ndimage import distance_transform_edt

    given = frame.require_labels()
    labels, depth = given, frame.require_depth()
    mask = labels == instance_id
    cut = surroundings(mask, config)
    if cut is None:
        return labels
    limit = _reach(mask, config)
    labels, depth = labels[cut].copy(), depth[cut]
    points = frame.camera.rays[cut] * depth[..., None]  # [h, w, 3] camera frame
    footprint = depth / frame.camera.fx
    possible = depth > 0
    if support is not None:
        possible &= ~_on_support(frame, points, footprint, support, labels, instance_id, config)
    unlabelled = (labels == UNLABELLED) & possible
    labelled = (labels != UNLABELLED) & (depth > 0)
    gap, (row, column) = distance_transform_edt(~labelled, return_indices=True)
    pixels = np.flatnonzero(unlabelled & (gap <= limit) & (labels[row, column] == instance_id))
    start = (row.ravel()[pixels], column.ravel()[pixels])
    step = points.reshape(-1, 3)[pixels] - points[start]
    length = np.linalg.norm(step, axis=1)
    continuous = length <= config.max_step * footprint[start] * gap.ravel()[pixels] + footprint[start]
    averaged = _averaged_normals(normals, mask[cut], config.rim_weight, config.smoothing)
    rise = np.einsum("nc,nc->n", step, averaged[start])
    outward = rise <= config.max_rise * length + config.rise_slack * footprint[start]
    labels.ravel()[pixels[continuous & outward]] = instance_id
    result = given.copy()
    result[cut] = labels
    return result


def _averaged_normals(normals: np.ndarray, mask: np.ndarray, rim_weight: float, side: int) -> np.ndarray:
    """[h, w, 3] unit normals averaged over `side` × `side` pixels of the mask.

    Single ones at the rim are poor and weigh `rim_weight`, against 1 inside.
    normals: [h, w, 3]; mask: [h, w] bool.
    """
    import cv2

    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    inside = np.maximum(inside, rim_weight * mask)[..., None].astype(np.float32)
    mean = cv2.boxFilter((normals * inside).astype(np.float32), -1, (side, side), normalize=False)
    return mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-12)


def _on_support(
    frame: Frame,
    points: np.ndarray,
    footprint: np.ndarray,
    support: Plane,
    labels: np.ndarray,
    instance_id: InstanceId,
    config: SurfaceAdoptionConfig,
) -> np.ndarray:
    """[h, w] bool: pixels that lie on the support.

    Labels that mostly lie there are the support's own.  Where they climb higher, `labels` [h, w] loses
    them, in place.  points: [h, w, 3] camera frame; footprint: [h, w] metres.
    """
    height = support.height(apply(frame.world_from_camera, points.astype(np.float64)))
    tolerance = config.support_height * footprint  # metres
    near = height < tolerance
    for label in np.unique(labels):
        if label in (UNLABELLED, instance_id):
            continue
        own = labels == label
        typical = config.support_height * np.median(footprint[own])
        if near[own].mean() > config.support_share and np.abs(np.median(height[own])) < typical:
            labels[own & ~near] = UNLABELLED
    return near
