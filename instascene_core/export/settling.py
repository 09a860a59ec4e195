"""How a saved scene behaves in a simulator: MuJoCo lets its objects go where they stand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.errors import InputError, needs
from instascene_core.owned_folder import finish

SCENE = "scene.xml"
STEP = 0.002  # seconds


@dataclass(frozen=True)
class Settled:
    """What became of one object."""

    name: str
    drift: float  # metres: how far its centre of mass came
    tilt: float  # degrees: between its z axis at first and at last
    start_penetration: float  # metres: deepest overlap with its neighbours and the room at first
    penetration: float  # metres: at last

    @property
    def stays(self) -> bool:
        """Whether it stands as it was found: tilted by less than 5° and moved by less than 1 cm."""
        return self.tilt < 5 and self.drift < 0.01


def settle(folder: Path, seconds: float = 2.0) -> list[Settled]:
    """Let the objects of scene.xml in `folder` go for some seconds of gravity; by name.

    Raises MissingDependencyError without MuJoCo, InputError without a scene that it can read, and where the
    simulation blows up.
    """
    mujoco = _mujoco()
    finish(folder)
    path = Path(folder) / SCENE
    if not path.is_file():
        how = f"`instascene export {folder} --formats mjcf` writes it"
        raise InputError(f"There is no {SCENE} in {folder}; {how}.")
    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise InputError(f"MuJoCo cannot read {path}: {error}.") from error
    model.opt.timestep = STEP
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    bodies = [body for body in range(1, model.nbody) if model.body_dofnum[body] == 6]
    places, axes = data.xipos.copy(), data.xmat.reshape(-1, 3, 3)[:, :, 2].copy()
    before = _penetrations(model, data)
    for _ in range(round(seconds / STEP)):
        mujoco.mj_step(model, data)
    mujoco.mj_forward(model, data)
    if not np.isfinite(data.qpos).all() or data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
        raise InputError(f"The simulation of {path} blows up: its bodies overlap too deeply.")
    after = _penetrations(model, data)
    moved = np.linalg.norm(data.xipos - places, axis=1)
    cosine = np.einsum("bc,bc->b", data.xmat.reshape(-1, 3, 3)[:, :, 2], axes).clip(-1, 1)
    tilted = np.degrees(np.arccos(cosine))
    return [
        Settled(model.body(b).name, float(moved[b]), float(tilted[b]), float(before[b]), float(after[b]))
        for b in bodies
    ]


def settling_facts(settled: list[Settled], seconds: float) -> dict[str, Any]:
    """For metrics.json."""
    objects = {
        one.name: {
            "drift_m": one.drift,
            "tilt_deg": one.tilt,
            "start_penetration_m": one.start_penetration,
            "penetration_m": one.penetration,
        }
        for one in settled
    }
    share = sum(one.stays for one in settled) / len(settled) if settled else 0.0
    return {"seconds": seconds, "stay_where_they_were": share, "objects": objects}


def _penetrations(model: Any, data: Any) -> np.ndarray:
    """[bodies] metres: deepest contact of each body."""
    deepest = np.zeros(model.nbody)
    for k in range(data.ncon):
        contact = data.contact[k]
        for geom in contact.geom:
            body = model.geom_bodyid[geom]
            deepest[body] = max(deepest[body], -contact.dist)
    return deepest


def _mujoco() -> Any:
    with needs(
        "mujoco", "Settling needs MuJoCo, which is not installed: pip install 'instascene[synthetic]'."
    ):
        import mujoco
    return mujoco
