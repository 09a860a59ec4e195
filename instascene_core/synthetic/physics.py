"""Dropping solids onto fixtures with mujoco until they lie still."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from instascene_core.errors import needs
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.synthetic.solids import Solid
from instascene_core.transforms import matrix_from_quaternion, quaternion_from_matrix

TIMESTEP = 0.002  # seconds
GRAVITY = 9.81  # m/s²
CLEARANCE = 0.01  # metres between a released object and what lies below it
PARKING_HEIGHT = 20.0  # metres: where objects wait for their turn
STILL_SPEED = 0.004  # m/s; slower than this counts as lying still
STILL_SPIN = 0.08  # rad/s


@dataclass(frozen=True)
class Drop:
    """How one solid enters the scene."""

    solid: Solid
    rotation: np.ndarray  # [3, 3] world from object
    position: np.ndarray  # [2] metres x, y: where the origin of the solid starts
    height: float | None = None  # metres z of the origin; None = just above what lies there already
    twin_of: int | None = None  # index of the drop whose texture this one shares


@dataclass(frozen=True)
class Pen:
    """An invisible round fence that keeps a pile together while it is dropped, then vanishes."""

    radius: float  # metres
    keep_radius: float  # metres: what has rolled farther out when the fence is gone is dropped again
    height: float = 1.0
    retries: int = 3


def settle(
    drops: list[Drop],
    fixtures: list[np.ndarray],
    pen: Pen | None = None,
    progress: ProgressCallback = no_progress,
) -> np.ndarray:
    """Poses `world_from_object` [N, 4, 4] after the solids were released one after the other.

    fixtures: convex parts [n, 3] (world frame, metres) of what does not move.
    Nothing is checked here: an object that rolled off is at wherever it fell.
    """
    simulation = _Simulation(drops, fixtures, pen)
    for k in range(len(drops)):
        progress("physics", k / (len(drops) + 1), f"dropping object {k + 1} of {len(drops)}")
        simulation.release(k)
        simulation.run(shortest=0.15, longest=0.8)
    progress("physics", len(drops) / (len(drops) + 1), "settling")
    simulation.set_pen(closed=False)
    simulation.run(shortest=0.3, longest=3.0)
    if pen is not None:
        _return_strays(simulation, pen)
    progress("physics", 1.0, "at rest")
    return simulation.poses()


def _return_strays(simulation: "_Simulation", pen: Pen) -> None:
    """Drop again what has rolled out of the pen's place, up to `pen.retries` times."""
    for _ in range(pen.retries):
        strays = np.flatnonzero(np.linalg.norm(simulation.poses()[:, :2, 3], axis=1) > pen.keep_radius)
        if not len(strays):
            break
        simulation.set_pen(closed=True)
        for k in strays:
            simulation.release(k)
            simulation.run(shortest=0.15, longest=0.8)
        simulation.set_pen(closed=False)
        simulation.run(shortest=0.3, longest=3.0)


def poses_as_planned(drops: list[Drop]) -> np.ndarray:
    """[N, 4, 4] world_from_object of drops whose height is given, where they are let go."""
    poses = np.tile(np.eye(4), (len(drops), 1, 1))
    for pose, drop in zip(poses, drops):
        pose[:3, :3], pose[:3, 3] = drop.rotation, [*drop.position, drop.height]
    return poses


def _load_mujoco() -> Any:  # a compiled module without types
    with needs(
        "mujoco", "Procedural scenes need mujoco; install it with `pip install 'instascene[synthetic]'`."
    ):
        import mujoco
    return mujoco


class _Simulation:
    def __init__(self, drops: list[Drop], fixtures: list[np.ndarray], pen: Pen | None) -> None:
        mujoco = _load_mujoco()
        self._drops = drops
        self._released = 0
        self._model = _compile(drops, fixtures, pen)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)

    def release(self, k: int) -> None:
        """Put object k above what lies at its place and let go."""
        drop = self._drops[k]
        points = drop.solid.mesh.vertices @ drop.rotation.T + [*drop.position, 0.0]
        height = drop.height
        if height is None:
            height = self._top_under(points, k) + CLEARANCE - points[:, 2].min()
        at, speed = self._slices(k)
        self._data.qpos[at] = [*drop.position, height, *quaternion_from_matrix(drop.rotation)]
        self._data.qvel[speed] = 0.0
        self._model.body_gravcomp[k + 1] = 0.0
        self._released = max(self._released, k + 1)

    def run(self, shortest: float, longest: float) -> None:
        """Step until everything released lies still (seconds of simulated time)."""
        mujoco = _load_mujoco()
        check = 10  # steps between looks at the speeds
        for elapsed in np.arange(0.0, longest, check * TIMESTEP):
            mujoco.mj_step(self._model, self._data, nstep=check)
            speed = self._data.qvel[: 6 * self._released].reshape(-1, 2, 3)
            fastest = np.linalg.norm(speed, axis=2).max(axis=0)
            if elapsed >= shortest and fastest[0] < STILL_SPEED and fastest[1] < STILL_SPIN:
                break

    def set_pen(self, closed: bool) -> None:
        """Put the fence up, or let it vanish."""
        for g in range(self._model.ngeom):
            if self._model.geom(g).name.startswith("pen"):
                self._model.geom_contype[g] = self._model.geom_conaffinity[g] = int(closed)

    def poses(self) -> np.ndarray:
        """[N, 4, 4] world_from_object."""
        poses = np.tile(np.eye(4), (len(self._drops), 1, 1))
        for k in range(len(self._drops)):
            q = self._data.qpos[self._slices(k)[0]]
            poses[k, :3, :3], poses[k, :3, 3] = matrix_from_quaternion(q[3:]), q[:3]
        return poses

    def _slices(self, k: int) -> tuple[slice, slice]:
        return slice(7 * k, 7 * k + 7), slice(6 * k, 6 * k + 6)

    def _top_under(self, points: np.ndarray, skip: int) -> float:
        """Height in metres of the highest other thing whose box overlaps that of `points` from above."""
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        top = 0.0
        poses = self.poses()
        for k in set(range(self._released)) - {skip}:
            other = self._drops[k].solid.mesh.vertices @ poses[k, :3, :3].T + poses[k, :3, 3]
            if (other[:, :2].min(axis=0) < high).all() and (other[:, :2].max(axis=0) > low).all():
                top = max(top, float(other[:, 2].max()))
        return top


def _compile(drops: list[Drop], fixtures: list[np.ndarray], pen: Pen | None):
    mujoco = _load_mujoco()
    spec = mujoco.MjSpec()
    spec.option.timestep = TIMESTEP
    spec.option.gravity = [0.0, 0.0, -GRAVITY]
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5.0  # friction nearly without creep
    for i, part in enumerate(fixtures):
        _add_hull(spec, spec.worldbody, f"fixture{i}", part)
    if pen is not None:
        _add_pen(spec, pen)
    for k, drop in enumerate(drops):
        body = spec.worldbody.add_body(name=f"object{k}", pos=[3.0 * k, 0.0, PARKING_HEIGHT])
        body.add_freejoint()
        body.gravcomp = 1.0  # waits weightless in its parking place
        _set_inertia(body, drop.solid)
        for i, part in enumerate(drop.solid.parts):
            _add_hull(spec, body, f"object{k}_{i}", part)
    return spec.compile()


def _add_hull(spec, body, name: str, points: np.ndarray) -> None:
    mujoco = _load_mujoco()
    spec.add_mesh(name=name, uservert=np.asarray(points, dtype=np.float64).ravel().tolist())
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, **_contact())


def _contact() -> dict:
    """Stiff, inelastic contact with sliding, torsional and a little rolling friction."""
    return {
        "mass": 0.0,
        "condim": 6,
        "friction": [0.7, 0.01, 0.003],
        "solref": [0.006, 1.2],
        "solimp": [0.95, 0.99, 0.0005, 0.5, 2.0],
    }


def _add_pen(spec, pen: Pen, panels: int = 16) -> None:
    mujoco = _load_mujoco()
    half_width = pen.radius * np.tan(np.pi / panels) + 0.02
    for i in range(panels):
        angle = 2 * np.pi * i / panels
        spec.worldbody.add_geom(
            name=f"pen{i}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[0.02, half_width, pen.height],
            pos=[(pen.radius + 0.02) * np.cos(angle), (pen.radius + 0.02) * np.sin(angle), pen.height],
            quat=[np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)],
            **{**_contact(), "friction": [0.05, 0.005, 0.0001]},
        )


def _set_inertia(body, solid: Solid) -> None:
    """Mass properties of the exact mesh (not of the convex parts, which overlap)."""
    mass, centre, inertia = mass_properties(solid)
    body.explicitinertial = True
    body.mass = mass
    body.ipos = centre
    body.fullinertia = [
        inertia[0, 0],
        inertia[1, 1],
        inertia[2, 2],
        inertia[0, 1],
        inertia[0, 2],
        inertia[1, 2],
    ]


def mass_properties(solid: Solid) -> tuple[float, np.ndarray, np.ndarray]:
    """(mass [kg], centre of mass [3], inertia about it [3, 3] kg·m²) by tetrahedra from the origin."""
    corners = solid.mesh.vertices[solid.mesh.triangles]  # [F, 3, 3]
    volumes = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    volume = volumes.sum()
    centre = (volumes[:, None] * corners.sum(axis=1)).sum(axis=0) / 4.0 / volume
    total = corners.sum(axis=1)
    # ∫ x xᵀ over a tetrahedron with one corner at 0: V/20 (Σ c cᵀ + s sᵀ), s the sum of corners.
    second = np.einsum("f,fki,fkj->ij", volumes, corners, corners) + np.einsum(
        "f,fi,fj->ij", volumes, total, total
    )
    second = second / 20.0 - volume * np.outer(centre, centre)
    inertia = np.trace(second) * np.eye(3) - second
    return float(volume * solid.density), centre, inertia * solid.density
