"""A synthetic flat from the command: killed in the middle, gone on with, and every object once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from instascene_core import cli
from instascene_core.config import SyntheticConfig
from instascene_core.datasets.images import read_labels
from instascene_core.saved_facts import read_scene_facts
from instascene_core.synthetic import generate_scene, write_dataset

OBJECTS = 8
WORDS = (
    "--set", "reconstruction.iterations=300", "--set", "reconstruction.gaussians_per_pixel=1",
    "--set", "completion.prior=carving", "--set", "completion.num_samples=1", "--set",
    "completion.observing.max_voxels=30000", "--set", "completion.convex_parts.max_parts=1", "--set",
    "export.texture.enabled=false", "--set", "export.formats=[ply, obj, collision, mjcf]",
)  # fmt: skip


@pytest.mark.slow
def test_a_flat_comes_out_as_one_scene_also_after_a_kill(tmp_path, capsys):
    config = SyntheticConfig(
        seed=1, layout="rooms", rooms=2, num_objects=OBJECTS, num_views=112, width=320, height=240,
        fov_degrees=60.0, supersampling=1, shadows=False, min_observed_fraction=0.1,
    )  # fmt: skip
    write_dataset(generate_scene(config), tmp_path / "in")
    out = tmp_path / "out"
    command = ["run", str(tmp_path / "in"), "--output", str(out), *WORDS]
    _kill_after_a_tile(command, out)
    assert not (out / "scene.json").exists()

    cli.main([*command, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["tiles"]["done"]) == 2 and len(facts["tiles"]["done_earlier"]) >= 1
    accuracy = facts["metrics"]["accuracy"]
    # Tops of furniture with the wall behind may pass for things.
    assert accuracy["recall_50"] >= 0.75 and accuracy["spurious"] <= 4
    met = [row["instance_id"] for row in accuracy["objects"] if row["instance_id"] is not None]
    assert len(set(met)) == len(met)
    scene = read_scene_facts(out)
    known = {entry["id"] for entry in scene["instances"]["list"]}
    assert {thing["instance_id"] for thing in facts["objects"]} <= known
    assert len(scene["frames"]) == facts["metrics"]["frames"] > 100
    for path in (out / "instances").glob("*.png"):
        assert set(np.unique(read_labels(path)).tolist()) <= known | {0}
    assert (out / "scene.xml").is_file() and not (out / ".instascene" / "tiles").exists()


def _kill_after_a_tile(command: list[str], out: Path) -> None:
    """Run the command until its first tile is saved, and a little of the second."""
    program = "import sys; from instascene_core.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", program, *command], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 900
    while not list(out.glob(".instascene/tiles/*/tile_0_0/scene.json")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
