"""The directions of the house (CONTRIBUTING.md): imports go only downward, core never imports ROS."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "instascene_core"


def floors_of_the_house() -> dict[str, int]:
    """Room → floor, read from the package's docstring: lines of room names, then `floor N`."""
    docstring = ast.get_docstring(ast.parse((CORE / "__init__.py").read_text()))
    floors = {}
    for rooms, floor in re.findall(r"^ +([a-z0-9_ ]+?) +floor (\d)", docstring, re.MULTILINE):
        floors.update({room: int(floor) for room in rooms.split()})
    return floors


FLOOR_OF = floors_of_the_house()
STEPS = {room for room, floor in FLOOR_OF.items() if floor == 3}  # these never import one another
ROS_MODULES = {
    "rclpy",
    "sensor_msgs",
    "geometry_msgs",
    "std_msgs",
    "nav_msgs",
    "visualization_msgs",
    "diagnostic_msgs",
    "tf2_ros",
    "cv_bridge",
    "instascene",
    "instascene_ros",
}


def room_of(path: Path) -> str:
    """`rendering/camera.py` → rendering, `frame.py` → frame."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported_modules(source: str, package: list[str]) -> set[str]:
    """Dotted names of everything `source` imports, also inside functions; relative ones resolved.

    `package` is the dotted package of the file as a list, e.g. ["instascene_core", "datasets"].
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def violations(source: str, path: Path) -> list[str]:
    """Sentences about every import in `source` (the file `path`) that breaks a rule."""
    package = ["instascene_core", *path.relative_to(CORE).parts[:-1]]
    own = room_of(path)
    found = []
    for name in sorted(imported_modules(source, package)):
        parts = name.split(".")
        if parts[0] in ROS_MODULES:
            found.append(f"{path.name} imports ROS module {name}")
        if parts[0] != "instascene_core" or len(parts) < 2 or own in ("__init__", "__main__"):
            continue
        other = parts[1]
        if other not in FLOOR_OF or other == own:
            continue  # names of the package's own __init__, such as __version__
        if FLOOR_OF[other] > FLOOR_OF[own]:
            found.append(f"{own} (floor {FLOOR_OF[own]}) imports {other} (floor {FLOOR_OF[other]}) upward")
        if {own, other} <= STEPS:
            found.append(f"step {own} imports step {other}")
    return found


def core_files() -> list[Path]:
    return sorted(p for p in CORE.rglob("*.py") if "__pycache__" not in p.parts)


@pytest.mark.parametrize("path", core_files(), ids=lambda p: str(p.relative_to(CORE)))
def test_imports_go_downward(path):
    assert violations(path.read_text(), path) == []


def test_every_room_has_a_floor():
    rooms = {room_of(p) for p in core_files()} - {"__init__", "__main__"}
    assert rooms <= set(FLOOR_OF), f"no floor in instascene_core/__init__.py: {rooms - set(FLOOR_OF)}"


def test_the_floors_of_the_design():
    """The order that CONTRIBUTING.md fixes; the docstring may add rooms but not move these."""
    order = ["transforms", "frame", "rendering", "reconstruction", "pipeline", "cli"]
    assert [FLOOR_OF[room] for room in order] == [0, 1, 2, 3, 4, 5]
    assert {"reconstruction", "segmentation", "association", "features", "completion"} == STEPS


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("from instascene_core.pipeline import run", "rendering/kernel.py"),
        ("from instascene_core import pipeline", "rendering/kernel.py"),
        ("import instascene_core.completion.prior", "features/train.py"),
        ("from ..completion import prior", "features/train.py"),
        ("def f():\n    from instascene_core.metrics import psnr", "datasets/colmap.py"),
        ("import rclpy.node", "pipeline.py"),
        ("from sensor_msgs.msg import Image", "datasets/rosbag.py"),
    ],
)
def test_the_checker_sees_violations(source, file):
    assert len(violations(source, CORE / file)) == 1


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("from instascene_core.frame import Frame", "datasets/colmap.py"),
        ("from instascene_core import __version__", "datasets/colmap.py"),
        ("from .reader import x", "datasets/colmap.py"),
        ("from instascene_core.pipeline import run", "cli.py"),
        ("import numpy, rosbags.highlevel", "datasets/rosbag.py"),
    ],
)
def test_the_checker_lets_good_imports_pass(source, file):
    assert violations(source, CORE / file) == []


def test_importing_the_package_loads_nothing_heavy():
    """`import instascene_core` and its data types stay fast: no torch, open3d, cv2."""
    code = (
        "import sys, instascene_core.frame, instascene_core.objects, instascene_core.datasets\n"
        "import instascene_core.instances, instascene_core.config, instascene_core.metrics\n"
        "print([m for m in ('torch', 'open3d', 'cv2', 'mujoco', 'pycolmap', 'coacd') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CORE.parent)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
