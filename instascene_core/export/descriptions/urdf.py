"""URDF (http://wiki.ros.org/urdf/XML): an object as one link, a scene as a tree of links."""

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
from instascene_core.export.inertia import Inertial

WOOD = 600.0  # kg/m³, of the room


def object_urdf(model: Model, uri: Uri) -> str:
    robot = _robot(model.name)
    _object_link(robot, model, uri)
    _gazebo(robot, model.name, model.friction)
    return text(robot)


def scene_urdf(scene: SceneModel, uri: Uri) -> str:
    """The link `world`, to which the room and the objects are fixed, each at its pose.

    URDF's word for a free body, the joint `floating`, is not understood by Bullet and Gazebo and not shown by
    RViz; what shall move comes from object.urdf, one by one, or from scene.sdf and scene.xml.
    """
    robot = _robot(scene.name)
    xml.SubElement(robot, "link", name="world")
    for box in scene.room:
        _box_link(robot, box)
        _joint(robot, box.name, box.pose)
    for model in scene.objects:
        _object_link(robot, model, uri)
        _joint(robot, model.name, model.pose)
    for thing in (*scene.room, *scene.objects):
        _gazebo(robot, thing.name, thing.friction)
    return text(robot)


def _robot(name: str) -> xml.Element:
    robot = xml.Element("robot", name=name)
    # Other readers skip this; MuJoCo would otherwise look for the meshes without their folder, and
    # merge the only link into the world.
    compiler = {"strippath": "false", "meshdir": ".", "fusestatic": "false"}
    xml.SubElement(xml.SubElement(robot, "mujoco"), "compiler", compiler)
    return robot


def _object_link(robot: xml.Element, model: Model, uri: Uri) -> None:
    link = xml.SubElement(robot, "link", name=model.name)
    _inertial(link, model.body)
    for tag, files in (("visual", (model.visual,)), ("collision", model.parts)):
        for file in files:
            geometry = _geometry(link, tag, np.eye(4))
            xml.SubElement(geometry, "mesh", filename=uri(model.folder, file))


def _box_link(robot: xml.Element, box: StaticBox) -> None:
    link = xml.SubElement(robot, "link", name=box.name)
    _inertial(link, _body_of(box))  # it cannot move, but readers complain of links without
    for tag in ("visual", "collision"):
        xml.SubElement(_geometry(link, tag, np.eye(4)), "box", size=numbers(box.size))
    material = xml.SubElement(link[1], "material", name=f"{box.name}_material")
    xml.SubElement(material, "color", rgba=numbers([*box.color, 1]))


def _inertial(link: xml.Element, body: Inertial) -> None:
    element = xml.SubElement(link, "inertial")
    xml.SubElement(element, "origin", xyz=numbers(body.center), rpy="0 0 0")
    xml.SubElement(element, "mass", value=f"{body.mass:.9g}")
    xml.SubElement(element, "inertia", inertia_attributes(body))


def _body_of(box: StaticBox) -> Inertial:
    mass = WOOD * float(np.prod(box.size))
    return Inertial(mass, np.zeros(3), mass / 12 * np.diag((box.size**2).sum() - box.size**2))


def _geometry(link: xml.Element, tag: str, pose: np.ndarray) -> xml.Element:
    element = xml.SubElement(link, tag)
    xml.SubElement(element, "origin", xyz=numbers(pose[:3, 3]), rpy=numbers(roll_pitch_yaw(pose)))
    return xml.SubElement(element, "geometry")


def _joint(robot: xml.Element, child: str, pose: np.ndarray) -> None:
    joint = xml.SubElement(robot, "joint", name=f"world_to_{child}", type="fixed")
    xml.SubElement(joint, "parent", link="world")
    xml.SubElement(joint, "child", link=child)
    xml.SubElement(joint, "origin", xyz=numbers(pose[:3, 3]), rpy=numbers(roll_pitch_yaw(pose)))


def _gazebo(robot: xml.Element, link: str, friction: float) -> None:
    """Friction, of which URDF has no word of its own."""
    element = xml.SubElement(robot, "gazebo", reference=link)
    for name in ("mu1", "mu2"):
        xml.SubElement(element, name).text = f"{friction:.9g}"
