"""Do the files load where they are for?  `python -m benchmarks.parsers FOLDER... [--gltf-validator FOLDER]`.

Every file of saved scenes (all formats, `usd` too) is read by the parser that it is for, and compared with
object.json and mesh.ply: mass, centre, inertia, volume, pose in the scene, watertight with the same Euler
number.  Readers that are not installed are named as such.  SDF has no parser in Python: its numbers and file
names are read here, and by a small program over Gazebo's own library where that is installed.  Writes
benchmarks/results/parsers.json; ends with 1 where anything is off by more than 1 %, or a reader complains.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from benchmarks import parsers_scene
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.transforms import matrix_from_quaternion
from instascene_core.untrusted import read_json_object

ALLOWED = 0.01  # relative, of volume, mass and inertia; of the size, of centres and poses

logger = logging.getLogger("benchmarks.parsers")


@dataclass(frozen=True)
class Expected:
    """One object, as object.json and mesh.ply tell it."""

    number: str
    folder: Path
    mass: float
    center: np.ndarray  # [3] metres, object frame
    moments: np.ndarray  # [3] ascending, kg·m²
    volume: float
    euler: int
    size: float  # metres, diagonal of its box
    pose: np.ndarray  # [4, 4] of its frame in the scene

    @property
    def name(self) -> str:
        return f"object_{self.number}"


@dataclass
class Answer:
    """What one reader made of a scene."""

    files: int = 0
    worst: dict[str, float] = field(default_factory=dict)  # relative, by what was compared
    complaints: list[str] = field(default_factory=list)

    def compare(self, what: str, found, expected, scale: float | None = None) -> None:
        """Note how far apart two numbers or arrays are, over `scale`, or the largest expected value."""
        expected = np.asarray(expected, dtype=np.float64)
        scale = float(np.abs(expected).max()) if scale is None else scale
        off = float(np.abs(np.asarray(found, dtype=np.float64) - expected).max()) / max(scale, 1e-30)
        self.worst[what] = max(self.worst.get(what, 0.0), off)

    def body(self, one: Expected, mass: float, center, moments) -> None:
        self.compare("mass", mass, one.mass)
        self.compare("center", center, one.center, one.size)
        self.compare("inertia", np.sort(np.asarray(moments)), one.moments)

    @property
    def good(self) -> bool:
        return not self.complaints and all(value <= ALLOWED for value in self.worst.values())

    def as_dict(self) -> dict:
        return {"files": self.files, "worst": self.worst, "complaints": self.complaints, "good": self.good}


def expected_of(folder: Path) -> list[Expected]:
    """The objects of a saved scene; poses in the scene's frame."""
    found = []
    for path in sorted(folder.glob("objects/*/object.json")):
        facts = read_json_object(path)
        mesh = trimesh.load_mesh(path.parent / "mesh.ply", process=False)
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quaternion(np.array(facts["orientation_wxyz"]))
        pose[:3, 3] = np.array(facts["position_m"]) - facts["world_offset_m"]
        found.append(
            Expected(
                path.parent.name, path.parent, facts["mass_kg"], np.array(facts["center_of_mass_m"]),
                np.sort(np.linalg.eigvalsh(np.array(facts["inertia_kg_m2"]))), facts["volume_m3"],
                mesh.euler_number, float(np.linalg.norm(facts["dimensions_m"])), pose,
            )
        )  # fmt: skip
    return found


def meshes_by(load: Callable[[Path], trimesh.Trimesh], names: tuple[str, ...]) -> Callable:
    """A reader of the surfaces `names` of each object, by `load`."""

    def read(folder: Path, things: list[Expected], answer: Answer) -> None:
        for one in things:
            for name in names:
                mesh = load(one.folder / name)
                mesh.merge_vertices(merge_tex=True, merge_norm=True)
                answer.files += 1
                answer.compare("volume", mesh.volume, one.volume)
                if not mesh.is_watertight or mesh.euler_number != one.euler:
                    answer.complaints.append(f"{one.number}/{name}: open, or of another Euler number")

    return read


def by_trimesh(path: Path) -> trimesh.Trimesh:
    mesh: Any = trimesh.load(path, force="mesh")
    return mesh


def by_open3d(path: Path) -> trimesh.Trimesh:
    from instascene_core.geometry.open3d_loader import open3d

    mesh = open3d.io.read_triangle_mesh(str(path))
    return trimesh.Trimesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles), process=False)


READERS: dict[str, Callable[[Path, list[Expected], Answer], None]] = {
    "trimesh": meshes_by(by_trimesh, ("mesh.ply", "mesh.stl", "mesh.obj", "mesh.glb")),
    "open3d": meshes_by(by_open3d, ("mesh.ply", "mesh.stl", "mesh.obj", "mesh.glb")),
    "mujoco": parsers_scene.mujoco,
    "pybullet": parsers_scene.pybullet,
    "yourdfpy": parsers_scene.yourdfpy,
    "urdf_parser_py": parsers_scene.urdf_parser_py,
    "sdf": parsers_scene.sdf,
    "libsdformat": parsers_scene.libsdformat,
    "pxr": parsers_scene.pxr,
    "simready-validate": parsers_scene.simready,
    "gltf-validator": parsers_scene.gltf_validator,
}


def check(folder: Path) -> dict:
    """One row: what each reader says of a saved scene."""
    things, answers = expected_of(folder), {}
    for name, read in READERS.items():
        answer = Answer()
        try:
            read(folder, things, answer)
        except ImportError as error:
            logger.info("%s: %s is not installed (%s)", folder.name, name, error)
            answers[name] = None
            continue
        except Exception as error:  # (a reader that gives up is what is looked for)
            answer.complaints.append(f"{type(error).__name__}: {error}")
        answers[name] = answer.as_dict()
        worst = ", ".join(f"{what} {100 * off:.2g} %" for what, off in answer.worst.items())
        logger.info("%s: %s: %d files; off by %s", folder.name, name, answer.files, worst or "nothing")
        for complaint in answer.complaints[:5]:
            logger.info("    %s", complaint)
    good = all(answer is None or answer["good"] for answer in answers.values())
    return {"scene": folder.name, "objects": len(things), "readers": answers, "good": good}


def main() -> None:
    """Check what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="saved scenes")
    parser.add_argument("--gltf-validator", type=Path, help="node_modules with the package gltf-validator")
    parser.add_argument("--output", type=Path, default=RESULTS / "parsers.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    parsers_scene.NODE_MODULES = arguments.gltf_validator
    made_by, rows = provenance_of("parsers"), []
    for folder in arguments.folders:
        rows.append(check(folder))
        write_results(arguments.output, "parsers", {"runs": rows[-1:]}, made_by)
    sys.exit(0 if all(row["good"] for row in rows) else 1)


if __name__ == "__main__":
    main()
