"""What stands, stands; what floats, falls: MuJoCo on exported scenes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from exported_scene import room
from textured_box import painted_box

from instascene_core import cli
from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export.object_files import write_object
from instascene_core.export.places import ObjectPlace, Places
from instascene_core.export.scene_files import PlacedAsset, WholeScene, write_scene
from instascene_core.export.settling import settle
from instascene_core.geometry import mesh as meshes

pytest.importorskip("mujoco")
CONFIG = ExportConfig(formats=("mjcf",))


def scene(root, height: float):
    """The box `height` metres above a table whose top is at 0.7 m."""
    box = painted_box(100)
    move = np.array([0, 0, height])
    pose = box.world_from_object.copy()
    pose[:3, 3] += move
    mesh = box.mesh.moved(move)
    box = replace(box, mesh=mesh, world_from_object=pose, convex_parts=(meshes.convex_hull(mesh.vertices),))
    places = Places(root.absolute())
    asset = write_object(box, root / "objects/4", CONFIG, (), ObjectPlace(places, "objects/4"))
    write_scene(WholeScene((PlacedAsset(asset, "objects/4"),), room()[:1], places), root, ("mjcf",))
    return root


def test_a_box_on_the_table_stays(tmp_path):
    (one,) = settle(scene(tmp_path, 0.0))
    assert one.name == "object_4" and one.stays
    assert one.drift < 2e-3 and one.tilt < 0.5 and one.start_penetration < 1e-3


def test_a_box_above_it_falls_as_far_as_it_is_above(tmp_path):
    (one,) = settle(scene(tmp_path, 0.05))
    assert one.drift == pytest.approx(0.05, abs=0.005) and not one.stays and one.start_penetration == 0


def test_a_box_in_the_table_overlaps_by_as_much(tmp_path):
    (one,) = settle(scene(tmp_path, -0.01), seconds=0.01)
    assert one.start_penetration == pytest.approx(0.01, abs=1e-4)


def test_no_scene_is_one_sentence(tmp_path, capsys):
    with pytest.raises(InputError, match="--formats mjcf"):
        settle(tmp_path)
    (tmp_path / "scene.xml").write_text("<mujoco><no/></mujoco>")
    with pytest.raises(InputError, match="MuJoCo cannot read"):
        settle(tmp_path)


def test_the_command_writes_it_into_metrics_and_report(tmp_path, capsys):
    from click_scene import RED, decomposed_scene

    from instascene_core.export.saved_scene import save_scene

    made, _ = decomposed_scene()
    made.complete(RED)
    save_scene(made, tmp_path / "out")
    capsys.readouterr()
    cli.main(["settle", str(tmp_path / "out"), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["objects"]["object_1"]["tilt_deg"] < 5
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["settle"] == facts and "object_1" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(SystemExit):
        cli.main(["settle", str(tmp_path / "out"), "--seconds", "-1"])
    assert "--seconds takes" in capsys.readouterr().err
