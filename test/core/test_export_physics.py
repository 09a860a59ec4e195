"""Masses, inertia and friction: guessed from the shape, or as a file says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from textured_box import painted_box

from instascene_core.config import ExportConfig
from instascene_core.config.physics import PhysicsConfig
from instascene_core.errors import InputError
from instascene_core.export import export_object
from instascene_core.export.inertia import inertial
from instascene_core.export.known_physics import objects_elsewhere
from instascene_core.export.physics import physics_of
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes

CONFIG = ExportConfig()


def cup(wall: float = 0.003) -> TriangleMesh:
    """8 cm wide, 9 cm high, open above."""
    outer = trimesh.creation.cylinder(0.04, 0.09, sections=48)
    inner = trimesh.creation.cylinder(0.04 - wall, 0.09, sections=48)
    inner.apply_translation([0, 0, wall])
    return meshes.from_trimesh(trimesh.boolean.difference([outer, inner]))


def with_file(path, text: str) -> ExportConfig:
    path.write_text(text)
    return replace(CONFIG, physics=PhysicsConfig(file=str(path)))


def test_a_cup_is_its_wall_and_a_box_may_be_full_or_empty():
    thin = physics_of(cup(), 1, CONFIG)
    assert thin.material.startswith("thin-walled") and thin.density == 1300
    assert thin.body.mass == pytest.approx(1300 * meshes.volume(cup()))
    assert thin.mass_range[0] < thin.body.mass < thin.mass_range[1] < 3.1 * thin.mass_range[0]
    box = painted_box()
    solid = physics_of(box.mesh, 4, CONFIG)
    assert solid.material.startswith("closed body")
    assert solid.body.mass == pytest.approx(400 * box.volume)
    # An empty carton of that size: 1 mm of wall on 880 cm², at 900 kg/m³
    area = 2 * (0.2 * 0.1 + 0.2 * 0.08 + 0.1 * 0.08)
    assert solid.mass_range[0] == pytest.approx(900 * 0.001 * area, rel=1e-6)
    assert solid.mass_range[1] == pytest.approx(1500 * box.volume)


def test_objects_that_a_scene_does_not_have_are_named(tmp_path):
    path = tmp_path / "known.yaml"
    path.write_text("objects: {2: {mass_kg: 1}, 5: {mass_kg: 2}, 9: {mass_kg: 3}}\n")
    assert objects_elsewhere(str(path), [1, 2]) == (
        f"{path} tells of objects that this scene does not have: 5, 9; its ids are 1, 2"
    )
    assert objects_elsewhere(str(path), [9, 5, 2]) == "" == objects_elsewhere("", [1])


def test_a_file_knows_better(tmp_path):
    config = with_file(
        tmp_path / "known.yaml",
        "default: {friction: 0.7}\n"
        "materials:\n  steel: {density_kg_m3: 7800, friction: 0.4}\n"
        "objects:\n  1: {material: steel}\n  2: {mass_kg: 0.31, friction: 0.9}\n",
    )
    box = painted_box()
    steel, weighed, other = (physics_of(box.mesh, number, config) for number in (1, 2, 3))
    assert steel.material == "steel" and steel.friction == 0.4 and steel.given
    assert steel.body.mass == pytest.approx(7800 * box.volume)
    assert weighed.body.mass == pytest.approx(0.31) and weighed.friction == 0.9
    assert weighed.mass_range == (weighed.body.mass, weighed.body.mass)
    assert not other.given and other.friction == 0.7 and other.density == 400
    export_object(replace(box, instance_id=2), tmp_path / "2", replace(config, formats=("urdf", "sdf")))
    facts = json.loads((tmp_path / "2" / "object.json").read_text())
    assert facts["mass_kg"] == pytest.approx(0.31) and facts["mass_is_given"]
    assert "<mu1>0.9</mu1>" in (tmp_path / "2" / "object.urdf").read_text()
    assert "<mu>0.9</mu>" in (tmp_path / "2" / "model.sdf").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "must have the sections"),
        ("weights: {}", "must have the sections"),
        ("objects: {1: {mass: 3}}", "'mass' is not known; known are material, mass_kg"),
        ("objects: {1: {mass_kg: -1}}", "mass_kg must be a number up to 10000, not -1"),
        ("objects: {1: {mass_kg: .nan}}", "must be a number"),
        ("objects: {1: {mass_kg: 0}}", "must be a number"),
        ("objects: {1: {friction: wet}}", "friction must be a number up to 10, not 'wet'"),
        ("objects: {yes: {mass_kg: 3}}", "named by their ids, not by True"),
        ("objects: {1: {mass_kg: 3}, 1: {mass_kg: 4}}", "says '1' twice"),
        ("objects: {1: {material: gold}}", "object 1 is of 'gold', which is not in `materials`"),
        ("objects: {cup: {mass_kg: 1}}", "named by their ids, not by 'cup'"),
        ("objects: [1]", "NAME: VALUE"),
        ("materials: {gold: 3}", "material gold must be of the form"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        physics_of(cup(), 1, with_file(tmp_path / "known.yaml", text))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    config = replace(CONFIG, physics=PhysicsConfig(file=str(tmp_path / "none.yaml")))
    with pytest.raises(InputError, match="cannot be read"):
        physics_of(cup(), 1, config)


def test_no_moment_of_inertia_is_more_than_the_other_two_together():
    """Also of a sheet without thickness to speak of, and of a mesh of two bodies in one another."""
    sheet = meshes.from_trimesh(trimesh.creation.box((0.3, 0.2, 1e-7)))
    box = meshes.from_trimesh(trimesh.creation.box((0.1, 0.1, 0.1)))
    spike = trimesh.creation.box((1.0, 0.02, 0.02))
    spike.invert()  # its volume counts negative
    both = TriangleMesh(
        np.concatenate([box.vertices, spike.vertices]), np.concatenate([box.triangles, spike.faces + 8])
    )
    for mesh in (sheet, box, cup(), both):
        moments = np.sort(np.linalg.eigvalsh(inertial(mesh, 1000.0).inertia))
        assert moments[0] > 0 and moments[2] <= (moments[0] + moments[1]) * (1 + 1e-9)
