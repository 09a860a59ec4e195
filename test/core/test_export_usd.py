"""object.usda and scene.usda, read by USD itself and, where it is installed, SimReady's validator."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from exported_scene import write_all

from instascene_core.config import ExportConfig
from instascene_core.errors import MissingDependencyError
from instascene_core.export.object_files import require_formats

pytest.importorskip("pxr", reason="usd-core is not installed")
from pxr import Gf, Usd, UsdGeom, UsdPhysics, UsdShade

SIMREADY = """import sys
from simready.validate._cli import main
sys.argv = ["simready-validate", "--profile", "Robotics-Prop", "--version", "3.1.0", sys.argv[1]]
main()"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("usd")
    return root, write_all(root, ("ply", "usd"))


def test_an_object_is_a_rigid_body_in_metres_z_up(written):
    root, things = written
    for thing in things:
        stage = Usd.Stage.Open(str(root / thing.folder / "object.usda"))
        assert UsdGeom.GetStageMetersPerUnit(stage) == 1 and UsdGeom.GetStageUpAxis(stage) == "Z"
        prim = stage.GetDefaultPrim()
        assert prim.GetName() == thing.asset.name and prim.HasAPI(UsdPhysics.RigidBodyAPI)
        mass = UsdPhysics.MassAPI(prim)
        assert mass.GetMassAttr().Get() == pytest.approx(thing.asset.body.mass, rel=1e-5)
        np.testing.assert_allclose(mass.GetCenterOfMassAttr().Get(), thing.asset.body.center, atol=1e-6)
        axes = np.array(Gf.Matrix3d(Gf.Quatd(mass.GetPrincipalAxesAttr().Get()))).T
        inertia = axes @ np.diag(mass.GetDiagonalInertiaAttr().Get()) @ axes.T
        np.testing.assert_allclose(inertia, thing.asset.body.inertia, rtol=1e-2, atol=1e-9)
        assert list(prim.GetAttribute("semantics:labels:class").Get()) == ["object"]


def test_its_surface_is_the_mesh_with_the_texture_and_its_parts_collide(written):
    root, things = written
    for thing in things:
        folder = root / thing.folder
        stage = Usd.Stage.Open(str(folder / "object.usda"))
        surface = UsdGeom.Mesh(stage.GetPrimAtPath(f"/{thing.asset.name}/surface"))
        points, faces = np.array(surface.GetPointsAttr().Get()), surface.GetFaceVertexIndicesAttr().Get()
        np.testing.assert_allclose(points, thing.asset.mesh.vertices, atol=1e-6)
        np.testing.assert_array_equal(np.array(faces).reshape(-1, 3), thing.asset.mesh.triangles)
        material, _ = UsdShade.MaterialBindingAPI(surface).ComputeBoundMaterial()
        file = UsdShade.Shader(stage.GetPrimAtPath(material.GetPath().AppendChild("color"))).GetInput("file")
        assert (folder / file.Get().path).is_file()
        parts = stage.GetPrimAtPath(f"/{thing.asset.name}/collision").GetChildren()
        assert len(parts) == len(thing.asset.parts)
        for part in parts:
            assert part.HasAPI(UsdPhysics.CollisionAPI)
            assert UsdPhysics.MeshCollisionAPI(part).GetApproximationAttr().Get() == "convexHull"


def test_the_scene_refers_to_the_objects_at_their_poses(written, capfd):
    root, things = written
    stage = Usd.Stage.Open(str(root / "scene.usda"))
    assert "Warning" not in capfd.readouterr().err  # every file it refers to is there
    for thing in things:
        prim = stage.GetPrimAtPath(f"/scene/{thing.asset.name}")
        assert prim.HasAPI(UsdPhysics.RigidBodyAPI)
        found = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(0)).T
        np.testing.assert_allclose(found, thing.asset.obj.world_from_object, atol=1e-6)
    support = stage.GetPrimAtPath("/scene/support")
    assert support.HasAPI(UsdPhysics.CollisionAPI) and not support.HasAPI(UsdPhysics.RigidBodyAPI)
    box = UsdGeom.Boundable(support).ComputeWorldBound(0, "default").ComputeAlignedRange()
    np.testing.assert_allclose(box.GetSize(), [2, 1, 0.1], atol=1e-6)
    assert any(prim.IsA(UsdPhysics.Scene) for prim in stage.Traverse())


def test_simready_accepts_it_as_a_prop_for_robots(written, tmp_path):
    """It asks that the file's name holds that of the folder above its own, which `--to object` gives."""
    pytest.importorskip("simready.validate", reason="simready-validate is not installed")
    root, things = written
    for thing in things:
        place = tmp_path / "object" / str(thing.asset.obj.instance_id)
        shutil.copytree(root / thing.folder, place)
        done = subprocess.run(
            [sys.executable, "-c", SIMREADY, str(place / "object.usda")], capture_output=True, text=True
        )
        assert "[PASSED] Robotics-Prop v3.1.0" in done.stdout, done.stdout + done.stderr


def test_without_usd_core_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'instascene\[usd\]'"):
        require_formats(ExportConfig(formats=("usd",)))
