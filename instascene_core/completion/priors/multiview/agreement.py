"""How far a generated pixel is to be believed: by its agreement with the neighbouring generated views."""

import numpy as np

from instascene_core.completion.priors.multiview.ring import Ring
from instascene_core.completion.priors.multiview.views import NEIGHBOURS, look_up
from instascene_core.transforms import apply, inverse


def agreement(
    rgb: np.ndarray, depth: np.ndarray, views: Ring, same_place: float, halved: float
) -> np.ndarray:
    """[N, H, W] float32 in [0, 1]: 1 / (1 + (s / halved)²) with s the root mean square difference between a
    pixel's colour and those that the views of NEIGHBOURS show at its place; 0 where there is no surface.

    rgb: [N, H, W, 3] in [0, 1]; depth: [N, H, W] in the frame, 0 = none.  Every pixel is followed to its
    depth and from there into the neighbours (bilinear), which count where they show that depth within
    `same_place` (units of the frame).  Where no neighbour shows the place nothing contradicts it; what only
    one view says counts half.
    """
    count = len(depth)
    shown = depth > 0
    points = views.points(depth).astype(np.float64)
    total, shares = np.zeros(depth.shape), np.zeros(depth.shape)
    for k in range(count):
        mine = shown[k]
        for step in NEIGHBOURS:
            other = (k + step) % count
            pixels, z = views.camera.project(apply(inverse(views.frame_from_camera[other]), points[k][mine]))
            color, share = look_up(rgb[other], depth[other], pixels, z, same_place)
            off = ((color - rgb[k][mine]) ** 2).mean(axis=1)
            total[k][mine] += share * off
            shares[k][mine] += share
    square = total / np.maximum(shares, 1e-9)
    sure = np.where(shares > 0.5, 1 / (1 + square / halved**2), 0.5)
    return np.where(shown, sure, 0).astype(np.float32)
