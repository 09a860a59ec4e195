"""How a recording is to be read where its poses or depth mean something else than the format says."""

from dataclasses import dataclass, replace

import numpy as np

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.pose_conventions import OURS, read_as, require_convention
from instascene_core.transforms import matrix_from_quaternion, quaternion_from_matrix


@dataclass(frozen=True)
class Corrections:
    """What is changed on reading; the defaults change nothing."""

    pose_convention: str = ""  # how the matrices are meant (`pose_conventions`); "" = as the format says
    pose_scale: float = 1.0  # factor on the translations
    pose_time_offset: float = 0.0  # seconds: an image of time t gets the pose of t + this
    depth_scale: float = 1.0  # factor on the depth
    depth_is_range: bool = False  # depth is the distance from the camera's centre, not along its axis
    depth_shift: tuple[float, float] = (0.0, 0.0)  # pixels right and down that move depth onto the colours

    def __post_init__(self) -> None:
        if self.pose_convention:
            require_convention(self.pose_convention)
        for name in ("pose_scale", "depth_scale"):
            if not (np.isfinite(value := getattr(self, name)) and value > 0):
                raise InputError(f"{name} must be a positive factor, not {value}.")
        if len(self.depth_shift) != 2 or not np.isfinite([self.pose_time_offset, *self.depth_shift]).all():
            raise InputError("pose_time_offset takes seconds and depth_shift two numbers of pixels.")

    @property
    def changes_depth(self) -> bool:
        return self.depth_scale != 1 or self.depth_is_range or any(self.depth_shift)

    def poses(self, poses: np.ndarray, own: str = OURS) -> np.ndarray:
        """world_from_camera [..., 4, 4] of poses that the format, of convention `own`, read: convention and
        scale."""
        corrected = read_as(poses, own, self.pose_convention or own).copy()
        corrected[..., :3, 3] *= self.pose_scale
        return corrected

    def depth_of(self, frame: Frame, scale: float = 1.0) -> Frame:
        """The frame with its depth corrected; scale: size of the frame relative to the image as recorded."""
        if frame.depth is None or not self.changes_depth:
            return frame
        depth = _shifted(frame.depth, *(round(scale * pixels) for pixels in self.depth_shift))
        depth = depth * np.float32(self.depth_scale)
        if self.depth_is_range:
            depth = depth / np.linalg.norm(frame.camera.rays, axis=2)
        return replace(frame, depth=depth.astype(np.float32))


def _shifted(image: np.ndarray, right: int, down: int) -> np.ndarray:
    """The image [H, W] moved by whole pixels, 0 where nothing comes in."""
    height, width = image.shape
    result = np.zeros_like(image)
    if abs(right) < width and abs(down) < height:
        source = image[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
        result[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = source
    return result


def interpolated(poses: np.ndarray, times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Poses [W, 4, 4] at the times wanted [W], between the neighbours of poses [N, 4, 4] at increasing times
    [N ≥ 2]; NaN outside of them."""
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    share = (wanted - times[right - 1]) / (times[right] - times[right - 1])
    inside = (share >= 0) & (share <= 1)
    quaternions = quaternion_from_matrix(poses[:, :3, :3])
    first, second = quaternions[right - 1], quaternions[right]
    second = second * np.where((first * second).sum(1, keepdims=True) < 0, -1, 1)  # the shorter way round
    share = share[:, None]
    result = np.tile(np.eye(4), (len(wanted), 1, 1))
    result[:, :3, :3] = matrix_from_quaternion((1 - share) * first + share * second)
    result[:, :3, 3] = (1 - share) * poses[right - 1, :3, 3] + share * poses[right, :3, 3]
    result[~inside] = np.nan
    return result
