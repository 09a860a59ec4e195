"""MJCF (MuJoCo's XML reference): objects as free bodies; MuJoCo takes relative file names only."""

from xml.etree import ElementTree as xml

from instascene_core.export.descriptions.model import (
    ROLLING,
    SPINNING,
    Model,
    SceneModel,
    StaticBox,
    Uri,
    numbers,
    quaternion,
    text,
)


def object_mjcf(model: Model, uri: Uri) -> str:
    root, assets, world = _document(model.name)
    _object(assets, world, model, uri)
    return text(root)


def scene_mjcf(scene: SceneModel, uri: Uri) -> str:
    """The room, the objects at their poses, and a light."""
    root, assets, world = _document(scene.name)
    xml.SubElement(
        world,
        "light",
        name="sun",
        type="directional",
        pos="0 0 3",
        dir="-0.4 0.2 -0.9",
        diffuse="0.8 0.8 0.8",
    )
    for box in scene.room:
        _box(world, box)
    for model in scene.objects:
        _object(assets, world, model, uri)
    return text(root)


def _document(name: str) -> tuple[xml.Element, xml.Element, xml.Element]:
    """(root, assets, world)."""
    root = xml.Element("mujoco", model=name)
    # Mass and inertia are given, not guessed from overlapping geoms.
    compiler = {"meshdir": ".", "texturedir": ".", "inertiafromgeom": "false", "balanceinertia": "false"}
    xml.SubElement(root, "compiler", compiler)
    # With pyramids for friction cones, MuJoCo's default, what leans creeps away by centimetres in seconds.
    xml.SubElement(root, "option", cone="elliptic", impratio="10")
    return root, xml.SubElement(root, "asset"), xml.SubElement(root, "worldbody")


def _object(assets: xml.Element, world: xml.Element, model: Model, uri: Uri) -> None:
    name, folder = model.name, model.folder
    xml.SubElement(assets, "mesh", name=f"{name}_visual", file=uri(folder, model.visual), inertia="shell")
    geom = {"type": "mesh", "mesh": f"{name}_visual", "contype": "0", "conaffinity": "0", "group": "2"}
    if model.texture:
        xml.SubElement(assets, "texture", name=f"{name}_texture", type="2d", file=uri(folder, model.texture))
        xml.SubElement(assets, "material", name=f"{name}_material", texture=f"{name}_texture", specular="0.1")
        geom["material"] = f"{name}_material"
    parts = [f"{name}_part_{index:03d}" for index in range(len(model.parts))]
    for part, file in zip(parts, model.parts):
        xml.SubElement(assets, "mesh", name=part, file=uri(folder, file))
    pose = {"pos": numbers(model.pose[:3, 3]), "quat": numbers(quaternion(model.pose))}
    body = xml.SubElement(world, "body", {"name": name, **pose})
    xml.SubElement(body, "freejoint", name=f"{name}_free")
    moments = model.body.inertia
    full = [moments[0, 0], moments[1, 1], moments[2, 2], moments[0, 1], moments[0, 2], moments[1, 2]]
    mass = f"{model.body.mass:.9g}"
    xml.SubElement(body, "inertial", pos=numbers(model.body.center), mass=mass, fullinertia=numbers(full))
    xml.SubElement(body, "geom", geom)
    for part in parts:
        collides = {"type": "mesh", "mesh": part, "group": "3", "friction": _friction(model.friction)}
        xml.SubElement(body, "geom", collides)


def _box(world: xml.Element, box: StaticBox) -> None:
    xml.SubElement(
        world,
        "geom",
        name=box.name,
        type="box",
        size=numbers(box.size / 2),
        pos=numbers(box.pose[:3, 3]),
        quat=numbers(quaternion(box.pose)),
        rgba=numbers([*box.color, 1]),
        friction=_friction(box.friction),
    )


def _friction(sliding: float) -> str:
    return f"{sliding:.9g} {SPINNING} {ROLLING}"
