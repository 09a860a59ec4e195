"""Mass, centre of mass and inertia of a closed mesh of even density."""

from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh


@dataclass(frozen=True)
class Inertial:
    """Of a rigid body, in its mesh's frame."""

    mass: float  # kg
    center: np.ndarray  # [3] metres
    inertia: np.ndarray  # [3, 3] kg·m², about the centre of mass, axes of the mesh's frame


def inertial(mesh: TriangleMesh, density: float) -> Inertial:
    """Exact integrals over the tetrahedra origin–triangle (Blow & Binstock 2004).

    density: kg/m³.  Raises InputError when the mesh encloses no volume.
    """
    corners = mesh.vertices[mesh.triangles]  # [F, 3 corners, 3]
    reference = mesh.vertices.mean(axis=0)  # near the body: far origins lose digits
    corners = corners - reference
    six_volumes = np.linalg.det(corners)
    volume = six_volumes.sum() / 6
    if not volume > 0:
        raise InputError("The mesh encloses no volume, so it has no mass.")
    total = corners.sum(axis=1)
    center = (six_volumes[:, None] * total).sum(axis=0) / 24 / volume
    # ∫ x xᵀ over a tetrahedron with one corner at the origin = det/120 · (Σ cᵢcᵢᵀ + s sᵀ), s = Σ cᵢ.
    second = np.einsum("f,fki,fkj->ij", six_volumes, corners, corners)
    second += np.einsum("f,fi,fj->ij", six_volumes, total, total)
    covariance = second / 120 - volume * np.outer(center, center)
    inertia = density * _of_covariance(covariance)
    return Inertial(float(density * volume), center + reference, inertia)


def _of_covariance(covariance: np.ndarray) -> np.ndarray:
    """[3, 3] inertia of a body whose second moments about its centre are `covariance`, per density.

    Its eigenvalues are sums of two of the covariance's, so that none is more than the other two together
    (engines refuse such bodies) as long as none of those is negative, which rounding, or a mesh that cuts
    through itself, can make it.
    """
    values, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    least = 1e-6 * max(float(values.max()), 0.0)
    if values.min() < least:
        covariance = axes @ np.diag(np.maximum(values, least)) @ axes.T
    return np.trace(covariance) * np.eye(3) - covariance
