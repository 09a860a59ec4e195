"""Whether depth lies on the colours: edges of depth are, by and large, edges of colour."""

from collections.abc import Sequence

import numpy as np

from instascene_core.frame import Frame
from instascene_core.images import resize
from instascene_core.plausibility.views import WIDTH, chosen

REACH = 20  # pixels of the small images, an eighth of their width, that depth may be off
NOTICEABLE = 5  # pixels of them from which a shift matters; shadows pull the best fit by up to two ...
NEAR = 2  # ... so this far from where depth is, both ways, it lies on the colours
STEP = 0.08  # relative difference of depth within WINDOW pixels that is an edge
WINDOW = 5
LEAST_EDGES = 30  # pixels of depth edges a frame needs
LEAST_FRAMES = 6
WON = 0.7  # share of the frames that must fit better with the shift
BETTER = 1.4  # by this factor they must do so, taken together


def depth_shift(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """(right, down) in shares of the image's width by which depth must move onto the colours; None where it
    lies on them, or that cannot be told."""
    found = [_correlation(frames[i]) for i in chosen(len(frames))]
    known = [c for c in found if c is not None]
    if len(known) < LEAST_FRAMES:
        return None
    stack = np.stack(known)  # [F, 2·REACH + 1, 2·REACH + 1]
    mean = stack.mean(axis=0)
    row, column = np.unravel_index(mean.argmax(), mean.shape)
    right, down = column - REACH, row - REACH
    if np.hypot(right, down) < NOTICEABLE or max(abs(right), abs(down)) == REACH:
        return None
    # The best place near zero is one for all frames, as the shift is: that of each would be a fit to noise.
    near = mean[REACH - NEAR : REACH + NEAR + 1, REACH - NEAR : REACH + NEAR + 1]
    best = np.array(np.unravel_index(near.argmax(), near.shape)) + REACH - NEAR
    there, here = stack[:, row, column], stack[:, best[0], best[1]]
    if (there > here).mean() < WON or there.mean() < BETTER * max(here.mean(), 0):
        return None
    return right / WIDTH, down / WIDTH


def _correlation(frame: Frame) -> np.ndarray | None:
    """[2·REACH + 1]² of depth's edges with colour's, by how far down and right depth is moved; None where
    depth has too few edges."""
    import cv2

    factor = WIDTH / frame.camera.width
    size = (WIDTH, max(1, round(frame.camera.height * factor)))
    if min(size) < 4 * REACH:
        return None
    depth = resize(frame.require_depth(), *size, smooth=False)
    grey = cv2.cvtColor(resize(frame.rgb, *size, smooth=True), cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.log1p(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))
    slope -= cv2.blur(slope, (31, 31))
    logarithm = np.log(np.maximum(depth, 1e-6))
    kernel = np.ones((WINDOW, WINDOW), np.uint8)  # across the holes that sensors leave along edges
    far = cv2.dilate(np.where(depth > 0, logarithm, -99).astype(np.float32), kernel)
    near = cv2.erode(np.where(depth > 0, logarithm, 99).astype(np.float32), kernel)
    edges = ((far - near > STEP) & (far > -99) & (near < 99)).astype(np.float32)
    if edges.sum() < LEAST_EDGES:
        return None
    shape = (size[1] + 2 * REACH, size[0] + 2 * REACH)
    product = np.fft.rfft2(slope, shape) * np.conj(np.fft.rfft2(edges, shape))
    both = np.roll(np.fft.irfft2(product, shape), (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1]
    return both / max(np.sqrt((slope**2).sum() * edges.sum()), 1e-9)
