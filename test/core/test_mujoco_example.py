"""examples/04_mujoco_scene.py on objects as they are exported."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from instascene_core.config import ExportConfig
from instascene_core.export import export_object
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.transforms import matrix_from_quaternion

pytest.importorskip("mujoco")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "04_mujoco_scene.py"


def export_box(folder: Path, number: int, at, degrees: float) -> None:
    """A box of 6 × 4 × 10 cm whose bottom centre is at `at`, turned about the vertical."""
    half = np.radians(degrees) / 2
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(np.array([np.cos(half), 0, 0, np.sin(half)]))
    pose[:3, 3] = at
    shape = trimesh.creation.box(bounds=[[-0.03, -0.02, 0], [0.03, 0.02, 0.1]]).subdivide()
    mesh = meshes.from_trimesh(shape.apply_transform(pose))
    count = len(mesh.vertices)
    result = CompletedObject(
        instance_id=number, mesh=mesh, colors=np.full((count, 3), 200, np.uint8),
        observed=np.ones(count, np.float32), vertex_uncertainty=np.zeros(count, np.float32),
        world_from_object=pose, dimensions=np.array([0.06, 0.04, 0.1]), watertight=True,
        volume=meshes.volume(mesh), observed_fraction=1.0, uncertainty=0.0, confidence=1.0, prior="test",
        duration_s=0.0, convex_parts=(mesh,), notes=(),
    )  # fmt: skip
    export_object(result, folder / "objects" / str(number), ExportConfig(formats=("mjcf",)))


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(EXAMPLE), *words], capture_output=True, text=True)


def moved(done: subprocess.CompletedProcess) -> dict[int, float]:
    """Object → millimetres."""
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {int(line[1].rstrip(":")): float(line[3]) for line in lines}


def test_objects_stand_where_they_were_seen_and_what_floats_falls(tmp_path):
    export_box(tmp_path, 2, (0.2, 0.1, 0.75), 30)
    export_box(tmp_path, 10, (0.0, 0.0, 0.80), 0)  # 5 cm above the table
    plane = {"normal": [0.0, 0.0, 1.0], "offset": 0.75}
    (tmp_path / "scene.json").write_text(json.dumps({"instances": {"support_plane": plane}}))
    model = tmp_path / "all.mjb"
    distances = moved(run(str(tmp_path), "--seconds", "0.5", "--save", str(model)))
    assert list(distances) == [2, 10]
    assert distances[2] < 1.0 and 45 < distances[10] < 55
    import mujoco

    loaded = mujoco.MjModel.from_binary_path(str(model))
    assert loaded.nbody == 3 and loaded.nmesh >= 4


def test_without_a_support_things_stand_at_the_lowest(tmp_path):
    export_box(tmp_path, 1, (0.0, 0.0, 0.3), 0)
    assert moved(run(str(tmp_path), "--seconds", "0.3"))[1] < 1.0


def test_what_is_missing_is_told_in_one_sentence(tmp_path):
    done = run(str(tmp_path))
    assert done.returncode == 1 and "There is no objects/<id>/object.xml in" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
