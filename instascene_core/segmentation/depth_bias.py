"""The smooth error of a camera's depth, measured on the plane that things stand on.

Stereo cameras bend flat things by a centimetre, in the same way in every frame: an error of the disparity
that varies slowly over the image.  A table seen from all sides in all parts of the image tells it apart from
the table's own shape.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

from instascene_core.camera import PinholeCamera
from instascene_core.config.segmentation import DepthBiasConfig
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.geometry.depth_maps import smooth_geometry
from instascene_core.segmentation.support import Support

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DepthBias:
    """Measured inverse depth minus the true one (1/m): a polynomial over the image, alike in all frames."""

    coefficients: np.ndarray  # [K] float64 of `_terms`
    order: int
    improvement: float  # share by which the plane's residual falls in frames that were not fitted

    def at(self, camera: PinholeCamera) -> np.ndarray:
        """[H, W] float64 1/m."""
        rows, columns = np.indices((camera.height, camera.width)).reshape(2, -1)
        x, y = _normalised(columns + 0.5, rows + 0.5, camera)
        return (_terms(x, y, self.order) @ self.coefficients).reshape(camera.height, camera.width)

    def corrected(self, frame: Frame) -> Frame:
        """The frame with its depth freed of the error."""
        if frame.depth is None:
            return frame
        measured = frame.depth > 0
        inverse = 1 / np.where(measured, frame.depth, 1.0) - self.at(frame.camera)
        depth = np.where(measured & (inverse > 0), 1 / np.maximum(inverse, 1e-6), 0)
        return frame.with_(depth=depth.astype(np.float32))


@dataclass(frozen=True)
class _OnPlane:
    """Pixels that show the plane, of all frames."""

    terms: np.ndarray  # [N, K] of the polynomial
    inverse: np.ndarray  # [N] 1/m as measured
    rays: np.ndarray  # [N, 3] world, of depth 1 along the optical axis
    centres: np.ndarray  # [N, 3] metres, of their cameras
    frame: np.ndarray  # [N] int


def estimate_depth_bias(
    frames: Sequence[Frame], support: Support | None, config: DepthBiasConfig
) -> DepthBias | None:
    """The error that the support plane shows; None where there is no plane, or none worth mending.

    It is fitted on every other frame and has to make the plane flatter in those between by
    `min_improvement`: exact depth stays as it is.
    """
    if support is None or support.plane is None:
        return None
    seen = _pixels_on_plane(frames, support, config)
    if seen is None:
        return None
    fitted = seen.frame % 2 == 0
    plane, coefficients = _fit(seen, fitted, support.plane, config)
    plain, _ = _fit(seen, fitted, support.plane, config, bend=False)
    before = _spread(_residual(seen, plain, np.zeros_like(coefficients))[~fitted])
    after = _spread(_residual(seen, plane, coefficients)[~fitted])
    improvement = 1 - after / max(before, 1e-12)
    if improvement < config.min_improvement:
        return None
    _, coefficients = _fit(seen, np.ones(len(fitted), dtype=bool), support.plane, config)
    logger.info(
        "the depth bends the support; without that %.0f %% of its spread is left", 100 * (1 - improvement)
    )
    return DepthBias(coefficients, config.order, improvement)


def _pixels_on_plane(frames: Sequence[Frame], support: Support, config: DepthBiasConfig) -> _OnPlane | None:
    plane = support.plane
    assert plane is not None
    usable = [f for f in frames if f.depth is not None and (f.depth > 0).any()]
    chosen = (
        [usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, config.max_frames).round().astype(int))]
        if usable
        else []
    )
    generator = np.random.default_rng(0)
    parts = []
    for number, frame in enumerate(chosen):
        _, normals, valid = smooth_geometry(frame.require_depth(), frame.camera)
        pick = np.flatnonzero(valid.ravel())
        pick = generator.choice(pick, min(len(pick), config.pixels_per_frame), replace=False)
        rotation, centre = frame.world_from_camera[:3, :3], frame.world_from_camera[:3, 3]
        depth = frame.require_depth().ravel()[pick].astype(np.float64)
        rays = frame.camera.rays.reshape(-1, 3)[pick].astype(np.float64) @ rotation.T
        world = centre + depth[:, None] * rays
        facing = normals.reshape(-1, 3)[pick] @ rotation.T @ plane.normal
        keep = (
            (np.abs(plane.height(world)) < config.reach * depth) & (facing > config.min_facing) & (depth > 0)
        )
        if support.extent is not None:
            keep &= support.extent.contains(world)
        rows, columns = np.divmod(pick[keep], frame.camera.width)
        x, y = _normalised(columns + 0.5, rows + 0.5, frame.camera)
        kept = int(keep.sum())
        parts.append(
            (
                _terms(x, y, config.order),
                1 / depth[keep],
                rays[keep],
                np.tile(centre, (kept, 1)),
                np.full(kept, number),
            )
        )
    if len(parts) < 4 or sum(len(part[1]) for part in parts) < config.min_pixels:
        return None
    return _OnPlane(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _fit(
    seen: _OnPlane, used: np.ndarray, start: Plane, config: DepthBiasConfig, bend: bool = True
) -> tuple[Plane, np.ndarray]:
    """Plane and polynomial in turn, each by robust least squares given the other."""
    plane, coefficients = start, np.zeros(seen.terms.shape[1])
    terms, rays, centres = seen.terms[used], seen.rays[used], seen.centres[used]
    for _ in range(config.rounds):
        residual = _residual(seen, plane, coefficients)[used]
        weight = _tukey(residual)
        if bend:
            target = residual + terms @ coefficients
            normal = terms.T @ (weight[:, None] * terms)
            ridge = config.ridge * np.trace(normal) / len(normal) * np.eye(len(normal))
            coefficients = np.linalg.solve(normal + ridge, terms.T @ (weight * target))
        inverse = np.maximum(seen.inverse[used] - terms @ coefficients, 1e-6)
        points = centres + rays / inverse[:, None]
        weight = _tukey(_residual(seen, plane, coefficients)[used])
        centre = (weight[:, None] * points).sum(axis=0) / max(weight.sum(), 1e-12)
        spread = (points - centre).T @ (weight[:, None] * (points - centre))
        normal_of_plane = np.linalg.eigh(spread)[1][:, 0]
        normal_of_plane *= np.sign(normal_of_plane @ plane.normal)
        plane = Plane(normal_of_plane, float(centre @ normal_of_plane))
    return plane, coefficients


def _residual(seen: _OnPlane, plane: Plane, coefficients: np.ndarray) -> np.ndarray:
    """[N] 1/m: what is left of the measured inverse depth without the plane's and the polynomial."""
    along = plane.offset - seen.centres @ plane.normal
    of_plane = (seen.rays @ plane.normal) / np.where(np.abs(along) > 1e-9, along, 1e-9)
    return seen.inverse - of_plane - seen.terms @ coefficients


def _spread(residual: np.ndarray) -> float:
    """Robust standard deviation about zero."""
    return 1.4826 * float(np.median(np.abs(residual)))


def _tukey(residual: np.ndarray) -> np.ndarray:
    """[N] 0 … 1: weights that leave out what lies beyond 4.7 standard deviations (Tukey's biweight)."""
    share = residual / max(4.685 * _spread(residual), 1e-12)
    return np.where(np.abs(share) < 1, (1 - share**2) ** 2, 0)


def _normalised(x: np.ndarray, y: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates → −1 … 1 over the image."""
    return 2 * x / camera.width - 1, 2 * y / camera.height - 1


def _terms(x: np.ndarray, y: np.ndarray, order: int) -> np.ndarray:
    """[N, K] products of Legendre polynomials in x and y whose degrees add up to at most `order`."""
    in_x, in_y = legendre.legvander(x, order), legendre.legvander(y, order)
    return np.stack(
        [in_x[:, i] * in_y[:, j] for i in range(order + 1) for j in range(order + 1 - i) if i + j], axis=1
    )
