"""URDF, SDF and MJCF text of one rigid object."""

from dataclasses import dataclass
from xml.etree import ElementTree as xml

from instascene_core.export.inertia import Inertial


@dataclass(frozen=True)
class Model:
    """What the three formats share; file names are relative to the description's folder."""

    name: str
    visual: str
    collision: tuple[str, ...]
    body: Inertial
    friction: float


def _numbers(values) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _text(root: xml.Element) -> str:
    xml.indent(root)
    return '<?xml version="1.0"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _inertia_attributes(body: Inertial) -> dict[str, str]:
    names = {"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2), "iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)}
    return {name: f"{body.inertia[index]:.9g}" for name, index in names.items()}


def urdf(model: Model) -> str:
    """One link (http://wiki.ros.org/urdf/XML/link)."""
    robot = xml.Element("robot", name=model.name)
    # Other readers skip this; MuJoCo would otherwise look for the meshes without their folder, and
    # merge the only link into the world.
    compiler = {"strippath": "false", "meshdir": ".", "fusestatic": "false"}
    xml.SubElement(xml.SubElement(robot, "mujoco"), "compiler", compiler)
    link = xml.SubElement(robot, "link", name=model.name)
    mass = xml.SubElement(link, "inertial")
    xml.SubElement(mass, "origin", xyz=_numbers(model.body.center), rpy="0 0 0")
    xml.SubElement(mass, "mass", value=f"{model.body.mass:.9g}")
    xml.SubElement(mass, "inertia", _inertia_attributes(model.body))
    for tag, files in (("visual", (model.visual,)), ("collision", model.collision)):
        for file in files:
            element = xml.SubElement(link, tag)
            xml.SubElement(element, "origin", xyz="0 0 0", rpy="0 0 0")
            geometry = xml.SubElement(element, "geometry")
            xml.SubElement(geometry, "mesh", filename=file)
    return _text(robot)


def sdf(model: Model) -> str:
    """One dynamic model (SDFormat 1.7, http://sdformat.org/spec)."""
    root = xml.Element("sdf", version="1.7")
    element = xml.SubElement(root, "model", name=model.name)
    link = xml.SubElement(element, "link", name="body")
    mass = xml.SubElement(link, "inertial")
    xml.SubElement(mass, "pose").text = _numbers([*model.body.center, 0, 0, 0])
    xml.SubElement(mass, "mass").text = f"{model.body.mass:.9g}"
    inertia = xml.SubElement(mass, "inertia")
    for name, value in _inertia_attributes(model.body).items():
        xml.SubElement(inertia, name).text = value
    for tag, files in (("visual", (model.visual,)), ("collision", model.collision)):
        for index, file in enumerate(files):
            shape = xml.SubElement(link, tag, name=f"{tag}_{index}")
            mesh = xml.SubElement(xml.SubElement(shape, "geometry"), "mesh")
            xml.SubElement(mesh, "uri").text = file
            if tag == "collision":
                ode = xml.SubElement(xml.SubElement(xml.SubElement(shape, "surface"), "friction"), "ode")
                xml.SubElement(ode, "mu").text = f"{model.friction:.9g}"
    return _text(root)


def mjcf(model: Model) -> str:
    """One free body with convex collision geoms (MuJoCo XML reference)."""
    root = xml.Element("mujoco", model=model.name)
    # Mass and inertia are given, not guessed from overlapping geoms.
    xml.SubElement(root, "compiler", meshdir=".", inertiafromgeom="false")
    assets = xml.SubElement(root, "asset")
    xml.SubElement(assets, "mesh", name="visual", file=model.visual, inertia="shell")
    for index, file in enumerate(model.collision):
        xml.SubElement(assets, "mesh", name=f"part_{index:03d}", file=file)
    body = xml.SubElement(xml.SubElement(root, "worldbody"), "body", name=model.name)
    xml.SubElement(body, "freejoint")
    moments = model.body.inertia
    full = [moments[0, 0], moments[1, 1], moments[2, 2], moments[0, 1], moments[0, 2], moments[1, 2]]
    xml.SubElement(
        body,
        "inertial",
        pos=_numbers(model.body.center),
        mass=f"{model.body.mass:.9g}",
        fullinertia=_numbers(full),
    )
    xml.SubElement(body, "geom", type="mesh", mesh="visual", contype="0", conaffinity="0", group="2")
    for index in range(len(model.collision)):
        geom = {"type": "mesh", "mesh": f"part_{index:03d}", "group": "3"}
        xml.SubElement(body, "geom", geom, friction=f"{model.friction:.9g} 0.005 0.0001")
    return _text(root)
