"""Mass, inertia and friction of a completed object: guessed from its shape, or as a file says.

Cameras see a surface.  Where the mesh is a thin wall, the wall is the thing, and its material is what has
to be guessed; where it is a closed body, that may be a full can, an empty box or a block of foam, and the
mass may be off by a factor of three: `mass_range_kg` says so.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.config import ExportConfig
from instascene_core.config.physics import PhysicsConfig
from instascene_core.export.inertia import Inertial, inertial
from instascene_core.export.known_physics import Known, known_of
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes

SHELL, BODY = "thin-walled (plastic to ceramics)", "closed body (pack, fruit, tool)"


@dataclass(frozen=True)
class Physics:
    """What a simulator needs of one object."""

    material: str  # what was guessed or given, in words
    density: float  # kg/m³ of the mesh's volume
    mass_range: tuple[float, float]  # kg: least and most that the shape allows; both the mass where given
    friction: float
    given: bool  # whether mass or density come from a file
    body: Inertial


def physics_of(mesh: TriangleMesh, instance_id: int, config: ExportConfig) -> Physics:
    """Of a closed mesh, in its frame.

    Raises InputError for a mesh without volume, and for a file of `config.physics` that cannot be used.
    """
    known = known_of(config.physics.file, instance_id)
    settings, volume = config.physics, meshes.volume(mesh)
    thin = _is_thin(mesh, settings)
    if thin:
        material, density, friction = SHELL, settings.shell_density, settings.shell_friction
        least, most = settings.shell_least_density * volume, settings.shell_most_density * volume
    else:
        material, density, friction = BODY, config.density, config.friction
        wall = min(settings.empty_wall_m * _area(mesh), volume)
        least, most = settings.empty_density * wall, settings.full_density * volume
    return _with_known(mesh, known, Physics(material, density, (least, most), friction, False, _NONE))


_NONE = Inertial(0.0, np.zeros(3), np.zeros((3, 3)))


def _with_known(mesh: TriangleMesh, known: Known, guess: Physics) -> Physics:
    """The guess with what a file says, and the inertia of the mesh at that density."""
    density = known.density if known.density is not None else guess.density
    if known.mass is not None:
        density = known.mass / max(meshes.volume(mesh), 1e-30)
    body = inertial(mesh, density)
    given = known.mass is not None or known.density is not None
    low, high = (body.mass, body.mass) if given else guess.mass_range
    friction = guess.friction if known.friction is None else known.friction
    span = (min(low, body.mass), max(high, body.mass))
    return Physics(known.material or guess.material, density, span, friction, given, body)


def _is_thin(mesh: TriangleMesh, settings: PhysicsConfig) -> bool:
    """Whether it is a wall around nothing: 2 · volume / area is the mean thickness of a sheet."""
    volume, hull = meshes.volume(mesh), meshes.volume(meshes.convex_hull(mesh.vertices))
    thickness = 2 * volume / max(_area(mesh), 1e-30)
    return volume < settings.thin_fullness * hull and thickness < settings.thin_wall * np.cbrt(hull)


def _area(mesh: TriangleMesh) -> float:
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    return float(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
