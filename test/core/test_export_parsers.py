"""Every description, of an object and of a scene, read by the parsers it is for: no complaint, and the same
volume, pose, mass and inertia in all of them."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh
from exported_scene import room, write_all

from instascene_core.transforms import matrix_from_quaternion

FORMATS = ("ply", "glb", "stl", "obj", "collision", "urdf", "sdf", "mjcf")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("scene")
    return root, write_all(root, FORMATS)


def expected_inertia(asset) -> np.ndarray:
    return np.sort(np.linalg.eigvalsh(asset.body.inertia))


def frame_of(pose, quaternion_wxyz) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = matrix_from_quaternion(np.asarray(quaternion_wxyz, float)), pose
    return made


def require_scene_pose(found: np.ndarray, thing) -> None:
    np.testing.assert_allclose(found, thing.asset.obj.world_from_object, atol=1e-6)


@pytest.mark.parametrize("name", ["object.urdf", "object.xml"])
def test_mujoco_reads_each_object(written, name):
    mujoco = pytest.importorskip("mujoco")
    root, things = written
    for thing in things:
        model = mujoco.MjModel.from_xml_path(str(root / thing.folder / name))
        assert model.body_mass[1] == pytest.approx(thing.asset.body.mass, rel=1e-4)
        np.testing.assert_allclose(np.sort(model.body_inertia[1]), expected_inertia(thing.asset), rtol=1e-2)
        np.testing.assert_allclose(model.body_ipos[1], thing.asset.body.center, atol=1e-5)


@pytest.mark.parametrize("name", ["scene.urdf", "scene.xml"])
def test_mujoco_reads_the_scene(written, name):
    mujoco = pytest.importorskip("mujoco")
    root, things = written
    model = mujoco.MjModel.from_xml_path(str(root / name))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for thing in things:
        body = model.body(thing.asset.name).id
        require_scene_pose(frame_of(data.xpos[body], data.xquat[body]), thing)
        assert model.body_mass[body] == pytest.approx(thing.asset.body.mass, rel=1e-4)
        assert model.body_dofnum[body] == (6 if name == "scene.xml" else 0)
    if name == "scene.xml":
        assert model.nlight == 1 and model.ntex == 2
        for box in room():
            geom = model.geom(box.name)
            np.testing.assert_allclose(2 * geom.size, box.size, atol=1e-6)


def test_pybullet_reads_objects_and_scene_without_a_warning(written, capfd):
    bullet = pytest.importorskip("pybullet")
    root, things = written
    client = bullet.connect(bullet.DIRECT)
    try:
        for thing in things:
            body = bullet.loadURDF(
                str(root / thing.folder / "object.urdf"),
                flags=bullet.URDF_USE_INERTIA_FROM_FILE,
                physicsClientId=client,
            )
            facts = bullet.getDynamicsInfo(body, -1, physicsClientId=client)
            assert facts[0] == pytest.approx(thing.asset.body.mass, rel=1e-4)
            np.testing.assert_allclose(np.sort(facts[2]), expected_inertia(thing.asset), rtol=1e-2)
        scene = bullet.loadURDF(str(root / "scene.urdf"), useFixedBase=True, physicsClientId=client)
        names = {
            bullet.getJointInfo(scene, k, physicsClientId=client)[12].decode()
            for k in range(bullet.getNumJoints(scene, physicsClientId=client))
        }
        assert names == {"support", "wall_1", "object_4", "object_9"}
    finally:
        bullet.disconnect(client)
    said = capfd.readouterr()
    assert "arning" not in said.out + said.err and "rror" not in said.out + said.err


def test_urdf_parser_py_reads_objects_and_scene(written, capfd):
    urdf = pytest.importorskip("urdf_parser_py.urdf")
    root, things = written
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for thing in things:
            robot = urdf.URDF.from_xml_string((root / thing.folder / "object.urdf").read_bytes())
            (link,) = robot.links
            assert link.inertial.mass == pytest.approx(thing.asset.body.mass)
            found = np.array(link.inertial.inertia.to_matrix(), dtype=float)
            np.testing.assert_allclose(found, thing.asset.body.inertia, rtol=1e-6, atol=1e-12)
        scene = urdf.URDF.from_xml_string((root / "scene.urdf").read_bytes())
    assert scene.get_root() == "world" and len(scene.links) == 5
    assert {j.child for j in scene.joints} == {"support", "wall_1", "object_4", "object_9"}
    # The tag is MuJoCo's: without it that program would not find the meshes.
    said = [line for line in capfd.readouterr().err.splitlines() if 'Unknown tag "mujoco"' not in line]
    assert said == []


def test_yourdfpy_reads_objects_and_scene(written):
    yourdfpy = pytest.importorskip("yourdfpy")
    root, things = written
    for thing in things:
        robot = yourdfpy.URDF.load(str(root / thing.folder / "object.urdf"), build_collision_scene_graph=True)
        assert robot.validate(), robot.errors
        size = robot.scene.bounds[1] - robot.scene.bounds[0]
        np.testing.assert_allclose(size, thing.asset.obj.dimensions, atol=1e-5)
    scene = yourdfpy.URDF.load(str(root / "scene.urdf"))
    for thing in things:
        require_scene_pose(scene.get_transform(thing.asset.name, "world"), thing)


def test_sdf_is_as_the_format_says_and_names_files_that_are_there(written):
    """Gazebo's own parser is no Python package: names, order of poses and files are looked at here."""
    root, things = written
    world = ElementTree.parse(root / "scene.sdf").getroot().find("world")
    models = {model.get("name"): model for model in world.findall("model")}
    assert set(models) == {"support", "wall_1", "object_4", "object_9"}
    assert world.find("light").get("type") == "directional"
    for thing in things:
        model = models[thing.asset.name]
        x, y, z, roll, pitch, yaw = map(float, model.find("pose").text.split())
        turned = trimesh.transformations.euler_matrix(roll, pitch, yaw, "sxyz")
        turned[:3, 3] = x, y, z
        require_scene_pose(turned, thing)
        assert float(model.find("link/inertial/mass").text) == pytest.approx(thing.asset.body.mass)
        uris = [uri.text for uri in model.iter("uri")]
        assert len(uris) == 2 and all((root / uri).is_file() for uri in uris)
        alone = ElementTree.parse(root / thing.folder / "model.sdf").getroot()
        assert all((root / thing.folder / uri.text).is_file() for uri in alone.iter("uri"))
        config = ElementTree.parse(root / thing.folder / "model.config").getroot()
        assert (root / thing.folder / config.find("sdf").text).is_file()
    assert [models[name].findtext("static") for name in ("support", "wall_1")] == ["true", "true"]


def test_all_meshes_of_an_object_are_the_same_closed_body(written):
    root, things = written
    for thing in things:
        obj, folder = thing.asset.obj, root / thing.folder
        for name in ("mesh.ply", "mesh.stl", "mesh.obj", "mesh.glb"):
            mesh = trimesh.load(folder / name, force="mesh")
            mesh.merge_vertices(merge_tex=True, merge_norm=True)
            assert mesh.is_watertight and mesh.euler_number == 2, name
            assert mesh.volume == pytest.approx(obj.volume, rel=1e-2), name
    scene = trimesh.load(root / "scene.glb")
    to_z_up = trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0])
    for thing in things:
        pose, _ = scene.graph.get(thing.asset.name)
        require_scene_pose(to_z_up @ pose, thing)


@pytest.mark.parametrize(
    ("kind", "of_object", "of_scene"),
    [
        ("relative", "mesh.obj", "objects/4/mesh.obj"),
        ("model://", "model://4/mesh.obj", "model://4/mesh.obj"),
        (
            "package://my_scene",
            "package://my_scene/objects/4/mesh.obj",
            "package://my_scene/objects/4/mesh.obj",
        ),
        ("file://", "ROOT/objects/4/mesh.obj", "ROOT/objects/4/mesh.obj"),
    ],
)
def test_meshes_are_named_as_asked(tmp_path, kind, of_object, of_scene):
    write_all(tmp_path, ("urdf", "sdf", "mjcf"), mesh_uri=kind)
    root = tmp_path.absolute().as_uri()
    for name, expected in (("objects/4/object.urdf", of_object), ("scene.urdf", of_scene)):
        found = next(mesh.get("filename") for mesh in ElementTree.parse(tmp_path / name).iter("mesh"))
        assert found == expected.replace("ROOT", root)
    for name, expected in (("objects/4/model.sdf", of_object), ("scene.sdf", of_scene)):
        found = next(uri.text for uri in ElementTree.parse(tmp_path / name).iter("uri"))
        assert found == expected.replace("ROOT", root)
    mjcf = next(mesh.get("file") for mesh in ElementTree.parse(tmp_path / "scene.xml").iter("mesh"))
    assert mjcf == "objects/4/mesh.obj"  # MuJoCo knows no other
