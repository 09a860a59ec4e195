"""Files of one completed object, read back by the programs they are for."""

import json
import shutil
import typing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export import FORMATS, export_object
from instascene_core.export.inertia import inertial
from instascene_core.export.object_loading import load_object
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, matrix_from_quaternion


def bracket() -> CompletedObject:
    """An L of two boxes, standing turned and away from the origin."""
    a = trimesh.creation.box(bounds=[[-0.05, -0.02, 0], [0.05, 0.02, 0.02]])
    b = trimesh.creation.box(bounds=[[-0.05, -0.02, 0.01], [-0.03, 0.02, 0.1]])
    body = trimesh.boolean.union([a, b])
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(np.array([0.9, 0.1, 0.2, 0.3]))
    pose[:3, 3] = [0.4, -0.3, 0.8]
    parts = []
    for part in (a, b):
        part.apply_transform(pose)
        parts.append(meshes.from_trimesh(part))
    body.apply_transform(pose)
    mesh = meshes.from_trimesh(body)
    count = len(mesh.vertices)
    rng = np.random.default_rng(0)
    return CompletedObject(
        instance_id=3,
        mesh=mesh,
        colors=rng.integers(0, 255, (count, 3)).astype(np.uint8),
        observed=rng.uniform(size=count).astype(np.float32),
        vertex_uncertainty=rng.uniform(size=count).astype(np.float32) * 0.01,
        world_from_object=pose,
        dimensions=np.array([0.1, 0.04, 0.1]),
        watertight=True,
        volume=meshes.volume(mesh),
        observed_fraction=0.6,
        uncertainty=0.004,
        confidence=0.75,
        prior="carving (Apache-2.0)",
        duration_s=1.0,
        convex_parts=tuple(parts),
        notes=("Seen from 2 view(s) only.",),
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "objects" / "3"
    export_object(bracket(), folder)
    return folder


def test_all_files_are_there_and_returned(tmp_path):
    files = export_object(bracket(), tmp_path / "3")
    folder = tmp_path / "3"
    names = {str(f.relative_to(folder)) for f in files}
    expected = {
        "mesh.ply",
        "mesh.glb",
        "mesh.stl",
        "object.urdf",
        "model.sdf",
        "model.config",
        "object.xml",
        "object.json",
        "mesh.obj",
        "collision/part_000.obj",
        "collision/part_001.obj",
    }
    assert names == expected
    assert {
        str(p.relative_to(tmp_path / "3")) for p in (tmp_path / "3").rglob("*") if p.is_file()
    } == expected | {".instascene/manifest.json"}


def test_glb_and_stl_open_in_trimesh_in_the_object_frame(exported):
    obj = bracket()
    for name in ("mesh.glb", "mesh.stl"):
        mesh = trimesh.load(exported / name, force="mesh")
        if name == "mesh.glb":  # y up, as glTF asks
            mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(obj.volume, rel=1e-4)
        np.testing.assert_allclose(mesh.bounds, [[-0.05, -0.02, 0], [0.05, 0.02, 0.1]], atol=1e-6)


def test_ply_carries_observed_and_uncertainty(exported):
    from instascene_core.geometry.open3d_loader import open3d

    obj = bracket()
    cloud = open3d.t.io.read_triangle_mesh(str(exported / "mesh.ply"))
    positions = apply(obj.world_from_object, cloud.vertex.positions.numpy())
    np.testing.assert_allclose(positions, obj.mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(cloud.triangle.indices.numpy(), obj.mesh.triangles)
    mesh = trimesh.load(exported / "mesh.ply", process=False)
    raw = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(np.ravel(raw["observed"]), obj.observed)
    np.testing.assert_allclose(np.ravel(raw["uncertainty"]), obj.vertex_uncertainty)
    np.testing.assert_array_equal(np.asarray(mesh.visual.vertex_colors)[:, :3], obj.colors)


def test_inertia_of_a_box_is_the_textbook_one():
    box = trimesh.creation.box((0.1, 0.2, 0.3))
    box.apply_translation((5.0, -2.0, 1.0))
    body = inertial(meshes.from_trimesh(box), 500.0)
    mass = 500 * 0.1 * 0.2 * 0.3
    assert body.mass == pytest.approx(mass)
    np.testing.assert_allclose(body.center, [5.0, -2.0, 1.0], atol=1e-9)
    expected = mass / 12 * np.diag([0.2**2 + 0.3**2, 0.1**2 + 0.3**2, 0.1**2 + 0.2**2])
    np.testing.assert_allclose(body.inertia, expected, atol=1e-9)
    inside_out = TriangleMesh(np.asarray(box.vertices), np.asarray(box.faces)[:, ::-1])
    with pytest.raises(InputError, match="no volume"):
        inertial(inside_out, 500.0)


@pytest.mark.parametrize("name", ["object.urdf", "object.xml"])
def test_mujoco_loads_it_with_the_right_mass_and_parts(exported, name):
    import mujoco

    model = mujoco.MjModel.from_xml_path(str(exported / name))
    expected = inertial(bracket().mesh, ExportConfig().density)
    assert model.body_mass.sum() == pytest.approx(expected.mass, rel=1e-3)
    colliding = (model.geom_contype > 0) | (model.geom_conaffinity > 0)
    assert colliding.sum() >= 2
    np.testing.assert_allclose(
        np.sort(model.body_inertia[1]), np.linalg.eigvalsh(expected.inertia), rtol=1e-3
    )


def test_the_mjcf_body_falls_and_comes_to_rest_standing(exported):
    import mujoco

    spec = mujoco.MjSpec.from_file(str(exported / "object.xml"))
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1])
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[2] = 0.01
    for _ in range(1000):
        mujoco.mj_step(model, data)
    assert abs(data.qpos[2]) < 0.003  # the object frame's origin is at its bottom
    assert abs(data.qpos[3]) > 0.999
    assert np.abs(data.qvel).max() < 0.02


def test_sdf_names_existing_files_and_the_mass(exported):
    from xml.etree import ElementTree

    root = ElementTree.parse(exported / "model.sdf").getroot()
    uris = [uri.text for uri in root.iter("uri")]
    assert len(uris) == 3
    assert all((exported / uri).exists() for uri in uris)
    mass = float(next(root.iter("mass")).text)
    assert mass == pytest.approx(bracket().volume * ExportConfig().density, rel=1e-6)


def test_json_tells_pose_size_and_notes(exported):
    facts = json.loads((exported / "object.json").read_text())
    obj = bracket()
    np.testing.assert_allclose(facts["position_m"], obj.world_from_object[:3, 3])
    np.testing.assert_allclose(
        matrix_from_quaternion(np.array(facts["orientation_wxyz"])), obj.world_from_object[:3, :3], atol=1e-9
    )
    assert facts["notes"] == ["Seen from 2 view(s) only."]
    assert facts["instance_id"] == 3 and facts["frame"] == "object"


def test_it_reads_back_at_its_place(exported, tmp_path):
    """Also as earlier versions wrote it, with the mesh in the world and the collision bodies not."""
    again = load_object(exported)
    np.testing.assert_allclose(again.mesh.vertices, bracket().mesh.vertices, atol=1e-7)
    shutil.copytree(exported, tmp_path / "3")
    facts = json.loads((exported / "object.json").read_text())
    facts["frame"] = "world (that of the input)"
    (tmp_path / "3" / "object.json").write_text(json.dumps(facts))
    as_world = replace(bracket(), world_from_object=np.eye(4))
    export_object(as_world, tmp_path / "world", ExportConfig(formats=("ply",)))
    shutil.copy(tmp_path / "world" / "mesh.ply", tmp_path / "3" / "mesh.ply")
    earlier = load_object(tmp_path / "3")
    np.testing.assert_allclose(earlier.mesh.vertices, bracket().mesh.vertices, atol=1e-6)
    np.testing.assert_allclose(
        earlier.convex_parts[0].vertices, bracket().convex_parts[0].vertices, atol=1e-6
    )


def test_collision_bodies_are_in_the_object_frame(exported):
    part = trimesh.load(exported / "collision" / "part_000.obj", force="mesh")
    np.testing.assert_allclose(part.bounds, [[-0.05, -0.02, 0], [0.05, 0.02, 0.02]], atol=1e-6)


def test_a_second_export_replaces_the_first_without_stale_parts(tmp_path):
    obj = bracket()
    export_object(obj, tmp_path)
    (tmp_path / "mine.txt").write_text("keep")
    export_object(replace(obj, convex_parts=obj.convex_parts[:1]), tmp_path)
    assert sorted(p.name for p in (tmp_path / "collision").iterdir()) == ["part_000.obj"]
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_formats_are_chosen_and_unknown_ones_refused(tmp_path):
    files = export_object(bracket(), tmp_path, ExportConfig(formats=("stl",)))
    assert [f.name for f in files] == ["mesh.stl", "object.json"]
    with pytest.raises(InputError, match="'fbx'"):
        export_object(bracket(), tmp_path, ExportConfig(formats=("fbx",)))
    assert {*ExportConfig().formats, "usd"} == set(FORMATS)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="Cannot save to"):
        export_object(bracket(), tmp_path / "file" / "3")


def test_without_convex_parts_the_hull_collides(tmp_path):
    export_object(replace(bracket(), convex_parts=()), tmp_path, ExportConfig(formats=("collision",)))
    hull = trimesh.load(tmp_path / "collision" / "part_000.obj", force="mesh")
    assert hull.is_convex
    assert hull.volume > bracket().volume


def test_the_settings_know_every_format():
    """A format added to the writers is one the settings accept, and the other way round."""
    literal = typing.get_args(typing.get_type_hints(ExportConfig)["formats"])[0]
    assert set(typing.get_args(literal)) == set(FORMATS) == {*ExportConfig().formats, "usd"}
