"""How well Gaussians reproduce frames they were, or were not, trained on."""

from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry.depth_maps import normals_from_depth
from instascene_core.reconstruction.alignment import align_frame
from instascene_core.reconstruction.views import typical_depth
from instascene_core.rendering import rasterize
from instascene_core.rendering.losses import ssim_map


@dataclass(frozen=True)
class Evaluation:
    """Per frame, in the frames' order; NaN where a frame has no depth to compare with."""

    psnr: np.ndarray  # [F] dB
    ssim: np.ndarray  # [F]
    depth_error: np.ndarray  # [F] median |rendered − measured| in the world's unit
    normal_error: np.ndarray  # [F] median angle in degrees to the normals of the measured depth
    covered: np.ndarray  # [F] share of the measured pixels that the Gaussians cover (alpha > 0.5)

    def summary(self) -> dict[str, float]:
        """Means over the frames (frames without depth left out of the depth figures)."""
        values = {
            name: getattr(self, name) for name in ("psnr", "ssim", "depth_error", "normal_error", "covered")
        }
        return {k: float(np.nanmean(v)) if np.isfinite(v).any() else float("nan") for k, v in values.items()}


@torch.no_grad()
def evaluate(
    gaussians: GaussianModel,
    frames: list[Frame],
    background: torch.Tensor | None = None,
    align: bool = False,
) -> Evaluation:
    """Render every frame at its own resolution before `background` [3] (None: black) and compare.

    With `align`, each frame's pose is first optimised against the Gaussians: what is judged then is the
    scene, not the given poses of the held-out frames (usual where poses are refined).
    """
    if align:
        scale = typical_depth(gaussians, frames)
        frames = [align_frame(gaussians, frame, scale, background) for frame in frames]
    rows = [_evaluate_frame(gaussians, frame, background) for frame in frames]
    columns = np.array(rows, dtype=np.float64).reshape(len(frames), 5).T
    return Evaluation(*columns)


def _evaluate_frame(
    gaussians: GaussianModel, frame: Frame, background: torch.Tensor | None
) -> tuple[float, float, float, float, float]:
    rendered = rasterize(gaussians, frame.camera, frame.world_from_camera, background=background)
    target = torch.from_numpy(frame.rgb).float() / 255
    color = rendered.color.clamp(0, 1)
    shown = (
        torch.ones(target.shape[:2], dtype=torch.bool)
        if frame.valid is None
        else torch.from_numpy(frame.valid)
    )
    psnr = -10 * float(torch.log10(((color - target) ** 2)[shown].mean().clamp(min=1e-10)))
    ssim = float(ssim_map(color, target)[shown].mean())
    if frame.depth is None or not (frame.depth > 0).any():
        return psnr, ssim, np.nan, np.nan, np.nan
    depth, normal = rendered.depth.numpy(), rendered.normal.numpy()
    measured = frame.depth > 0
    covered = measured & (rendered.alpha.numpy() > 0.5)
    if not covered.any():
        return psnr, ssim, np.nan, np.nan, 0.0
    truth = normals_from_depth(frame.depth, frame.camera)
    both = covered & truth.valid
    lengths = np.maximum(np.linalg.norm(normal, axis=-1), 1e-9)
    true_normals = truth.normals @ frame.world_from_camera[:3, :3].T.astype(np.float32)
    cosine = (normal * true_normals).sum(-1) / lengths
    angles = np.rad2deg(np.arccos(np.clip(cosine[both], -1, 1)))
    return (
        psnr,
        ssim,
        float(np.median(np.abs(depth - frame.depth)[covered])),
        float(np.median(angles)) if len(angles) else np.nan,
        float(covered.sum() / measured.sum()),
    )
