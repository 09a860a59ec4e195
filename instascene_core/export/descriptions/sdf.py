"""SDFormat 1.7 (http://sdformat.org/spec): an object as a model, a scene as a world."""

from xml.etree import ElementTree as xml

import numpy as np

from instascene_core.export.descriptions.model import (
    Model,
    SceneModel,
    StaticBox,
    Uri,
    inertia_attributes,
    numbers,
    roll_pitch_yaw,
    text,
)


def object_sdf(model: Model, uri: Uri) -> str:
    root = xml.Element("sdf", version="1.7")
    _object(root, model, uri)
    return text(root)


def model_config(model: Model, description: str) -> str:
    """model.config, by which Gazebo finds model.sdf."""
    root = xml.Element("model")
    xml.SubElement(root, "name").text = model.name
    xml.SubElement(root, "version").text = "1.0"
    xml.SubElement(root, "sdf", version="1.7").text = "model.sdf"
    xml.SubElement(root, "description").text = description
    return text(root)


def scene_sdf(scene: SceneModel, uri: Uri) -> str:
    """A world with a sun, the room as static models, and the objects."""
    root = xml.Element("sdf", version="1.7")
    world = xml.SubElement(root, "world", name=scene.name)
    light = xml.SubElement(world, "light", name="sun", type="directional")
    xml.SubElement(light, "cast_shadows").text = "true"
    xml.SubElement(light, "pose").text = "0 0 10 0 0 0"
    xml.SubElement(light, "diffuse").text = "0.9 0.9 0.9 1"
    xml.SubElement(light, "specular").text = "0.1 0.1 0.1 1"
    xml.SubElement(light, "direction").text = "-0.4 0.2 -0.9"
    for box in scene.room:
        _box(world, box)
    for model in scene.objects:
        _object(world, model, uri, placed=True)
    return text(root)


def _object(parent: xml.Element, model: Model, uri: Uri, placed: bool = False) -> None:
    element = xml.SubElement(parent, "model", name=model.name)
    if placed:
        xml.SubElement(element, "pose").text = _pose(model.pose)
    link = xml.SubElement(element, "link", name="body")
    mass = xml.SubElement(link, "inertial")
    xml.SubElement(mass, "pose").text = numbers([*model.body.center, 0, 0, 0])
    xml.SubElement(mass, "mass").text = f"{model.body.mass:.9g}"
    inertia = xml.SubElement(mass, "inertia")
    for name, value in inertia_attributes(model.body).items():
        xml.SubElement(inertia, name).text = value
    for tag, files in (("visual", (model.visual,)), ("collision", model.parts)):
        for index, file in enumerate(files):
            shape = xml.SubElement(link, tag, name=f"{tag}_{index}")
            mesh = xml.SubElement(xml.SubElement(shape, "geometry"), "mesh")
            xml.SubElement(mesh, "uri").text = uri(model.folder, file)
            if tag == "collision":
                _friction(shape, model.friction)


def _box(world: xml.Element, box: StaticBox) -> None:
    element = xml.SubElement(world, "model", name=box.name)
    xml.SubElement(element, "static").text = "true"
    xml.SubElement(element, "pose").text = _pose(box.pose)
    link = xml.SubElement(element, "link", name="body")
    for tag in ("visual", "collision"):
        shape = xml.SubElement(link, tag, name=tag)
        geometry = xml.SubElement(xml.SubElement(shape, "geometry"), "box")
        xml.SubElement(geometry, "size").text = numbers(box.size)
        if tag == "collision":
            _friction(shape, box.friction)
        else:
            material = xml.SubElement(shape, "material")
            for kind in ("ambient", "diffuse"):
                xml.SubElement(material, kind).text = numbers([*box.color, 1])


def _friction(shape: xml.Element, friction: float) -> None:
    ode = xml.SubElement(xml.SubElement(xml.SubElement(shape, "surface"), "friction"), "ode")
    for name in ("mu", "mu2"):
        xml.SubElement(ode, name).text = f"{friction:.9g}"


def _pose(pose: np.ndarray) -> str:
    return numbers([*pose[:3, 3], *roll_pitch_yaw(pose)])
