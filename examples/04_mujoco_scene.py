"""The objects of a finished run in MuJoCo, where they were seen:  python examples/04_mujoco_scene.py OUT

Every objects/<id>/object.xml is placed by its object.json on the support, and the world runs for some
seconds: what floats falls, what overlaps is pushed apart, and how far each object went is told.  `--view`
opens MuJoCo's viewer, `--save FILE` writes the whole as one MJB file for `mujoco.MjModel.from_binary_path`.
Needs `pip install mujoco`.
"""

import argparse
import importlib
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Moved:
    """What became of one object."""

    number: int
    distance: float  # metres
    turned: float  # radians


def load_mujoco() -> Any:  # a compiled module without types
    """SystemExit with one sentence where it is not installed."""
    try:
        return importlib.import_module("mujoco")
    except ImportError:
        sys.exit("MuJoCo is not installed; `pip install mujoco` brings it.")


def placed(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Position [3] (metres) and orientation [4] (wxyz) of an exported object in the world."""
    told = json.loads((folder / "object.json").read_text())
    return np.array(told["position_m"]), np.array(told["orientation_wxyz"])


def support_of(output: Path) -> tuple[np.ndarray, float] | None:
    """Normal [3] and offset (metres) of the plane that things stand on, where the run found one."""
    try:
        plane = json.loads((output / "scene.json").read_text())["instances"]["support_plane"]
    except (FileNotFoundError, KeyError):
        return None
    return None if plane is None else (np.array(plane["normal"]), float(plane["offset"]))


def build(output: Path, mujoco: Any) -> tuple[Any, list[int]]:
    """One model of all objects and the plane below them, and the objects' ids.  ValueError for none."""
    files = sorted(output.glob("objects/*/object.xml"), key=lambda path: int(path.parent.name))
    if not files:
        raise ValueError(f"There is no objects/<id>/object.xml in {output}; export with the format mjcf.")
    spec, ids, positions = mujoco.MjSpec(), [], []
    for folder in (path.parent for path in files):
        child = mujoco.MjSpec.from_file(str(folder / "object.xml"))
        child.meshdir = str(folder.resolve())  # of the files it names, wherever it is attached
        position, orientation = placed(folder)
        frame = spec.worldbody.add_frame(pos=position, quat=orientation)
        frame.attach_body(child.worldbody.first_body(), f"{folder.name}/", "")
        ids.append(int(folder.name))
        positions.append(position)
    # Without a support: at the lowest object frame, which is at the bottom of an object that stands.
    normal, offset = support_of(output) or (np.array([0.0, 0.0, 1.0]), float(np.min(positions, axis=0)[2]))
    turn = np.zeros(4)
    mujoco.mju_quatZ2Vec(turn, normal)
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(name="support", type=plane, size=[2, 2, 0.1], pos=offset * normal, quat=turn)
    spec.worldbody.add_light(pos=2 * normal, dir=-normal)
    spec.option.gravity = -9.81 * normal
    return spec.compile(), ids


def run(model: Any, ids: list[int], seconds: float, mujoco: Any) -> list[Moved]:
    """Simulate, and tell how far every object went from where it was seen."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    before = data.qpos.reshape(-1, 7).copy()  # one free joint an object: x y z, quaternion wxyz
    for _ in range(round(seconds / model.opt.timestep)):
        mujoco.mj_step(model, data)
    after = data.qpos.reshape(-1, 7)
    cosines = np.abs(np.einsum("ij,ij->i", before[:, 3:], after[:, 3:]))
    distances = np.linalg.norm(after[:, :3] - before[:, :3], axis=1)
    turned = 2 * np.arccos(np.clip(cosines, 0, 1))
    return [Moved(i, float(d), float(t)) for i, d, t in zip(ids, distances, turned)]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("output", type=Path, help="folder that `instascene run` or save_scene wrote")
    parser.add_argument("--seconds", type=float, default=2.0, help="of simulated time (2)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the model as one .mjb file")
    parser.add_argument("--view", action="store_true", help="open MuJoCo's viewer")
    arguments = parser.parse_args(words)
    mujoco = load_mujoco()
    try:
        model, ids = build(arguments.output, mujoco)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for moved in run(model, ids, arguments.seconds, mujoco):
        millimetres, degrees = 1000 * moved.distance, math.degrees(moved.turned)
        print(f"object {moved.number}: moved {millimetres:.1f} mm, turned {degrees:.1f}°")
    if arguments.save:
        mujoco.mj_saveModel(model, str(arguments.save), None)
    if arguments.view:
        importlib.import_module("mujoco.viewer").launch(model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
