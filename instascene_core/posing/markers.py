"""Sides of square markers (ArUco, AprilTag; those of a ChArUco board as well) in a mapped world."""

from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.camera import LensModel
from instascene_core.datasets.images import read_rgb
from instascene_core.datasets.registration import opencv_matrix
from instascene_core.errors import InputError
from instascene_core.posing.model import MappedImages

LEAST_ANGLE = np.radians(1.5)  # between the rays to a corner, so that its distance is known
LARGEST_SKEW = 0.1  # of a square's side: how much its sides and diagonals (over √2) may differ
LARGEST_MISS = 2.0  # pixels between a corner's ray and the corner, else the view is left out


def marker_sides(mapped: MappedImages, folder: Path, dictionary: str) -> np.ndarray:
    """[S] lengths, in the mapped world's unit, of the sides of all markers that are seen from two places."""
    rays: dict[int, list[tuple[int, np.ndarray]]] = {}  # marker → (image, directions [4, 3] in the world)
    detector = _detector(dictionary)
    for index, name in enumerate(mapped.names):
        for number, corners in _detect(detector, read_rgb(folder / name)).items():
            directions = _directions(corners, mapped.lenses[index])
            rays.setdefault(number, []).append((index, directions @ mapped.poses[index, :3, :3].T))
    sides = []
    for views in rays.values():
        places = mapped.poses[[index for index, _ in views], :3, 3]
        focal = float(np.median([mapped.lenses[index].camera.fx for index, _ in views]))
        directions = np.stack([d for _, d in views])  # [V, 4, 3]
        corners = [_meeting_point(places, directions[:, k], LARGEST_MISS / focal) for k in range(4)]
        whole = [corner for corner in corners if corner is not None]
        if len(whole) == 4 and _is_square(square := np.stack(whole)):
            sides += list(np.linalg.norm(np.roll(square, -1, axis=0) - square, axis=1))
    return np.array(sides, dtype=np.float64)


def _is_square(corners: np.ndarray) -> bool:
    """Whether four corners [4, 3] in order form a square; those of a marker that is half hidden do not."""
    steps = np.roll(corners, -1, axis=0) - corners
    diagonals = corners[[0, 1]] - corners[[2, 3]]
    lengths = np.linalg.norm(np.vstack([steps, diagonals / np.sqrt(2)]), axis=1)
    return bool(np.ptp(lengths) < LARGEST_SKEW * lengths.mean())


def _detector(dictionary: str) -> Any:
    import cv2

    name = f"DICT_{dictionary.upper().removeprefix('DICT_')}"
    number = getattr(cv2.aruco, name, None)
    if not isinstance(number, int):
        known = sorted(n.removeprefix("DICT_") for n in dir(cv2.aruco) if n.startswith("DICT_"))
        raise InputError(f"There is no marker dictionary '{dictionary}'; known are {', '.join(known)}.")
    parameters = cv2.aruco.DetectorParameters()
    # It fits lines to the edges; refining each corner alone makes markers of 30 pixels 1.3 % too small.
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_APRILTAG
    return cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(number), parameters)


def _detect(detector: Any, rgb: np.ndarray) -> dict[int, np.ndarray]:
    """Marker → corners [4, 2] pixels, centres at +0.5; markers that are twice in the image are left out."""
    import cv2

    corners, numbers, _ = detector.detectMarkers(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    found = [] if numbers is None else [int(n) for n in np.asarray(numbers).ravel()]
    return {n: np.asarray(c).reshape(4, 2) for n, c in zip(found, corners) if found.count(n) == 1}


def _directions(pixels: np.ndarray, lens: LensModel) -> np.ndarray:
    """[K, 3] unit directions, camera axes, of pixels [K, 2] of the image as recorded."""
    import cv2

    matrix, coefficients = opencv_matrix(lens), np.array(lens.coefficients or (0.0,) * 4)
    undistort = cv2.fisheye.undistortPoints if lens.model == "fisheye" else cv2.undistortPoints
    xy = undistort((pixels - 0.5).astype(np.float64)[:, None], matrix, coefficients).reshape(-1, 2)
    rays = np.column_stack([xy, np.ones(len(xy))])
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _meeting_point(places: np.ndarray, directions: np.ndarray, largest_miss: float) -> np.ndarray | None:
    """[3] where rays [V, 3] from places [V, 3] meet best, without those that miss by more than an angle; None
    where fewer than two are left, or they are nearly parallel."""
    kept = np.ones(len(places), dtype=bool)
    for _ in range(3):
        if kept.sum() < 2:
            return None
        across = np.eye(3) - directions[kept, :, None] * directions[kept, None, :]  # [V, 3, 3]
        if np.linalg.eigvalsh(across.mean(axis=0))[0] < np.sin(LEAST_ANGLE / 2) ** 2:
            return None
        point = np.linalg.solve(across.sum(axis=0), (across @ places[kept, :, None]).sum(axis=0))[:, 0]
        towards = point - places
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        miss = np.arccos(np.clip((towards * directions).sum(axis=1), -1, 1))
        if (miss[kept] <= largest_miss).all():
            return point
        kept &= miss <= max(largest_miss, float(np.median(miss[kept])))
    return None
