"""The public names of the package, and the examples that use them."""

import subprocess
import sys
from pathlib import Path

import pytest

import instascene_core as isc
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", isc.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(isc, name)
    assert value.__doc__ and name in dir(isc)


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="no attribute 'Scenery'"):
        _ = isc.Scenery


def test_the_first_example_writes_meshes(tmp_path):
    recording, output = tmp_path / "recording", tmp_path / "out"
    config = SyntheticConfig(
        seed=5, num_objects=2, num_views=10, width=160, height=120, supersampling=1,
        layout="spread", kinds=("box", "can"),
    )  # fmt: skip
    write_dataset(generate_scene(config), recording)
    words = ["reconstruction.iterations=80", "reconstruction.max_gaussians=4000", "completion.prior=carving"]
    command = [sys.executable, str(EXAMPLES / "01_from_python.py"), str(recording), str(output), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("% of it seen") == 2, done.stdout
    assert len(list(output.glob("objects/*/mesh.ply"))) == 2


def test_the_first_example_says_what_is_wrong(tmp_path):
    command = [sys.executable, str(EXAMPLES / "01_from_python.py"), str(tmp_path / "nowhere"), "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES.parent)
    assert done.returncode == 1 and "There is nothing at" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
