"""The segmentation network: colour, depth and normals in, foreground and pixel affinities out.

A U-Net (Ronneberger et al. 2015) that works at half resolution on space-to-depth inputs.  Affinities
say whether two pixels a given step apart belong to one object (Turaga et al. 2010; long-range ones
after Wolf et al. 2018, "The mutex watershed").
"""

import copy
import itertools
import json
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from instascene_core.config.segmentation import NetworkConfig
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.geometry.depth_maps import smooth_geometry
from instascene_core.threads import one_thread
from instascene_core.weights import filled_network, read_weights, write_weights

WEIGHTS = Path(__file__).parent / "weights" / "segmenter.safetensors"
MAX_PIXELS = 320 * 240  # larger images are made smaller: the network learned at this size

# (dy, dx) in pixels; an affinity belongs to the pixel from which the step starts.
STEPS = (
    (0, 1), (1, 0),
    (0, 3), (3, 0),
    (0, 9), (9, 0), (9, 9), (9, -9),
    (0, 27), (27, 0), (27, 27), (27, -27),
)  # fmt: skip
COLOR_CHANNELS, GEOMETRY_CHANNELS = 3, 10
WIDTHS = (32, 64, 96, 128)
FORMAT = "instascene segmenter 1"

# How the inputs are scaled; the weights were trained with exactly this.
INPUT_LIMIT = 2.0
SURROUNDINGS = 21  # pixels, edge of the square whose mean depth a pixel is compared with
DEPTH_GAIN, FINE_DEPTH_GAIN = 2.0, 20.0  # of the log depth, and of the depth against its surroundings
COARSE_HEIGHT, FINE_HEIGHT = 0.15, 0.01  # of the median depth: one unit of the inputs
USUAL_PITCH = 30.0  # degrees that cameras look down where nothing is known


def color_input(rgb: np.ndarray) -> np.ndarray:
    """[3, H, W] float32 in [−1, 1] from uint8."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1


def geometry_input(frame: Frame, up: np.ndarray | None, plane: Plane | None) -> np.ndarray:
    """[10, H, W] float32 in [−2, 2], free of the unit of length.

    Normal to the right, up and forward (up as known, or as upright cameras suggest); where there is a
    normal, where a depth; depth against the image's median and against its surroundings; height over
    the plane, coarse and fine; whether there is a plane.
    """
    shape = (GEOMETRY_CHANNELS, frame.camera.height, frame.camera.width)
    channels = np.zeros(shape, dtype=np.float32)
    if frame.depth is None or not (frame.depth > 0).any():
        return channels
    points, normals, valid = smooth_geometry(frame.depth, frame.camera)
    z = points[..., 2]
    measured = z > 0
    scale = float(np.median(z[measured]))
    rotation = frame.world_from_camera[:3, :3]
    axes = level_axes(rotation, up if plane is None else plane.normal).astype(np.float32)
    channels[:3] = np.moveaxis(normals @ axes.T, -1, 0) * valid
    channels[3], channels[4] = valid, measured
    relative = np.where(measured, z / scale, 1.0).astype(np.float32)
    channels[5] = DEPTH_GAIN * np.log(relative)
    around = _mean_around(relative, measured, SURROUNDINGS)
    channels[6] = np.where(measured, FINE_DEPTH_GAIN * (relative / around - 1), 0)
    if plane is not None:
        height = plane.height(points @ rotation.T.astype(np.float32) + frame.world_from_camera[:3, 3])
        height = np.where(measured, height / scale, 0)
        channels[7], channels[8] = height / COARSE_HEIGHT, height / FINE_HEIGHT
        channels[9] = 1
    return np.clip(channels, -INPUT_LIMIT, INPUT_LIMIT)


def _mean_around(values: np.ndarray, measured: np.ndarray, size: int) -> np.ndarray:
    import cv2

    weight = cv2.blur(measured.astype(np.float32), (size, size))
    return np.maximum(cv2.blur(values * measured, (size, size)), 1e-9) / np.maximum(weight, 1e-9)


def level_axes(rotation: np.ndarray, up: np.ndarray | None) -> np.ndarray:
    """[3, 3] rows right, up, forward in the camera frame; forward is level, as the camera looks.

    rotation: [3, 3] world from camera.  up: [3] in the world; None = as a camera that looks down by
    some 30° suggests.
    """
    if up is None:
        vertical = np.array([0.0, -np.cos(np.radians(USUAL_PITCH)), -np.sin(np.radians(USUAL_PITCH))])
    else:
        vertical = rotation.T @ (np.asarray(up, dtype=np.float64) / np.linalg.norm(up))
    # "Forward" plus "image up" is level forward at any elevation.
    forward = np.array([0.0, -1.0, 1.0])
    forward = forward - (forward @ vertical) * vertical
    if np.linalg.norm(forward) < 1e-6:  # the camera stands on its head, 45° down
        forward = np.cross(vertical, [1.0, 0.0, 0.0])
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(forward, vertical), vertical, forward])


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for first in (inputs, outputs):
        layers += [
            nn.Conv2d(first, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(True),
        ]
    return nn.Sequential(*layers)


class AffinityNetwork(nn.Module):
    """[B, 13, H, W] inputs → [B, 1 + len(STEPS), H, W] logits: foreground, then one affinity a step."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        self.stem = nn.Conv2d(4 * (COLOR_CHANNELS + GEOMETRY_CHANNELS), widths[0], 3, padding=1)
        levels = list(itertools.pairwise(widths))
        self.down = nn.ModuleList([_block(widths[0], widths[0]), *(_block(a, b) for a, b in levels)])
        self.up = nn.ModuleList(_block(a + b, a) for a, b in levels)
        self.head = nn.Conv2d(widths[0], 4 * (1 + len(STEPS)), 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        height, width = inputs.shape[-2:]
        factor = 2 ** len(self.down)
        inputs = F.pad(inputs, (0, -width % factor, 0, -height % factor), mode="replicate")
        x = self.stem(F.pixel_unshuffle(inputs, 2))
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = self.up[level](torch.cat([skips[level], x], dim=1))
        return F.pixel_shuffle(self.head(x), 2)[..., :height, :width]


@dataclass(frozen=True)
class Prediction:
    """What the network says about one frame, at the size it was given."""

    foreground: np.ndarray  # [H, W] float32 probability of being an object
    affinities: np.ndarray  # [len(STEPS), H, W] float32 probability of one object at both ends


class FrameNetwork:
    """A loaded network, applied to frames."""

    def __init__(self, network: nn.Module, join_log_odds: float = 0.0) -> None:
        """join_log_odds: added to the affinities' log odds; training counts a cut more than a join."""
        self.network, self.join_log_odds = network.eval(), join_log_odds

    def predict(self, frame: Frame, up: np.ndarray | None, plane: Plane | None) -> Prediction:
        """Foreground and affinities of `frame`, which must not exceed MAX_PIXELS (see `limit_size`)."""
        inputs = np.concatenate([color_input(frame.rgb), geometry_input(frame, up, plane)])
        with torch.inference_mode(), one_thread():
            logits = self.network(torch.from_numpy(inputs)[None])[0]
            logits[1:] += self.join_log_odds
            probability = torch.sigmoid(logits).numpy()
        return Prediction(probability[0], probability[1:])

    def predict_all(
        self, frames: Sequence[Frame], up: np.ndarray | None, plane: Plane | None
    ) -> Generator[Prediction, None, None]:
        """`predict` of each frame in turn, as many at a time as torch has threads."""
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(lambda frame: self.predict(frame, up, plane), frames)
        torch.set_num_threads(threads)  # a part of torch has one number for all of the process


def limit_size(frame: Frame, max_pixels: int = MAX_PIXELS) -> Frame:
    """The frame at a size of at most `max_pixels`, as `Frame.resized` makes it."""
    small = frame.camera.limited(max_pixels)
    return frame if small is frame.camera else frame.resized(small.width, small.height)


def save_network(network: AffinityNetwork, path: Path, notes: dict[str, str]) -> None:
    """Write the weights as half-precision safetensors, atomically, with `notes` in the header."""
    widths = json.dumps(network.widths)
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    write_weights(path, arrays, FORMAT, {"widths": widths, **notes})


def network_of(config: NetworkConfig) -> FrameNetwork:
    """The network a configuration asks for.  Raises InputError as `load_network` does."""
    network = load_network(Path(config.weights) if config.weights else WEIGHTS)
    return FrameNetwork(for_inference(network), config.join_log_odds)


def for_inference(network: AffinityNetwork) -> nn.Module:
    """A copy that says the same sooner: normalisation is part of the convolutions, and a pixel's channels lie
    side by side."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = copy.deepcopy(network.eval())
    for blocks in (network.down, network.up):
        for block in blocks:
            layers = cast(nn.Sequential, block)
            for index in range(0, len(layers), 3):  # convolution, normalisation, ReLU
                convolution, normalisation = (
                    cast(nn.Conv2d, layers[index]),
                    cast(nn.BatchNorm2d, layers[index + 1]),
                )
                layers[index] = fuse_conv_bn_eval(convolution, normalisation)
                layers[index + 1] = nn.Identity()
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stub)


@lru_cache(maxsize=2)
def load_network(path: Path = WEIGHTS) -> AffinityNetwork:
    """The network in a weights file.  Raises InputError when the file is missing or not one of ours."""
    advice = "leave segmentation.network.weights empty for those that come with the package"
    arrays, notes = read_weights(path, FORMAT, "segmenter", advice)
    network = filled_network(AffinityNetwork, arrays, notes, path, "network", advice)
    return cast(AffinityNetwork, network.eval())
