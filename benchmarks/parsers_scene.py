"""Readers of descriptions and scene files, for `benchmarks.parsers`: each reads all files of its format."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from instascene_core.transforms import matrix_from_quaternion

NODE_MODULES: Path | None = None  # where npm has put gltf-validator
GLTF = """const v = require(process.argv[1] + '/gltf-validator'), fs = require('fs'), path = require('path');
const f = process.argv[2];
v.validateBytes(new Uint8Array(fs.readFileSync(f)), {externalResourceFunction: u =>
  new Promise((ok, no) => fs.readFile(path.resolve(path.dirname(f), decodeURIComponent(u)),
    (e, d) => e ? no(e.toString()) : ok(d)))})
.then(r => console.log(JSON.stringify(r.issues)));"""
SIMREADY = """import sys
from simready.validate._cli import main
sys.argv = ["simready-validate", "--profile", "Robotics-Prop", "--version", "3.1.0", sys.argv[1]]
main()"""


def mujoco(folder: Path, things: list, answer: Any) -> None:
    engine: Any = import_module("mujoco")

    for one in things:
        for name in ("object.xml", "object.urdf"):
            model = engine.MjModel.from_xml_path(str(one.folder / name))
            answer.files += 1
            answer.body(one, model.body_mass[1], model.body_ipos[1], model.body_inertia[1])
    for name in ("scene.xml", "scene.urdf"):
        model = engine.MjModel.from_xml_path(str(folder / name))
        data = engine.MjData(model)
        engine.mj_forward(model, data)
        answer.files += 1
        for one in things:
            body = model.body(one.name).id
            answer.compare("pose", _frame(data.xpos[body], data.xquat[body]), one.pose, one.size)
            answer.body(one, model.body_mass[body], model.body_ipos[body], model.body_inertia[body])


def pybullet(folder: Path, things: list, answer: Any) -> None:
    bullet: Any = import_module("pybullet")

    with _said(answer):
        client = bullet.connect(bullet.DIRECT)
        flags = bullet.URDF_USE_INERTIA_FROM_FILE
        for one in things:
            path = str(one.folder / "object.urdf")
            body = bullet.loadURDF(path, flags=flags, physicsClientId=client)
            facts = bullet.getDynamicsInfo(body, -1, physicsClientId=client)
            answer.files += 1
            answer.body(one, facts[0], facts[3], facts[2])
        scene = bullet.loadURDF(str(folder / "scene.urdf"), useFixedBase=True, physicsClientId=client)
        answer.files += 1
        joints = [
            bullet.getJointInfo(scene, k, physicsClientId=client)
            for k in range(bullet.getNumJoints(scene, physicsClientId=client))
        ]
        for joint in joints:
            for one in things:
                if joint[12].decode() == one.name:
                    state = bullet.getLinkState(scene, joint[0], physicsClientId=client)
                    answer.compare("pose", state[4], one.pose[:3, 3], one.size)
        bullet.disconnect(client)


def yourdfpy(folder: Path, things: list, answer: Any) -> None:
    parser: Any = import_module("yourdfpy")

    with _warned(answer):
        for one in things:
            robot = parser.URDF.load(str(one.folder / "object.urdf"), build_collision_scene_graph=True)
            answer.files += 1
            (link,) = robot.robot.links
            moments = np.linalg.eigvalsh(link.inertial.inertia)
            answer.body(one, link.inertial.mass, link.inertial.origin[:3, 3], moments)
            size = robot.scene.bounds[1] - robot.scene.bounds[0]
            answer.compare("size", np.linalg.norm(size), one.size)
            if not robot.validate():
                answer.complaints += [f"{one.number}: {error}" for error in robot.errors]
        scene = parser.URDF.load(str(folder / "scene.urdf"))
        answer.files += 1
        for one in things:
            answer.compare("pose", scene.get_transform(one.name, "world"), one.pose, one.size)


def urdf_parser_py(folder: Path, things: list, answer: Any) -> None:
    from urdf_parser_py.urdf import URDF

    # The tag is MuJoCo's: without it that program would not find the meshes.
    with _said(answer, but='Unknown tag "mujoco"'):
        for one in things:
            (link,) = URDF.from_xml_string((one.folder / "object.urdf").read_bytes()).links
            answer.files += 1
            moments = np.linalg.eigvalsh(np.array(link.inertial.inertia.to_matrix(), dtype=float))
            answer.body(one, link.inertial.mass, link.inertial.origin.xyz, moments)
        scene = URDF.from_xml_string((folder / "scene.urdf").read_bytes())
        answer.files += 1
        places = {joint.child: joint.origin.xyz for joint in scene.joints}
        for one in things:
            answer.compare("pose", places[one.name], one.pose[:3, 3], one.size)


def sdf(folder: Path, things: list, answer: Any) -> None:
    from trimesh.transformations import euler_matrix

    world = ElementTree.parse(folder / "scene.sdf").getroot().find("world")
    assert world is not None, "scene.sdf has no world"
    models = {model.get("name"): model for model in world.findall("model")}
    answer.files += 1
    for one in things:
        (alone,) = ElementTree.parse(one.folder / "model.sdf").getroot().findall("model")
        answer.files += 1
        for model, root in ((alone, one.folder), (models[one.name], folder)):
            inertial = model.find("link/inertial")
            assert inertial is not None, f"{one.name} has no inertial"
            values = {e.tag: float(e.text or "") for e in inertial.iter() if not len(e) and e.tag != "pose"}
            xx, xy, xz, yy, yz, zz = (values[f"i{n}"] for n in ("xx", "xy", "xz", "yy", "yz", "zz"))
            moments = np.linalg.eigvalsh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
            center = [float(x) for x in inertial.findtext("pose", "").split()[:3]]
            answer.body(one, values["mass"], center, moments)
            lost = [uri.text for uri in model.iter("uri") if not (root / (uri.text or "")).is_file()]
            answer.complaints += [f"{one.number}: {name} is not there" for name in lost]
        x, y, z, *angles = map(float, models[one.name].findtext("pose", "").split())
        pose = euler_matrix(angles[0], angles[1], angles[2], "sxyz")
        pose[:3, 3] = x, y, z
        answer.compare("pose", pose, one.pose, one.size)


def libsdformat(folder: Path, things: list, answer: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        program = _sdformat_reader(Path(place))
        files = [folder / "scene.sdf", *(one.folder / "model.sdf" for one in things)]
        done = subprocess.run([program, *files], capture_output=True, text=True, check=True)
    answer.files += len(files)
    answer.complaints += done.stderr.splitlines()
    read = [json.loads(line) for line in done.stdout.splitlines()]
    for one in things:
        alone = [found for found in read if found["file"] == str(one.folder / "model.sdf")]
        placed = [found for found in read if (found["file"], found["model"]) == (str(files[0]), one.name)]
        answer.compare("models", (len(alone), len(placed)), (1, 1))
        for found in alone + placed:
            answer.body(one, found["mass"], found["center"], found["moments"])
        for found in placed:
            answer.compare("pose", _frame(found["position"], found["wxyz"]), one.pose, one.size)


def _sdformat_reader(place: Path) -> Path:
    """The program of sdformat_reader.cpp, built there.  ImportError where the library is not installed."""
    if any(shutil.which(tool) is None for tool in ("pkg-config", "g++")):
        raise ImportError("pkg-config and g++ build the program that asks it")
    known = subprocess.run(["pkg-config", "--list-package-names"], capture_output=True, text=True, check=True)
    names = [name for name in known.stdout.split() if name.startswith("sdformat")]
    if not names:
        raise ImportError("Debian's package is libsdformat-dev")
    asked = ["pkg-config", "--cflags", "--libs", names[-1]]
    flags = subprocess.run(asked, capture_output=True, text=True, check=True)
    program, source = place / "sdformat_reader", Path(__file__).with_name("sdformat_reader.cpp")
    build = ["g++", "-std=c++17", str(source), "-o", str(program), *flags.stdout.split()]
    subprocess.run(build, check=True)
    return program


def pxr(folder: Path, things: list, answer: Any) -> None:
    names = ("Gf", "Usd", "UsdGeom", "UsdPhysics")
    gf, usd, geom, physics = (import_module(f"pxr.{name}") for name in names)

    with _said(answer):
        scene = usd.Stage.Open(str(folder / "scene.usda"))
        answer.files += 1
        for one in things:
            stage = usd.Stage.Open(str(one.folder / "object.usda"))
            answer.files += 1
            mass = physics.MassAPI(stage.GetDefaultPrim())
            moments = mass.GetDiagonalInertiaAttr().Get()
            answer.body(one, mass.GetMassAttr().Get(), mass.GetCenterOfMassAttr().Get(), moments)
            axes = np.array(gf.Matrix3d(gf.Quatd(mass.GetPrincipalAxesAttr().Get())))
            answer.compare("axes", axes @ axes.T, np.eye(3))
            placed = geom.Xformable(scene.GetPrimAtPath(f"/scene/{one.name}"))
            pose = np.array(placed.ComputeLocalToWorldTransform(0)).T
            answer.compare("pose", pose, one.pose, one.size)


def simready(folder: Path, things: list, answer: Any) -> None:
    import_module("simready.validate")

    with tempfile.TemporaryDirectory() as parent:
        for one in things:
            # The profile asks that the file's name holds that of the folder above its own.
            place = Path(parent) / "object" / one.number
            shutil.copytree(one.folder, place)
            command = [sys.executable, "-c", SIMREADY, str(place / "object.usda")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            answer.files += 1
            if "[PASSED] Robotics-Prop v3.1.0" not in done.stdout:
                answer.complaints.append(f"{one.number}: {(done.stdout + done.stderr)[-400:]}")


def gltf_validator(folder: Path, things: list, answer: Any) -> None:
    if NODE_MODULES is None or shutil.which("node") is None:
        raise ImportError("give --gltf-validator, with node installed")
    files = [folder / "scene.glb", *(path for one in things for path in sorted(one.folder.glob("*.glb")))]
    for path in files:
        command = ["node", "-e", GLTF, str(NODE_MODULES.absolute()), str(path.absolute())]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        issues = json.loads(done.stdout)
        answer.files += 1
        if issues["numErrors"] or issues["numWarnings"]:
            said = "; ".join(m["code"] + " " + m["message"] for m in issues["messages"][:3])
            answer.complaints.append(f"{path.parent.name}/{path.name}: {said}")


def _frame(place, quaternion_wxyz) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = matrix_from_quaternion(np.asarray(quaternion_wxyz, float)), place
    return made


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


@contextmanager
def _said(answer: Any, but: str | None = None) -> Iterator[None]:
    """Warnings and errors that a library writes by itself, whatever it is written in, are complaints."""
    with tempfile.TemporaryFile() as file:
        _flush()
        kept = [os.dup(1), os.dup(2)]
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            _flush()
            for number, old in enumerate(kept, 1):
                os.dup2(old, number)
                os.close(old)
        file.seek(0)
        lines = file.read().decode(errors="replace").splitlines()
    answer.complaints += [
        line
        for line in lines
        if (but is None or but not in line) and any(w in line for w in ("arning", "rror", "nknown"))
    ]


@contextmanager
def _warned(answer: Any) -> Iterator[None]:
    """Warnings that a library logs are complaints."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answer.complaints.append(record.getMessage())

    notes = Notes(logging.WARNING)
    logging.getLogger().addHandler(notes)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(notes)
