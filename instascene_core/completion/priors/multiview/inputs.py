"""Channels of the multi-view model: what is generated, and what is known beforehand.

Generated, per view: red, green, blue (sRGB, 0 … 1 → −1 … 1, grey where there is no object), depth (its
distance from the origin's plane in units of the frame; 1 where there is none), coverage (0 … 1 → −1 … 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.completion.priors.multiview.ring import DISTANCE, Ring

GENERATED = 5
CONDITIONS = 18
KNOWN = slice(0, 8)  # of the conditions: what observed views say; zero where a condition is dropped
FADE = 0.25  # units of the frame over which a colour found nearby stops telling
TURN = 0.5  # units of the frame that a normal turned by 60° counts, in looking for the nearest colour
NEAREST = 32  # known pixels whose colours are mixed ...
MOST_SOURCES = 6000  # ... of at most so many
BLOCK = 2  # pixels, side of the squares of unknown pixels that share what is found nearby


@dataclass(frozen=True)
class Known:
    """Observed colours at the pixels of N views."""

    rgb: np.ndarray  # [N, H, W, 3] float32 in [0, 1]
    weight: np.ndarray  # [N, H, W] float32 ≥ 0: how well the place was seen; 0 = not at all

    @property
    def valid(self) -> np.ndarray:
        """[N, H, W] bool: pixels whose colour is known."""
        return self.weight > 0


@dataclass(frozen=True)
class Given:
    """The geometry that the model starts from, N views of it (see `views.ViewGeometry`)."""

    views: Ring
    depth: np.ndarray  # [N, H, W] float32, 0 where there is no surface
    coverage: np.ndarray  # [N, H, W] float32 in [0, 1]
    normals: np.ndarray  # [N, H, W, 3] float32 unit, camera axes
    uncertainty: np.ndarray  # [N, H, W] float32, units of the frame: expected error of the surface
    bottom: float  # height of the support in the frame: of the body's lowest point where there is none


@dataclass(frozen=True)
class GeneratedViews:
    """N views of the ring; the observed pixels as observed where they were warped."""

    rgb: np.ndarray  # [N, H, W, 3] float32 in [0, 1]
    depth: np.ndarray  # [N, H, W] float32, units of the frame, 0 = none
    coverage: np.ndarray  # [N, H, W] float32 in [0, 1]


def encode(rgb: np.ndarray, depth: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """[N, GENERATED, H, W] float32 of images [N, H, W, 3] in [0, 1], depth (0 = none) and coverage
    [N, H, W]."""
    shown = coverage > 0
    color = np.where(shown[..., None], 2 * rgb - 1, 0)
    distance = np.where(depth > 0, depth - DISTANCE, 1.0)
    stack = np.concatenate([color, distance[..., None], 2 * coverage[..., None] - 1], axis=-1)
    return np.ascontiguousarray(np.moveaxis(stack, -1, 1), dtype=np.float32)


def decode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images [N, H, W, 3] in [0, 1], depth (0 = none) and coverage [N, H, W] of generated channels."""
    rgb = np.clip((np.moveaxis(values[:, :3], 1, -1) + 1) / 2, 0, 1)
    coverage = np.clip((values[:, 4] + 1) / 2, 0, 1)
    depth = np.where(coverage > 0.5, values[:, 3] + DISTANCE, 0)
    return rgb.astype(np.float32), depth.astype(np.float32), coverage.astype(np.float32)


def spread_known(given: Given, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """The colours known nearby, for every pixel: [N, H, W, 3] float32 in [0, 1], and how near they are
    [N, H, W] in [0, 1] (1 = known, 0 = far or nothing known).

    Near is what is near in space and faces the same way.
    """
    from scipy.spatial import cKDTree

    shown = (given.depth > 0) | (given.coverage > 0)
    valid = known.valid & (given.depth > 0)
    colors, nearness = np.full((*shown.shape, 3), 0.5, np.float32), np.zeros(shown.shape, np.float32)
    if not valid.any():
        return colors, nearness
    depth = _over_silhouettes(given.depth)
    places = np.concatenate([given.views.points(depth), TURN * given.views.to_frame(given.normals)], axis=-1)
    wanted = shown & ~valid
    sources = np.flatnonzero(valid.ravel())
    sources = sources[:: max(1, len(sources) // MOST_SOURCES)]
    blocks, count = _block_means(places, wanted)
    tree = cKDTree(places.reshape(-1, 6)[sources])
    distance, index = tree.query(blocks[count > 0], k=min(NEAREST, len(sources)), eps=0.3)
    distance, index = np.atleast_2d(distance.T).T, np.atleast_2d(index.T).T
    weight = 1 / (distance + 0.03)
    weight /= weight.sum(axis=1, keepdims=True)
    told = np.zeros((*count.shape, 4), np.float32)
    mixed = np.einsum("qk,qkc->qc", weight, known.rgb.reshape(-1, 3)[sources][index])
    told[count > 0] = np.concatenate([mixed, np.exp(-distance[:, :1] / FADE)], axis=1)
    told = np.repeat(np.repeat(told, BLOCK, axis=1), BLOCK, axis=2)[wanted]
    colors[wanted], nearness[wanted] = told[:, :3], told[:, 3]
    colors[valid] = known.rgb[valid]
    nearness[valid] = 1
    return colors, nearness


def _block_means(places: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean places [N, h, w, 6] of the `wanted` pixels of each block, and their number [N, h, w].

    places: [N, H, W, 6]; wanted: [N, H, W] bool; H and W are multiples of BLOCK.
    """
    count, height, width = wanted.shape
    shape = (count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    number = wanted.reshape(shape).sum(axis=(2, 4))
    total = (places * wanted[..., None]).reshape(*shape, 6).sum(axis=(2, 4))
    return total / np.maximum(number, 1)[..., None], number


def _over_silhouettes(depth: np.ndarray) -> np.ndarray:
    """Depth [N, H, W] continued by a pixel, for those that the object covers in part."""
    padded = np.pad(depth, ((0, 0), (1, 1), (1, 1)))
    height, width = depth.shape[1:]
    around = [padded[:, v : v + height, u : u + width] for v in range(3) for u in range(3)]
    return np.where(depth > 0, depth, np.max(around, axis=0))


def condition(given: Given, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """What the model is told: conditions [N, CONDITIONS, H, W], and its starting point, the nearest known
    colours on the given geometry [N, GENERATED, H, W]; float32."""
    near, nearness = spread_known(given, known)
    shown, valid = given.depth > 0, (known.valid & (given.depth > 0))[..., None]
    rays = np.broadcast_to(given.views.camera.rays, (*shown.shape, 3)).copy()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rays[..., 2] = 4 * (1 - rays[..., 2])  # the part along the axis changes least: stretched
    heights = given.views.points(given.depth)[..., 2:] - given.bottom
    channels = (
        np.where(valid, 2 * known.rgb - 1, 0),
        valid,
        2 * near - 1,
        nearness[..., None],
        np.where(shown, given.depth - DISTANCE, 1.0)[..., None],
        2 * given.coverage[..., None] - 1,
        given.normals,
        np.clip(10 * given.uncertainty[..., None], 0, 2),
        np.where(shown[..., None], heights, 0),
        rays,
    )
    stacked = np.concatenate([np.asarray(c, dtype=np.float32) for c in channels], axis=-1)
    start = encode(near, given.depth, given.coverage)
    return np.ascontiguousarray(np.moveaxis(stacked, -1, 1)), start


def nothing_known(given: Given) -> Known:
    """No observed pixel at all: for the unconditional half of the guidance."""
    return Known(np.zeros((*given.depth.shape, 3), np.float32), np.zeros(given.depth.shape, np.float32))


def merged(known: Sequence[Known]) -> Known:
    """What several observed views know together: their mean, weighted by how well they saw a place."""
    weight = np.sum([k.weight for k in known], axis=0)
    rgb = np.sum([k.weight[..., None] * k.rgb for k in known], axis=0) / np.maximum(weight, 1e-9)[..., None]
    return Known(rgb.astype(np.float32), weight.astype(np.float32))
