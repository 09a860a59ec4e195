"""New disks on a plane, coloured so that together with those around them they look as painted."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from instascene_core.config import RemovalConfig
from instascene_core.gaussians import SH_C0, GaussianModel
from instascene_core.rendering import trace
from instascene_core.scene.background.head_on import HeadOn
from instascene_core.transforms import quaternion_from_matrix


def select(gaussians: GaussianModel, index: np.ndarray) -> GaussianModel:
    """The Gaussians at indices [K]."""
    return gaussians.select(torch.from_numpy(np.asarray(index, dtype=np.int64)))


def join(*parts: GaussianModel) -> GaussianModel:
    """The Gaussians of all, in this order; with features where all have them."""
    names = ("means", "quaternions", "log_scales", "logit_opacities", "sh")
    values = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    features = [part.features for part in parts if part.features is not None]
    return GaussianModel(**values, features=torch.cat(features) if len(features) == len(parts) else None)


def disks_like(
    around: GaussianModel, view: HeadOn, hole: np.ndarray, spacing: float, config: RemovalConfig
) -> GaussianModel:
    """Flat disks, `spacing` metres apart, at the pixels `hole` [H, W] of the view; height, opacity, colour
    and feature are those of the nearest disks of the plane, `around`."""
    places = view.places[hole]
    cells = np.floor((places @ view.axes[:, :2] - view.low) / spacing).astype(np.int64)
    cells = np.unique(cells, axis=0)
    flat = view.low + (cells + 0.5) * spacing
    mixture = _Mixture.at(flat, around, view, config)
    height = mixture.of(view.plane.height(around.means.detach().numpy()))
    places = flat @ view.axes[:, :2].T + (view.plane.offset + height)[:, None] * view.axes[:, 2]
    floor = float(np.log(config.min_opacity / (1 - config.min_opacity))) if config.min_opacity < 1 else 10.0
    features = None
    if around.features is not None:
        features = torch.nn.functional.normalize(mixture.tensor(around.features), dim=1)
    quaternion = torch.from_numpy(quaternion_from_matrix(view.axes).astype(np.float32))
    return GaussianModel(
        means=torch.from_numpy(places.astype(np.float32)),
        quaternions=quaternion.expand(len(places), 4).clone(),
        log_scales=torch.full((len(places), 2), float(np.log(config.disk_spacings * spacing))),
        logit_opacities=mixture.tensor(around.logit_opacities).clamp_min(floor),
        sh=mixture.tensor(around.sh),
        features=features,
    )


@dataclass(frozen=True)
class _Mixture:
    """For each of K places, the disks nearest to it and their shares."""

    nearest: np.ndarray  # [K, R]
    shares: np.ndarray  # [K, R], sum 1

    @classmethod
    def at(cls, flat: np.ndarray, around: GaussianModel, view: HeadOn, config: RemovalConfig) -> "_Mixture":
        """flat: [K, 2] metres along the view's axes."""
        known = around.means.detach().numpy() @ view.axes[:, :2]
        count = min(config.rim_neighbours, len(known))
        distance, nearest = cKDTree(known).query(flat.reshape(-1, 2), k=count)
        distance, nearest = distance.reshape(len(flat), count), nearest.reshape(len(flat), count)
        shares = 1 / np.maximum(distance, 1e-9) ** 2
        return cls(nearest, shares / shares.sum(axis=1, keepdims=True))

    def of(self, values: np.ndarray) -> np.ndarray:
        """[K, ...] of values [N, ...] of the disks."""
        return np.einsum("kr,kr...->k...", self.shares, values[self.nearest])

    def tensor(self, values: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.of(values.detach().numpy()).astype(np.float32))


@dataclass(frozen=True)
class PlaneDisks:
    """A plane's disks around a hole, at the removed object's foot, and new ones in the hole."""

    view: HeadOn
    around: GaussianModel
    foot: GaussianModel
    new: GaussianModel

    def recolored(
        self, painted: np.ndarray, known: np.ndarray, wanted: np.ndarray, config: RemovalConfig
    ) -> "PlaneDisks":
        """The same with base colours of foot and new disks whose blend is the painted image at the wanted
        pixels (least squares, with a pull toward the colour at each disk's own pixel).

        painted: [H, W, 3] in [0, 1], right at the `known` and `wanted` pixels ([H, W] bool).
        """
        free, fixed = join(self.foot, self.new), len(self.around)
        # What depends on the direction of view is as around; of the foot's own nothing is to be believed.
        flat = free.means.detach().numpy() @ self.view.axes[:, :2]
        sh = _Mixture.at(flat, self.around, self.view, config).tensor(self.around.sh)
        row, column, inside = self.view.pixels_of(free.means.detach().numpy())
        told = inside & (known | wanted)[row, column]
        start = np.where(told[:, None], painted[row, column], 0.5 + SH_C0 * sh[:, 0].numpy())
        blended = trace(
            join(self.around, free), self.view.camera, self.view.world_from_camera, weight_min=0.0
        )
        weights = blended.matrix(fixed + len(free))[wanted.ravel()].tocsc()
        left = np.asarray(weights.sum(axis=1)) * painted[wanted]
        left -= weights[:, :fixed] @ self.around.base_colors.detach().numpy().astype(np.float64)
        colors = _fitted(weights[:, fixed:], left, start, config.color_pull)
        sh[:, 0] = torch.from_numpy(((colors - 0.5) / SH_C0).astype(np.float32))
        count = len(self.foot)
        return replace(self, foot=replace(self.foot, sh=sh[:count]), new=replace(self.new, sh=sh[count:]))


def _fitted(weights, target: np.ndarray, start: np.ndarray, pull: float) -> np.ndarray:
    """[K, 3] colours in [0, 1] that minimise |weights · colours − target|² + pull |colours − start|²."""
    from scipy.sparse.linalg import lsqr

    left = target - weights @ start
    moved = [lsqr(weights, left[:, c], damp=pull**0.5, iter_lim=60)[0] for c in range(3)]
    return np.clip(start + np.stack(moved, axis=1), 0, 1)
