"""Stand-ins for what lies beyond the reconstructed scene, where images show it but no depth is known.

One learned colour for all frames; and, without a depth sensor, a sphere to start Gaussians on: modelling a
backdrop with structure (a room behind a phone's subject) gains 0.7 dB there.
"""

import numpy as np
import torch

from instascene_core.frame import Frame
from instascene_core.geometry import SurfacePoints

_MIN_SHARE = 0.003  # of the image: smaller gaps are edges and occlusions, not background
_MARGIN = 2  # pixels left out around what has depth
_STRIDE = 3  # pixels between samples


class BackgroundColor:
    """One colour behind everything, learned along with the scene (a backdrop, a sky, the room's haze).

    Without it, Gaussians would appear where there is no surface, to explain what images show there.
    """

    def __init__(
        self,
        frames: list[Frame],
        learning_rate: float,
        color: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Starts from `color` [3], or from what the frames show where they have no depth."""
        start = torch.from_numpy(_usual_color(frames)) if color is None else color.float().clone()
        self.color = start.to(device)  # [3] float32, changed in place
        self._adam = _Adam(self.color, learning_rate)

    @torch.no_grad()
    def step(self, gradient: torch.Tensor, alpha: torch.Tensor) -> None:
        """Learn from dL/d color [H, W, 3] of an image with coverage alpha [H, W]."""
        self._adam.step(weighted_sum(1 - alpha, gradient))
        self.color.clamp_(0, 1)


class _Adam:
    """Adam (Kingma and Ba 2015) of one tensor; on the CPU the bits of `torch.optim.Adam`.

    Making torch's own takes a second: it loads torch's compiler.
    """

    _BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, values: torch.Tensor, learning_rate: float) -> None:
        self._values, self._rate, self._steps = values, learning_rate, 0
        self._mean, self._square = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, gradient: torch.Tensor) -> None:
        """Change the values in place."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - self._BETA1)
        self._square.mul_(self._BETA2).addcmul_(gradient, gradient, value=1 - self._BETA2)
        spread = self._square.sqrt() / (1 - self._BETA2**self._steps) ** 0.5 + self._EPSILON
        rate = self._rate / (1 - self._BETA1**self._steps)
        self._values.addcdiv_(self._mean, spread, value=-rate)


def weighted_sum(weights: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """[3] sum over pixels of weights [H, W] · image [H, W, 3]; on the CPU the same bits for any number of
    threads, unlike torch's own sums."""
    if weights.device.type != "cpu":
        return torch.tensordot(weights, image, dims=2)
    rows = np.matmul(weights.numpy()[:, None, :], image.numpy())  # [H, 1, 3]: none is divided
    return torch.from_numpy(rows.sum(axis=(0, 1), dtype=np.float64)).float()


def _usual_color(frames: list[Frame]) -> np.ndarray:
    """[3] float32: median colour of the pixels in large gaps of the depth images, else of all pixels."""
    gaps, everything = [], []
    for frame in frames[:: max(1, len(frames) // 30)]:
        shown = np.ones(frame.rgb.shape[:2], dtype=bool) if frame.valid is None else frame.valid
        everything.append(frame.rgb[shown][::7])
        if frame.depth is not None:
            gaps.append(frame.rgb[_large_gaps(frame.depth) & shown])
    found = np.concatenate(gaps) if sum(map(len, gaps)) else np.concatenate(everything)
    return (np.median(found, axis=0) / 255).astype(np.float32) if len(found) else np.zeros(3, np.float32)


def shell_points(frames: list[Frame], surface: SurfacePoints) -> SurfacePoints:
    """Points on a sphere as far away as the farthest surface, in the colour of pixels without depth.

    Frames without a depth image say nothing about where depth is missing and are left out.
    """
    center = np.median(surface.positions, axis=0).astype(np.float64)
    cameras = np.stack([frame.world_from_camera[:3, 3] for frame in frames])
    radius = max(
        float(np.quantile(np.linalg.norm(surface.positions - center, axis=1), 0.99)),
        1.5 * float(np.linalg.norm(cameras - center, axis=1).max()),
    )
    parts = [_shell_part(f, f.depth, center, radius) for f in frames if f.depth is not None]
    return SurfacePoints.joined(parts)


def _shell_part(frame: Frame, depth: np.ndarray, center: np.ndarray, radius: float) -> SurfacePoints:
    gaps = _large_gaps(depth)
    rows, columns = np.nonzero(gaps if frame.valid is None else gaps & frame.valid)
    chosen = (rows % _STRIDE == 0) & (columns % _STRIDE == 0)
    rows, columns = rows[chosen], columns[chosen]
    rays = frame.camera.rays[rows, columns].astype(np.float64) @ frame.world_from_camera[:3, :3].T
    lengths = np.linalg.norm(rays, axis=1)
    directions = rays / lengths[:, None]
    eye = frame.world_from_camera[:3, 3] - center
    # |eye + t·direction| = radius, the far root: the camera is inside.
    along = directions @ eye
    reach = -along + np.sqrt(np.maximum(along**2 + radius**2 - eye @ eye, 0))
    outward = (eye + reach[:, None] * directions) / radius
    footprint = reach / lengths / np.sqrt(frame.camera.fx * frame.camera.fy)
    n = len(rows)
    return SurfacePoints(
        positions=(center + radius * outward).astype(np.float32),
        normals=-outward.astype(np.float32),
        colors=frame.rgb[rows, columns].astype(np.float32) / 255,
        footprints=(4 * footprint).astype(np.float32),  # the true distance is unknown: no fine detail
        importances=np.full(n, 0.5, dtype=np.float32),
    )


def _large_gaps(depth: np.ndarray) -> np.ndarray:
    """[H, W] bool: inside large connected regions without depth."""
    import cv2

    size = 2 * _MARGIN + 1
    empty = cv2.erode((depth <= 0).astype(np.uint8), np.ones((size, size), np.uint8), borderValue=1)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(empty, connectivity=4)
    large = statistics[:, cv2.CC_STAT_AREA] > _MIN_SHARE * depth.size
    large[0] = False  # OpenCV's label of everything else
    return large[np.asarray(labels, dtype=np.int32)]
