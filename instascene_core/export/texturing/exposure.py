"""One gain a frame and channel, such that frames agree where they show the same place."""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.texture import TextureConfig
from instascene_core.export.texturing.views import Sighting, look

ROUNDS = 6
DARKEST, BRIGHTEST = 8.0, 247.0  # of a channel: values beyond may be clipped and say nothing of a gain


def exposure_gains(
    views: Sequence[Sighting], points: np.ndarray, normals: np.ndarray, scale: float, config: TextureConfig
) -> np.ndarray:
    """[views, 3] factors on the frames' colours; their geometric mean is 1.

    Least squares in logarithms over points [N, 3] that several frames show (after Brown & Lowe 2007, section
    6), with a pull toward 1, alternately for the points' colours and the frames' gains.
    """
    count = len(views)
    total, log_colors = np.zeros((count, len(points))), np.zeros((count, len(points), 3))
    for k, view in enumerate(views):
        index, weight, color = look(view, points, normals, scale, config)
        usable = ((color > DARKEST) & (color < BRIGHTEST)).all(axis=1)
        total[k, index[usable]] = weight[usable]
        log_colors[k, index[usable]] = np.log(color[usable])
    shared = (total > 0).sum(axis=0) > 1
    weight, value = total[:, shared], log_colors[:, shared]
    if not shared.any():
        return np.ones((count, 3))
    weight = weight / weight.sum(axis=0)
    gains = np.zeros((count, 3))  # logarithms
    for _ in range(ROUNDS):
        mean = np.einsum("vn,vnc->nc", weight, value + gains[:, None])
        off = mean - value  # what each frame would have to add
        # A highlight or a wrong place is no matter of exposure.
        robust = weight / (1 + (np.abs(off - gains[:, None]).mean(axis=-1) / 0.1) ** 2)
        trust = config.gain_trust * max(float(np.median(weight.sum(axis=1))), 1e-9)
        gains = np.einsum("vn,vnc->vc", robust, off) / (robust.sum(axis=1) + trust)[:, None]
        gains -= gains.mean(axis=0)
    limit = np.log(config.max_gain)
    return np.exp(np.clip(gains, -limit, limit))
