"""Borders of labels brought to where things end in the image.

Borders that come from depth or from Gaussians lie pixels beside the true ones: stereo fattens what is in
front, depth and colour are not quite registered, poses are off.  The image shows where a thing ends, but it
shows other edges as well.  So a network is told where the border is thought to be, and says for every pixel
near it whether it belongs to the label beyond (after SegFix, Yuan et al. 2020, which learns from the image
alone where borders are).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from instascene_core.config.segmentation import EdgeConfig
from instascene_core.frame import Frame
from instascene_core.segmentation.border_network import CHANNELS, for_inference, load_border_network
from instascene_core.segmentation.color_vote import band_width, snap_to_edges
from instascene_core.segmentation.edges import border_offset
from instascene_core.threads import one_thread, side_by_side

# What the weights were trained with.
REACH = 7.0  # pixels beside a border in which labels are in doubt
COLOR_SAMPLES = (2.0, 5.0)  # pixels beyond the border, on both sides of it, at which colours are compared
DEPTH_SAMPLE = 3.0  # the same for depth
COLOR_GAIN, DEPTH_GAIN, LIMIT = 1 / 25, 20.0, 2.0  # of Lab differences and of log depth; of all inputs
SMOOTHING = 0.8  # pixels, standard deviation: of the colours that a pixel is compared with
MARGIN = 8  # pixels around what is in doubt that the network sees as well


@dataclass(frozen=True)
class Doubt:
    """What lies beyond the nearest border of labels, for every pixel."""

    distance: np.ndarray  # [H, W] float32 pixels to the border, the line between two pixels
    row: np.ndarray  # [H, W] float32 unit vector toward it
    column: np.ndarray  # [H, W] float32
    beyond: tuple[np.ndarray, np.ndarray]  # ([H, W], [H, W]) int row and column of the pixel there


def doubt_of(labels: np.ndarray) -> Doubt | None:
    """Of labels [H, W] int (≤ 0 = none, one label); None where there is no border."""
    index = np.maximum(labels, 0)
    height, width = index.shape
    step = np.zeros((2, height, width), dtype=np.int64)  # to a neighbour of another label
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        here = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
        there = (slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx)))
        differs = index[here] != index[there]
        step[0][here][differs], step[1][here][differs] = dy, dx
    inner = np.asarray(~step.any(axis=0))
    if inner.all():
        return None
    _, (row, column) = ndimage.distance_transform_edt(inner, return_indices=True)
    same = index[row, column] == index
    beyond = (row + same * step[0][row, column], column + same * step[1][row, column])
    y, x = np.mgrid[:height, :width]
    away_y, away_x = ((at - own).astype(np.float32) for at, own in zip(beyond, (y, x)))
    length = np.hypot(away_y, away_x)  # 1 at least: what lies beyond is another pixel
    return Doubt(length - np.float32(0.5), away_y / length, away_x / length, beyond)


def border_input(
    rgb: np.ndarray, depth: np.ndarray | None, labels: np.ndarray, doubt: Doubt, offset: float
) -> np.ndarray:
    """[CHANNELS, H, W] float32 in [−2, 2].

    A pixel's colour; its difference from the colours on both sides of the border; steps of the depth to both
    sides; where the border is, which side is no object, and how far borders lie off.
    rgb: [H, W, 3] uint8; depth: [H, W] metres, 0 = none; offset: of `edges.border_offset`, pixels.
    """
    import cv2

    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    smooth = cv2.GaussianBlur(lab, (0, 0), SMOOTHING)
    y, x = (a.astype(np.float32) for a in np.mgrid[: rgb.shape[0], : rgb.shape[1]])

    def places(beyond: float) -> tuple[np.ndarray, np.ndarray]:
        reach = doubt.distance + np.float32(beyond)
        return x + doubt.column * reach, y + doubt.row * reach

    channels: list[np.ndarray] = [np.moveaxis(lab / 50 - np.array([1, 0, 0], np.float32), -1, 0)]
    for sample in COLOR_SAMPLES:
        for side in (sample, -sample):
            seen = cv2.remap(smooth, *places(side), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            channels.append(np.moveaxis((lab - seen) * COLOR_GAIN, -1, 0))
    known = np.zeros(rgb.shape[:2], np.float32) if depth is None else depth.astype(np.float32)
    measured = known > 0
    log = np.log(np.where(measured, known, 1))
    for side in (DEPTH_SAMPLE, -DEPTH_SAMPLE):
        there = cv2.remap(known, *places(side), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        both = measured & (there > 0)
        channels.append((DEPTH_GAIN * np.where(both, np.log(np.where(both, there, 1)) - log, 0))[None])
    flat = (
        measured, doubt.distance / REACH, doubt.row, doubt.column, labels > 0, labels[doubt.beyond] > 0,
        np.full(labels.shape, offset / 2),
    )  # fmt: skip
    inputs = np.clip(np.concatenate([*channels, np.stack(flat)]), -LIMIT, LIMIT).astype(np.float32)
    assert len(inputs) == CHANNELS
    return inputs


@dataclass(frozen=True)
class Way:
    """How borders of a recording's label images are moved."""

    by: Literal["nothing", "network", "vote"] = "nothing"
    offset: float = 0.0  # of `edges.border_offset`, pixels


class BorderRefiner:
    """Moves the borders of label images of one recording."""

    def __init__(self, network: nn.Module, config: EdgeConfig) -> None:
        self._network, self._config = network, config

    @classmethod
    def from_config(cls, config: EdgeConfig) -> "BorderRefiner":
        """Raises InputError when the weights cannot be loaded."""
        network = load_border_network(Path(config.weights)) if config.weights else load_border_network()
        return cls(for_inference(network), config)

    def best_way(self, labels: Sequence[np.ndarray], views: Sequence[Frame]) -> Way:
        """What brings borders of these label images [H, W] nearest to the edges in their frames.

        The network knows how sensors err and wins where they did; a vote of colours wins by exact depth
        (d1 of the development recordings: borders 1.52 pixels off, 1.48 by the network, 1.44 by the vote;
        three scenes through a D435: 2.05, 1.20, 1.33).
        """
        colors = [view.rgb for view in views]
        offset = border_offset(labels, colors)
        ways = [Way(), Way("vote", offset)]
        if offset >= self._config.least_offset:
            ways.append(Way("network", offset))

        def left(way: Way) -> float:
            pairs = list(zip(labels, views))
            moved = side_by_side(lambda pair: self.moved(pair[0], pair[1].rgb, pair[1].depth, way), pairs)
            return border_offset(list(moved), colors)

        return min(ways, key=left)

    def moved(self, labels: np.ndarray, rgb: np.ndarray, depth: np.ndarray | None, way: Way) -> np.ndarray:
        """Labels [H, W] (≤ 0 = none) with borders moved in a way of `best_way`.

        rgb: [H, W, 3] uint8; depth: [H, W] metres, 0 = none.
        """
        if way.by == "vote":
            return snap_to_edges(labels, rgb, band_width(way.offset))
        return self.refined(labels, rgb, depth, way.offset) if way.by == "network" else labels

    def offset_of(self, labels: Sequence[np.ndarray], colors: Sequence[np.ndarray]) -> float:
        """How far the borders of label images [H, W] lie from edges in their images, pixels; 0 where that is
        no more than exact ones seem to, and nothing is to be moved."""
        offset = border_offset(labels, colors)
        return offset if offset >= self._config.least_offset else 0.0

    def refined(
        self, labels: np.ndarray, rgb: np.ndarray, depth: np.ndarray | None, offset: float
    ) -> np.ndarray:
        """Labels [H, W] (≤ 0 = none), borders moved; as they are where `offset` (of `offset_of`) is 0.

        rgb: [H, W, 3] uint8; depth: [H, W] metres, 0 = none.
        """
        taken = self.labels_taken(labels, rgb, depth, offset)
        return labels if taken is None else labels[taken]

    def labels_taken(
        self, labels: np.ndarray, rgb: np.ndarray, depth: np.ndarray | None, offset: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """([H, W], [H, W]) row and column of the pixel whose label each pixel takes; None = all their own.

        The arguments are those of `refined`.
        """
        if offset <= 0 or not (labels > 0).any():
            return None
        around = int(REACH) + MARGIN
        spans = [np.flatnonzero((labels > 0).any(axis=axis))[[0, -1]] for axis in (1, 0)]
        window = tuple(slice(max(0, int(low) - around), int(high) + 1 + around) for low, high in spans)
        there, doubt = labels[window], doubt_of(labels[window])
        if doubt is None:
            return None
        seen = None if depth is None else depth[window]
        inputs = border_input(rgb[window], seen, there, doubt, offset)
        with torch.inference_mode(), one_thread():
            log_odds = self._network(torch.from_numpy(inputs)[None])[0].numpy()
        flips = (log_odds > 0) & (doubt.distance <= REACH)
        row, column = np.mgrid[: labels.shape[0], : labels.shape[1]]
        row[window][flips] = doubt.beyond[0][flips] + window[0].start
        column[window][flips] = doubt.beyond[1][flips] + window[1].start
        return row, column
