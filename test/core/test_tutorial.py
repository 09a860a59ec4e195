"""docs/tutorial.md: every command of it, in its order, on a small recording as a phone's app writes it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instascene_core import cli
from instascene_core.synthetic import SyntheticConfig, generate_scene

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = re.findall(r"^\$ (.*)$", "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)), re.M)
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
# So that it takes seconds; what the page types takes minutes and is better.
QUICK = ("reconstruction.iterations=80", "reconstruction.max_gaussians=4000", "completion.prior=carving",
         "export.texture.max_size=128")  # fmt: skip


def write_phone_recording(folder: Path) -> None:
    """Two things on a table: JPEGs, 16-bit depth in millimetres of half the size, transforms.json."""
    config = SyntheticConfig(
        seed=5, num_objects=2, num_views=12, width=160, height=120, supersampling=1,
        layout="spread", kinds=("box", "can"),
    )  # fmt: skip
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True)
    entries = []
    for number, frame in enumerate(generate_scene(config).frames()):
        Image.fromarray(frame.rgb).save(folder / f"images/{number:04d}.jpg", quality=95)
        depth = np.round(1000 * frame.require_depth()).astype(np.uint16)
        Image.fromarray(depth[::2, ::2]).save(folder / f"depth/{number:04d}.png")
        pose = frame.world_from_camera @ OPENGL_FROM_OPENCV
        entries.append(
            {
                "file_path": f"images/{number:04d}.jpg",
                "depth_file_path": f"depth/{number:04d}.png",
                "transform_matrix": pose.tolist(),
            }
        )
    camera = frame.camera
    head = {"w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy}
    head |= {"cx": camera.cx, "cy": camera.cy, "camera_model": "OPENCV"}
    (folder / "transforms.json").write_text(json.dumps({**head, "frames": entries}))


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The folder in which the page was followed, and what each command and program said."""
    pytest.importorskip("mujoco")
    folder = tmp_path_factory.mktemp("tutorial")
    write_phone_recording(folder / "recording")
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS:
            said[command] = follow(shlex.split(command))
        for program in PROGRAMS:
            said[program] = python("-c", program)
    return folder, said


def follow(words: list[str]) -> str:
    program, *rest = words
    if program == "instascene":
        quick = [word for setting in QUICK for word in ("--set", setting)] if rest[0] == "run" else []
        cli.main([*rest, *quick])
        return ""
    assert program == "python", words
    return python(str(ROOT / rest[0]), *rest[1:])


def python(*words: str) -> str:
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_page_has_all_steps():
    verbs = [shlex.split(command)[1] for command in COMMANDS]
    assert verbs == ["doctor", "run", "complete", "export", "settle", "examples/04_mujoco_scene.py",
                     "examples/03_grasp_sampling.py"]  # fmt: skip
    assert len(PROGRAMS) == 1


def test_the_recording_becomes_objects(done):
    folder, _ = done
    objects = [json.loads(path.read_text()) for path in folder.glob("out/objects/*/object.json")]
    assert len(objects) == 2 and all(thing["watertight"] for thing in objects)
    assert (folder / "out/report.html").stat().st_size > 10_000


def test_the_files_are_where_the_page_says(done):
    folder, _ = done
    for name in ("scene.xml", "scene.sdf", "scene.urdf", "scene.glb"):
        assert (folder / "out" / name).is_file(), name
    assert (folder / "assets/1/object.xml").is_file() and (folder / "assets/1/mesh.glb").is_file()


def test_they_stand_still_in_the_simulation(done):
    folder, said = done
    settled = json.loads((folder / "out/metrics.json").read_text())["settle"]["objects"]
    assert len(settled) == 2 and all(
        one["drift_m"] < 0.02 and one["tilt_deg"] < 10 for one in settled.values()
    )
    moved = [float(line.split()[3]) for line in said[COMMANDS[5]].splitlines()]
    assert len(moved) == 2 and max(moved) < 20  # millimetres
    assert len(said[PROGRAMS[0]].splitlines()) >= 2  # a line a body


def test_grasps_are_saved(done):
    folder, _ = done
    grasps = json.loads((folder / "grasps.json").read_text())
    assert len(grasps) == 2 and any(grasps.values())
