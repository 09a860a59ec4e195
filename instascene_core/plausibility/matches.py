"""How well matched features of images lie where the poses put them: for recordings without depth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.frame import Frame
from instascene_core.images import resize
from instascene_core.transforms import inverse

PIXELS = 180_000  # of the images that features are sought in
FEATURES = 600  # at most, an image
NEIGHBOURS = 3  # of the views that follow, those matched with a view
RATIO = 0.8  # best over second-best descriptor distance of a match (Lowe 2004)
LEAST_MATCHES = 20  # of a pair, consistent with some epipolar geometry
# Share of the image's width by which a match may miss its epipolar line and still count as agreeing: poses of
# real arms are some pixels off.
TOLERANCE = 0.012


@dataclass(frozen=True)
class Matches:
    """Features of two views that are the same point of the scene, whatever the poses."""

    views: tuple[int, int]  # places among the chosen views
    first: np.ndarray  # [M, 3] rays in the first camera, z = 1
    second: np.ndarray  # [M, 3] in the second
    tolerance: float  # on the plane z = 1


def find_matches(frames: Sequence[Frame]) -> list[Matches]:
    """Matches of each view with those that follow; pairs with too few are left out."""
    found = [_features(frame) for frame in frames]
    pairs = [(a, b) for a in range(len(frames)) for b in range(a + 1, min(a + 1 + NEIGHBOURS, len(frames)))]
    matches = [_matched(a, b, found[a], found[b], frames) for a, b in pairs]
    return [m for m in matches if m is not None]


def _features(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """(pixels [N, 2] of the full image, descriptors [N, 128])."""
    import cv2

    scale = min(1.0, (PIXELS / (frame.camera.width * frame.camera.height)) ** 0.5)
    image = frame.rgb
    if scale < 1:
        image = resize(
            image, round(frame.camera.width * scale), round(frame.camera.height * scale), smooth=True
        )
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mask = None
    if frame.valid is not None:
        valid = resize(frame.valid, grey.shape[1], grey.shape[0], smooth=False)
        mask = cv2.erode(valid.astype(np.uint8), np.ones((9, 9), np.uint8))
    points, descriptors = cv2.SIFT.create(FEATURES).detectAndCompute(grey, mask)
    if descriptors is None or not len(points):
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    size = np.array([frame.camera.width, frame.camera.height]) / grey.shape[::-1]
    return (np.array([p.pt for p in points]) + 0.5) * size, descriptors


def _matched(a: int, b: int, first, second, frames: Sequence[Frame]) -> Matches | None:
    import cv2

    if min(len(first[0]), len(second[0])) < LEAST_MATCHES:
        return None
    there = _nearest(first[1], second[1])
    back = _nearest(second[1], first[1])
    left = np.flatnonzero(there >= 0)
    left = left[back[there[left]] == left]  # each the other's best
    if len(left) < LEAST_MATCHES:
        return None
    x, y = first[0][left], second[0][there[left]]
    threshold = max(1.0, 0.003 * frames[a].camera.width)
    cv2.setRNGSeed(0)
    try:
        _, inliers = cv2.findFundamentalMat(x, y, cv2.USAC_MAGSAC, threshold, 0.99, 2000)
    except cv2.error:  # OpenCV 5 raises where no geometry fits the matches
        return None
    if inliers is None or inliers.sum() < LEAST_MATCHES:
        return None
    keep = inliers.ravel() > 0
    cameras = frames[a].camera, frames[b].camera
    rays = [
        np.c_[(p[keep, 0] - k.cx) / k.fx, (p[keep, 1] - k.cy) / k.fy, np.ones(keep.sum())]
        for p, k in zip((x, y), cameras)
    ]
    return Matches((a, b), rays[0], rays[1], TOLERANCE * cameras[1].width / cameras[1].fx)


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N] the descriptor of b most like each of a, -1 where the second is nearly as like."""
    distance = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    best = distance.argmin(axis=1)
    two = np.partition(distance, 1, axis=1)[:, :2]
    return np.where(two[:, 0] < RATIO**2 * two[:, 1], best, -1)


def agreement(matches: Sequence[Matches], poses: np.ndarray) -> np.ndarray:
    """[pairs] mean agreement in [0, 1] of the matches of each pair with poses [V, 4, 4] (NaN: none known).

    A point seen along a ray of the first camera lies somewhere on a half-line in the second image: from
    where the ray's infinite end is seen, towards the first camera.  Its distance from the match counts;
    points behind a camera do not agree.
    """
    result = np.full(len(matches), np.nan)
    for k, m in enumerate(matches):
        a, b = m.views
        b_from_a = inverse(poses[b]) @ poses[a]
        if not np.isfinite(b_from_a).all():
            continue
        far = m.first @ b_from_a[:3, :3].T  # [M, 3]
        step = b_from_a[:3, 3]
        u, v = np.cross(m.second, far), np.cross(m.second, step)
        with np.errstate(divide="ignore", invalid="ignore"):
            nearness = np.nan_to_num(-(u * v).sum(1) / (v * v).sum(1), nan=0, posinf=0, neginf=0)
            seen = far + np.maximum(nearness, 0)[:, None] * step
            miss = np.linalg.norm(seen[:, :2] / seen[:, 2:] - m.second[:, :2], axis=1)
        agrees = np.exp(-0.5 * (miss / m.tolerance) ** 2)
        result[k] = np.where(seen[:, 2] > 1e-9, agrees, 0).mean()
    return result
