"""The public names of the package, and the examples that use them."""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import instascene_core as isc
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset
from instascene_core.transforms import quaternion_from_matrix

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.mark.parametrize("name", isc.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(isc, name)
    assert value.__doc__ and name in dir(isc)


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="no attribute 'Scenery'"):
        _ = isc.Scenery


QUICK = ["reconstruction.iterations=80", "reconstruction.max_gaussians=4000", "completion.prior=carving"]


def run(name: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES.parent)


def meshes_of(output: Path) -> int:
    return len(list(output.glob("objects/*/mesh.ply")))


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Two things on a table, ten views."""
    folder = tmp_path_factory.mktemp("examples") / "recording"
    config = SyntheticConfig(
        seed=5, num_objects=2, num_views=10, width=160, height=120, supersampling=1,
        layout="spread", kinds=("box", "can"),
    )  # fmt: skip
    write_dataset(generate_scene(config), folder)
    return folder


@pytest.fixture(scope="module")
def finished(recording) -> Path:
    """What the first example makes of them."""
    output = recording.parent / "out"
    done = run("01_from_python.py", recording, output, *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("% of it seen") == 2, done.stdout
    return output


def test_the_examples_are_numbered():
    names = sorted(path.name for path in EXAMPLES.glob("0*.py"))
    assert [int(name[:2]) for name in names] == [1, 2, 3, 4, 5, 6]
    for name in names:  # 04 and 05: test_mujoco_example.py, test/ros/test_moveit_example.py
        assert f"examples/{name}" in (EXAMPLES / name).read_text(), "its docstring says what to type"


def test_01_writes_meshes(finished):
    assert meshes_of(finished) == 2


def test_02_takes_images_and_poses_of_no_known_format(recording, tmp_path):
    """The same frames as a person's own files; the same objects."""
    from PIL import Image

    lines = []
    for folder in ("rgb", "depth"):
        (tmp_path / folder).mkdir()
    for frame in isc.open_dataset(recording):
        Image.fromarray(frame.rgb).save(tmp_path / f"rgb/{frame.name}.png")
        depth = np.round(1000 * frame.require_depth()).astype(np.uint16)
        Image.fromarray(depth).save(tmp_path / f"depth/{frame.name}.png")
        pose = frame.world_from_camera
        numbers = [*pose[:3, 3], *np.roll(quaternion_from_matrix(pose[:3, :3]), -1)]
        lines.append(" ".join([frame.name, *(f"{number:.9f}" for number in numbers)]))
    (tmp_path / "poses.txt").write_text("\n".join(lines))
    (tmp_path / "camera.json").write_text(json.dumps(asdict(frame.camera)))
    done = run("02_own_recording.py", tmp_path, tmp_path / "out", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cm³ at") == 2 and meshes_of(tmp_path / "out") == 2


def test_03_finds_grasps_of_a_finished_run(finished, tmp_path):
    done = run("03_grasp_sampling.py", finished, "--save", tmp_path / "grasps.json", "--count", 3)
    assert done.returncode == 0, done.stderr
    assert "% of the contacts seen" in done.stdout and len(done.stdout.splitlines()) == 2, done.stdout
    saved = json.loads((tmp_path / "grasps.json").read_text())
    poses = [np.array(grasp["pose"]) for grasps in saved.values() for grasp in grasps]
    assert len(saved) == 2 and poses and all(np.isclose(np.linalg.det(p[:3, :3]), 1) for p in poses)
    assert all(grasp["width_m"] < 0.08 for grasps in saved.values() for grasp in grasps)


def test_06_takes_masks_of_ones_own(recording, tmp_path):
    done = run("06_custom_segmenter.py", recording, tmp_path / "out", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "objects from masks of our own" in done.stdout and meshes_of(tmp_path / "out") >= 1
    masks = import_module("06_custom_segmenter").segment(next(iter(isc.open_dataset(recording))).rgb)
    assert masks.dtype == np.int32 and masks.max() >= 1 and (masks == -1).mean() > 0.5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("01_from_python.py", "There is nothing at"),
        ("02_own_recording.py", "No such file"),
        ("03_grasp_sampling.py", "nowhere"),
        ("06_custom_segmenter.py", "There is nothing at"),
    ],
)
def test_an_example_says_what_is_wrong(name, words, tmp_path):
    output = [] if name.startswith("03") else [tmp_path / "out"]
    done = run(name, tmp_path / "nowhere", *output)
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
