"""What the report tells besides the objects: how they were found, what it took, with which settings."""

from collections.abc import Mapping
from typing import Any

from instascene_core.config import Config
from instascene_core.config.descriptions import described_settings
from instascene_core.config_file import flatten, settings_of
from instascene_core.viewer.report.facts import Facts
from instascene_core.viewer.report.figures import duration, figure, group, memory, number
from instascene_core.viewer.report.images import Pictures
from instascene_core.viewer.report.parts import link, table, text
from instascene_core.viewer.report.tables import metric_rows

# Pictures of a view, in order: kind → title, what it shows
PANELS = {
    "input": ("Input", "what the camera saw"),
    "render": ("Gaussians", "the scene drawn from the Gaussians"),
    "masks": ("Masks before", "2D masks of this view alone: colours say nothing across views"),
    "instances": ("Instances after", "what the views agree on: one colour an object"),
    "features": (
        "Features",
        "the 16 numbers that each Gaussian learned, their three main directions as colours",
    ),
    "meshes": ("Completed", "the meshes in their places: blue was seen, orange is generated"),
}
STAGES = {
    "register": "Correct the poses", "straighten": "Straighten the depth", "reconstruct": "Fit the Gaussians",
    "depth": "Depth of all views", "masks": "2D masks", "decompose": "Masks to instances",
    "complete": "Complete the objects",
}  # fmt: skip
FILES = {
    "scene.glb": "everything in one file, for any 3D viewer",
    "scene.xml": "the scene for MuJoCo",
    "scene.sdf": "the scene for Gazebo",
    "scene.urdf": "the scene for RViz and MoveIt",
    "scene.usda": "the scene for Isaac Sim",
    "scene.ply": "the Gaussians, for splat viewers",
    "scene.json": "cameras, instances, settings",
    "metrics.json": "everything measured",
    "overview.png": "pictures of two views",
}


def views(pictures: Pictures) -> str:
    """Two views on their way from image to meshes."""
    rows = ""
    for view in (1, 2):
        shown = {kind: url for kind in PANELS if (url := pictures.url(f"view_{view}_{kind}.webp"))}
        figures = "".join(_figure(*PANELS[kind], url, explain=view == 1) for kind, url in shown.items())
        rows += f"<div class='panels'>{figures}</div>" if figures else ""
    return rows


def _figure(title: str, meaning: str, url: str, explain: bool) -> str:
    caption = f"<b>{title}</b> {meaning}" if explain else f"<b>{title}</b>"
    return (
        f"<figure><img alt='{title}' src='{url}' loading='lazy'><figcaption>{caption}</figcaption></figure>"
    )


def stages(scene: Facts) -> str:
    """Time of each stage as bars, with the most memory until its end."""
    seconds = {k: s for k, v in group(scene.metrics, "seconds").items() if (s := number(v)) is not None}
    if not seconds:
        return ""
    peaks, longest = group(scene.metrics, "memory_mb"), max(max(seconds.values()), 1e-9)
    rows = "".join(
        f"<tr><th scope='row'>{text(STAGES.get(name, name))}</th><td class='bar'><i style='width:"
        f"{100 * value / longest:.1f}%'></i></td><td>{duration(value)}</td>"
        f"<td>{memory(peaks[name]) if name in peaks else ''}</td></tr>"
        for name, value in seconds.items()
    )
    total, peak = duration(sum(seconds.values())), scene.metrics.get("peak_memory_mb")
    rows += (
        f"<tr class='total'><th scope='row'>Together</th><td></td><td>{total}</td>"
        f"<td>{'' if number(peak) is None else memory(peak)}</td></tr>"
    )
    head = "<tr><th></th><th></th><th scope='col'>time</th><th scope='col'>most memory until then</th></tr>"
    return f"<div class='wide'><table class='stages'><thead>{head}</thead><tbody>{rows}</tbody></table></div>"


def settings(scene: Facts) -> str:
    """A table of the settings that are not the defaults; "" where the scene does not tell."""
    used = group(scene.description, "parameters")
    if not used:
        return ""
    defaults, chosen = settings_of(Config()), flatten(used)
    changed = [n for n in chosen if n not in defaults or _plain(chosen[n]) != _plain(defaults[n])]
    if not changed:
        return "<p>Everything was left at its default.</p>"
    known = {setting.name: setting for setting in described_settings(Config())}  # reads the sources
    rows = []
    for name in changed:
        if name not in known:
            rows.append((name, _value(chosen[name]), "", "of another version"))
        else:
            default, meaning = known[name].value, known[name].description
            rows.append((name, _value(chosen[name]), _value(default), meaning))
    return table(("setting", "value", "default", "meaning"), rows, "settings")


def measured(scene: Facts) -> str:
    """Everything of metrics.json, folded away."""
    rows = [row for row in metric_rows(scene.metrics) if row[1] != "unknown"]
    if not rows:
        return ""
    return f"<details><summary>{len(rows)} figures</summary>{table(('what', 'value'), rows)}</details>"


def files(scene: Facts) -> str:
    """Links to the files of the whole scene."""
    found = [
        f"<li>{link(name, name)} <span>{words}</span></li>"
        for name, words in FILES.items()
        if (scene.folder / name).is_file() or name == "scene.json"
    ]
    return f"<ul class='filelist'>{''.join(found)}</ul>"


def _plain(value: Any) -> Any:
    """As JSON would give it back."""
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _value(value: Any) -> str:
    if value in ("", None):
        return "none"
    if isinstance(value, Mapping | list | tuple):
        return ", ".join(map(str, value)) or "none"
    return figure(value)
