"""One card an object."""

from collections.abc import Mapping
from typing import Any

from instascene_core.colors import instance_color
from instascene_core.viewer.report.facts import Facts
from instascene_core.viewer.report.figures import (
    counted,
    duration,
    group,
    mass,
    millimetres,
    number,
    percent,
    sizes,
    volume,
)
from instascene_core.viewer.report.images import Pictures
from instascene_core.viewer.report.parts import link, text, turntable
from instascene_core.viewer.report.summary import confidence_kind

CONFIDENCE = "Probability that it shares at least 0.7 of their joint volume (IoU) with the true object"
WORDS = {"likely": "likely right", "doubtful": "to be checked", "guess": "a guess"}
FILES = {
    "mesh.glb": "GLB", "mesh.obj": "OBJ", "mesh.ply": "PLY", "mesh.stl": "STL", "object.urdf": "URDF",
    "model.sdf": "SDF", "object.xml": "MJCF", "object.usda": "USD", "object.json": "all numbers",
}  # fmt: skip
Row = tuple[str, str]


def cards(scene: Facts, pictures: Pictures) -> str:
    """All objects of the scene."""
    return "".join(_card(scene, thing, pictures) for thing in scene.objects)


def _card(scene: Facts, thing: Mapping[str, Any], pictures: Pictures) -> str:
    ident = int(thing["instance_id"])
    red, green, blue = (int(c) for c in instance_color(ident))
    kind, share = confidence_kind(thing["confidence"]), percent(thing["confidence"])
    name = f"object_{ident}"
    turning = turntable(pictures, name, ("color", "observed", "uncertainty"), f"Object {ident}", rows=2)
    return (
        f"<article class='card' id='{name}'>"
        f"<header><i class='dot' style='background:rgb({red},{green},{blue})'></i><h3>Object {ident}</h3>"
        f"<span class='badge {kind}' title='{CONFIDENCE}'>{WORDS[kind]}<b>{share}</b></span></header>"
        f"{turning}{_seen(thing)}{_list(_first(scene, thing))}{_notes(thing)}{_hypotheses(ident, pictures)}"
        f"<details><summary>More</summary>{_list(_more(thing))}</details>{_files(scene, ident)}</article>"
    )


def _list(rows: list[Row]) -> str:
    return "<dl>" + "".join(f"<dt>{title}</dt><dd>{text(value)}</dd>" for title, value in rows) + "</dl>"


def _seen(thing: Mapping[str, Any]) -> str:
    """How much of the surface cameras saw, as a bar in the colours of the pictures."""
    share = number(thing["observed_fraction"])
    if share is None:
        return ""
    words = f"{percent(share)} of its surface was seen, {percent(1 - share)} is generated"
    bars = "".join(
        f"<i class='{kind}' style='flex:{part:.3f}'></i>"
        for kind, part in (("seen", share), ("made", 1 - share))
    )
    return f"<p class='share'>{bars}</p><p class='sharing'>{words}</p>"


def _first(scene: Facts, thing: Mapping[str, Any]) -> list[Row]:
    """What most people ask for."""
    rows = [("Size", sizes(thing["dimensions_m"])), *_mass(thing)]
    rows.append(("Uncertainty", f"± {millimetres(thing['uncertainty_m'])} on average"))
    if not thing["watertight"]:
        rows.append(("Closed", "no: it has holes"))
    return rows + _truth(scene, thing) + _settled(scene, thing)


def _more(thing: Mapping[str, Any]) -> list[Row]:
    friction = number(thing.get("friction"))
    return [
        ("Volume", volume(thing["volume_m3"])),
        *([("Friction", f"{friction:.2g}")] if friction is not None else []),
        *_collision(thing),
        *_texture(thing),
        *_next_view(thing),
        ("Guessed by", str(thing["prior"])),
        ("Took", duration(thing["duration_s"])),
    ]


def _mass(thing: Mapping[str, Any]) -> list[Row]:
    if number(thing.get("mass_kg")) is None:
        return []
    told = mass(thing["mass_kg"])
    limits = thing.get("mass_range_kg")
    if thing.get("mass_is_given") is True:
        told += ", as given"
    elif isinstance(limits, list) and len(limits) == 2:
        told += f" ({mass(limits[0])} to {mass(limits[1])})"
    rows = [("Mass", told)]
    return [*rows, ("Taken for", str(thing["material"]))] if thing.get("material") else rows


def _collision(thing: Mapping[str, Any]) -> list[Row]:
    collision = group(thing, "collision")
    hulls = number(collision.get("hulls"))
    if hulls is None:
        return []
    return [
        (
            "Collision",
            f"{counted(int(hulls), 'convex part')}, off by {millimetres(collision.get('surface_error_m'))}",
        )
    ]


def _texture(thing: Mapping[str, Any]) -> list[Row]:
    texture = group(thing, "texture")
    if not texture:
        return [("Colour", "of the vertices")]
    size = f"{texture['size']}² texels " if isinstance(texture.get("size"), int) else ""
    return [
        (
            "Texture",
            f"{size}of {millimetres(texture.get('texel_m'))}, {percent(texture.get('observed_share'))} seen",
        )
    ]


def _next_view(thing: Mapping[str, Any]) -> list[Row]:
    view = group(thing, "next_best_view")
    if not view:
        return []
    at = ", ".join(f"{number(p) or 0:.2f}" for p in view["position_m"])
    return [("Best next view", f"from ({at}) m: would show {percent(view['reveals'])} of what is generated")]


def _truth(scene: Facts, thing: Mapping[str, Any]) -> list[Row]:
    for row in scene.accuracy:
        if row.get("instance_id") == thing["instance_id"]:
            iou = number(row.get("volume_iou"))
            return [
                (
                    "True object",
                    f"{row.get('name', '')}, overlap (IoU) {'unknown' if iou is None else f'{iou:.2f}'}",
                )
            ]
    return [("True object", "none")] if scene.accuracy else []


def _settled(scene: Facts, thing: Mapping[str, Any]) -> list[Row]:
    settled = group(group(group(scene.metrics, "settle"), "objects"), f"object_{thing['instance_id']}")
    if not settled:
        return []
    tilt = number(settled.get("tilt_deg"))
    turned = "" if tilt is None else f", tilts by {tilt:.1f}°"
    return [("When let go", f"drifts by {millimetres(settled.get('drift_m'))}{turned}")]


def _notes(thing: Mapping[str, Any]) -> str:
    notes = "".join(f"<li>{text(note)}</li>" for note in thing["notes"])
    return f"<ul class='notes'>{notes}</ul>" if notes else ""


def _hypotheses(ident: int, pictures: Pictures) -> str:
    """Other closed bodies that agree with what was seen, side by side."""
    name = f"object_{ident}_hypotheses.webp"
    width, height = pictures.size(name)
    if not width:
        return ""
    count = counted(width // height, "other body").replace("bodys", "bodies")
    return (
        f"<details><summary>{count} would agree with what was seen</summary>"
        f"<img class='strip' alt='Other bodies' src='{pictures.url(name)}' loading='lazy'></details>"
    )


def _files(scene: Facts, ident: int) -> str:
    folder = f"objects/{ident}"
    found = [
        link(f"{folder}/{file}", words)
        for file, words in FILES.items()
        if (scene.folder / folder / file).is_file()
    ]
    return f"<nav class='files' aria-label='Files of object {ident}'>{' '.join(found)}</nav>"
