"""Which Gaussians make up each pixel, and how much: the tracer of InstaScene section 3.1."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering.library import Workspace, check
from instascene_core.rendering.view import NEAR_PLANE, RasterView, float32_tensor, pose_tensor

if TYPE_CHECKING:
    import scipy.sparse


@dataclass(frozen=True)
class PixelTrace:
    """Per pixel (row-major) the contributing Gaussians, front to back; compressed rows.

    Pixel p's entries are at offsets[p] : offsets[p + 1].
    """

    height: int
    width: int
    offsets: np.ndarray  # [H·W + 1] int64
    indices: np.ndarray  # [M] int32, the Gaussian
    weights: np.ndarray  # [M] float32 = alpha · transmittance
    transmittance: np.ndarray  # [M] float32 before that Gaussian, 1 for the first

    def matrix(self, num_gaussians: int) -> "scipy.sparse.csr_matrix":
        """The blending weights [H·W, num_gaussians] as a sparse matrix (columns in depth order)."""
        import scipy.sparse

        shape = (self.height * self.width, num_gaussians)
        return scipy.sparse.csr_matrix((self.weights, self.indices, self.offsets), shape=shape)

    @property
    def pixels(self) -> np.ndarray:
        """[M] int32: the pixel (row-major) of each entry."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def trace(
    gaussians: GaussianModel,
    camera: PinholeCamera,
    world_from_camera: np.ndarray | torch.Tensor,
    *,
    transmittance_min: float = 0.0,
    weight_min: float = 1 / 255,
    near: float = NEAR_PLANE,
) -> PixelTrace:
    """Per pixel the Gaussians before which transmittance is > `transmittance_min`, of weight > `weight_min`.

    The same alphas, order and cut-offs as `rasterize` (2DGS), so `trace(…, weight_min=0).matrix(N) @ colors`
    is its color.  `world_from_camera` [4, 4].  Computed on the Gaussians' device, returned as numpy arrays.
    InputError where shapes do not fit.
    """
    if transmittance_min < 0 or weight_min < 0:
        raise InputError("transmittance_min and weight_min must not be negative.")
    with torch.no_grad():
        means = float32_tensor(gaussians.means)
        device = means.device
        view = RasterView(
            means,
            float32_tensor(gaussians.quaternions, device),
            float32_tensor(gaussians.log_scales, device),
            float32_tensor(gaussians.logit_opacities, device),
            means.new_empty((len(means), 0)),
            pose_tensor(world_from_camera, device),
            camera,
            near=near,
        )
        limits = (float(transmittance_min), float(weight_min))
        return _by_kernel(view, *limits) if device.type == "cpu" else _by_cuda(view, *limits)


def _by_kernel(view: RasterView, transmittance_min: float, weight_min: float) -> PixelTrace:
    workspace, scene, camera = Workspace(), view.scene(), view.camera
    library, handle, limits = workspace.library, workspace.handle, (transmittance_min, weight_min)
    offsets = np.empty(camera.height * camera.width + 1, dtype=np.int64)
    check(library.isk_trace_count(handle, scene, *limits, offsets.ctypes.data))
    count = int(offsets[-1])
    indices = np.empty(count, dtype=np.int32)
    weights, before = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    check(
        library.isk_trace_write(
            handle, scene, *limits, offsets.ctypes.data, indices.ctypes.data, weights.ctypes.data,
            before.ctypes.data,
        )
    )  # fmt: skip
    return PixelTrace(camera.height, camera.width, offsets, indices, weights, before)


def _by_cuda(view: RasterView, transmittance_min: float, weight_min: float) -> PixelTrace:
    from instascene_core.rendering.cuda import pixel_lists, project

    camera, splats = view.camera, project(view)
    lists = pixel_lists(view, splats)
    offsets, kept = lists.compressed_rows(transmittance_min, weight_min)
    indices = splats.ids[lists.index[kept]].to(torch.int32)
    columns = (offsets, indices, lists.weight[kept].float(), lists.transmittance[kept].float())
    return PixelTrace(camera.height, camera.width, *(column.cpu().numpy() for column in columns))
