"""The 2D Gaussian Splatting scene: N flat disks (Huang et al. 2024, section 4)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from instascene_core.errors import InputError
from instascene_core.geometry import SurfacePoints

SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 √π)
_INITIAL_OPACITY = 0.7
_COVERAGE = 0.7  # standard deviation over the spacing: neighbours overlap without blurring


@dataclass
class GaussianModel:
    """Parameters as they are optimised; every tensor shares dtype float32 and one device."""

    means: torch.Tensor  # [N, 3] metres, world frame
    quaternions: (
        torch.Tensor
    )  # [N, 4] wxyz, any norm > 0; columns 0, 1 of the rotation span the disk, 2 is its normal
    log_scales: torch.Tensor  # [N, 2] log metres, standard deviations along the tangents
    logit_opacities: torch.Tensor  # [N]
    sh: torch.Tensor  # [N, K, 3], K = (degree + 1)², colour = 0.5 + Σ sh·Y
    features: torch.Tensor | None = None  # [N, 16] unit-norm instance features, once trained

    def __post_init__(self) -> None:
        n = len(self.means)
        expected = {
            "means": (n, 3), "quaternions": (n, 4), "log_scales": (n, 2), "logit_opacities": (n,),
        }  # fmt: skip
        for name, shape in expected.items():
            tensor = getattr(self, name)
            if tuple(tensor.shape) != shape:
                raise InputError(f"Gaussian {name} have shape {tuple(tensor.shape)}, expected {shape}.")
        if (
            self.sh.ndim != 3
            or self.sh.shape[0] != n
            or self.sh.shape[1] not in (1, 4, 9, 16)
            or self.sh.shape[2] != 3
        ):
            raise InputError(f"Gaussian sh have shape {tuple(self.sh.shape)}, expected ({n}, 1|4|9|16, 3).")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        return {1: 0, 4: 1, 9: 2, 16: 3}[self.sh.shape[1]]

    @property
    def scales(self) -> torch.Tensor:
        """[N, 2] metres."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> torch.Tensor:
        """[N] in (0, 1)."""
        return self.logit_opacities.sigmoid()

    @property
    def base_colors(self) -> torch.Tensor:
        """[N, 3] RGB, about [0, 1]: the colour without its dependence on the direction of view."""
        return 0.5 + SH_C0 * self.sh[:, 0]

    @property
    def rotations(self) -> torch.Tensor:
        """[N, 3, 3]: columns tangent u, tangent v, normal; world frame."""
        w, x, y, z = torch.nn.functional.normalize(self.quaternions, dim=-1).unbind(-1)
        rows = (
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        )  # fmt: skip
        return torch.stack(rows, dim=-1).reshape(-1, 3, 3)

    @property
    def normals(self) -> torch.Tensor:
        """[N, 3] unit, world frame, sign arbitrary."""
        return self.rotations[:, :, 2]

    def select(self, index: torch.Tensor) -> "GaussianModel":
        """The Gaussians at `index` (bool mask or int64 indices)."""
        return self._mapped(lambda tensor: tensor[index])

    def require_features(self) -> torch.Tensor:
        """The instance features [N, 16].  Raises InputError where there are none yet."""
        if self.features is None:
            raise InputError("The Gaussians have no instance features yet; call segment_instances first.")
        return self.features

    def with_features(self, features: torch.Tensor | np.ndarray | None) -> "GaussianModel":
        """The same Gaussians, not copied, with instance features [N, 16] (None: without)."""
        tensor = None if features is None else torch.as_tensor(features, device=self.means.device)
        return replace(self, features=tensor)

    def to(self, device: torch.device | str) -> "GaussianModel":
        """The same Gaussians on `device`; not copied where they are there already."""
        return self._mapped(lambda tensor: tensor.to(device))

    def detached(self) -> "GaussianModel":
        """A copy without gradients."""
        return self._mapped(lambda tensor: tensor.detach().clone())

    def _mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "GaussianModel":
        """`change` applied to every tensor."""
        return GaussianModel(
            means=change(self.means),
            quaternions=change(self.quaternions),
            log_scales=change(self.log_scales),
            logit_opacities=change(self.logit_opacities),
            sh=change(self.sh),
            features=None if self.features is None else change(self.features),
        )


def gaussians_from_points(points: SurfacePoints) -> GaussianModel:
    """One disk a point: facing along its normal, as wide as its neighbours are far, degree-0 colour."""
    from scipy.spatial import cKDTree

    n = len(points)
    neighbours = min(4, n)
    distances, _ = cKDTree(points.positions).query(points.positions, k=neighbours)
    spacing = distances.reshape(n, neighbours)[:, 1:].mean(axis=1) if n > 1 else points.column("footprints")
    spacing = np.clip(spacing, 1e-3 * np.median(spacing) + 1e-9, 30 * np.median(spacing) + 1e-9)
    log_scales = np.log(_COVERAGE * spacing)[:, None].repeat(2, axis=1)
    # The smallest rotation of +z onto ±normal; the sign of a disk's normal means nothing.
    normals = np.where(points.normals[:, 2:] < 0, -points.normals, points.normals)
    quaternions = np.stack(
        [1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(n, dtype=np.float32)], axis=1
    )
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    opacity = float(np.log(_INITIAL_OPACITY / (1 - _INITIAL_OPACITY)))
    return GaussianModel(
        means=torch.from_numpy(points.positions.copy()),
        quaternions=torch.from_numpy(quaternions.astype(np.float32)),
        log_scales=torch.from_numpy(log_scales.astype(np.float32)),
        logit_opacities=torch.full((n,), opacity),
        sh=torch.from_numpy(((points.column("colors") - 0.5) / SH_C0)[:, None].astype(np.float32)),
    )
