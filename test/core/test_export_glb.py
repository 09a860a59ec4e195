"""mesh.glb and mesh.obj, read by other programs."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh
from textured_box import BELOW, SIZE, frames_of, painted_box

from instascene_core.config import ExportConfig
from instascene_core.errors import InputError
from instascene_core.export import export_object
from instascene_core.export.object_loading import load_object

FORMATS = ("ply", "glb", "obj", "lods")


@pytest.fixture(scope="module")
def box():
    return painted_box()


@pytest.fixture(scope="module")
def textured(box, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("textured") / "4"
    export_object(box, folder, ExportConfig(formats=FORMATS, lod_triangles=(800, 300)), frames_of(box))
    return folder


@pytest.fixture(scope="module")
def plain(box, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "4"
    export_object(box, folder, ExportConfig(formats=FORMATS))
    return folder


def accessor(document, index: int) -> np.ndarray:
    """The numbers of one accessor."""
    found = document.accessors[index]
    view = document.bufferViews[found.bufferView]
    kind = {5126: "<f4", 5125: "<u4", 5123: "<u2"}[found.componentType]
    size = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[found.type]
    data = document.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.frombuffer(data, kind).reshape(found.count, size).squeeze()


@pytest.mark.parametrize("name", ["mesh.glb", "mesh_lod1.glb", "mesh_lod2.glb"])
def test_it_stands_upright_closed_and_of_the_same_volume(textured, box, name):
    mesh = trimesh.load(textured / name, force="mesh")
    assert isinstance(mesh.visual, trimesh.visual.TextureVisuals)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight and mesh.euler_number == 2
    assert mesh.volume == pytest.approx(box.volume, rel=0.01)
    np.testing.assert_allclose(mesh.bounds[0, 1], 0, atol=1e-3)  # y up: the bottom is at y = 0
    np.testing.assert_allclose(np.ptp(mesh.bounds, axis=0), SIZE[[0, 2, 1]], atol=2e-3)


def test_what_is_known_of_vertices_and_of_the_object_is_in_it(textured, box):
    pygltflib = pytest.importorskip("pygltflib")
    document = pygltflib.GLTF2().load(str(textured / "mesh.glb"))
    (node,) = document.nodes
    assert node.extras["id"] == 4 and node.extras["confidence"] == pytest.approx(0.9)
    assert node.extras["mass_kg"] > 0 and node.extras["frame"].startswith("object")
    assert document.materials[0].name == "object_4"
    attributes = document.meshes[0].primitives[0].attributes
    np.testing.assert_allclose(accessor(document, attributes._OBSERVED), 1)
    np.testing.assert_allclose(accessor(document, attributes._UNCERTAINTY), 1e-3, rtol=1e-6)
    normals = accessor(document, attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert attributes.COLOR_0 is None  # it would be multiplied with the texture


def test_colours_of_vertices_are_linear(plain):
    pygltflib = pytest.importorskip("pygltflib")
    document = pygltflib.GLTF2().load(str(plain / "mesh.glb"))
    assert not document.textures and not document.images
    rgba = accessor(document, document.meshes[0].primitives[0].attributes.COLOR_0) / 65535
    expected = [((c / 255 + 0.055) / 1.055) ** 2.4 for c in BELOW.tolist()]
    np.testing.assert_allclose(rgba[0], [*expected, 1], atol=1e-4)


def test_the_khronos_validator_finds_nothing(textured, plain):
    """Needs node and its package gltf-validator where node finds it (NODE_PATH)."""
    script = """const v = require('gltf-validator'), fs = require('fs');
    for (const f of process.argv.slice(1)) v.validateBytes(new Uint8Array(fs.readFileSync(f))).then(r => {
      if (r.issues.numErrors + r.issues.numWarnings) { console.log(f, r.issues.messages); process.exit(1); }
    });"""
    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "-e", "require('gltf-validator')"], capture_output=True).returncode
    ):
        pytest.skip("node or its package gltf-validator is not installed")
    files = [str(path) for folder in (textured, plain) for path in sorted(folder.glob("*.glb"))]
    done = subprocess.run([node, "-e", script, *files], capture_output=True, text=True)
    assert done.returncode == 0 and len(files) == 5, done.stdout + done.stderr


def test_obj_has_texture_material_and_the_closed_mesh(textured, box):
    mesh = trimesh.load(textured / "mesh.obj", force="mesh")
    assert mesh.visual.material.name == "object_4" and mesh.visual.material.image.size[0] >= 64
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight and mesh.volume == pytest.approx(box.volume, rel=1e-4)
    lines = (textured / "mesh.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == len(box.mesh.vertices)


def test_the_texture_reads_back_and_is_written_again_as_it_is(textured, tmp_path):
    again = load_object(textured)
    export_object(again, tmp_path / "4", ExportConfig(formats=("ply", "obj", "glb")))
    assert (tmp_path / "4" / "mesh.png").read_bytes() == (textured / "mesh.png").read_bytes()
    for start in ("vt ", "f "):  # the vertices were in the scene's frame in between, and are off by a digit
        one, other = (
            [line for line in (folder / "mesh.obj").read_text().splitlines() if line.startswith(start)]
            for folder in (tmp_path / "4", textured)
        )
        assert one == other
    assert load_object(tmp_path / "4").texture.observed == again.texture.observed > 0.5


def test_a_texture_of_another_mesh_is_refused(textured, tmp_path):
    shutil.copytree(textured, tmp_path / "4")
    lines = (tmp_path / "4" / "mesh.obj").read_text().splitlines()
    (tmp_path / "4" / "mesh.obj").write_text("\n".join(lines[:-5]))
    with pytest.raises(InputError, match="not of the mesh beside it"):
        load_object(tmp_path / "4")
