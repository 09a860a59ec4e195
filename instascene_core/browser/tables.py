"""The tables of the panel, as HTML; whatever comes from a file is escaped."""

from collections.abc import Mapping
from typing import Any

from instascene_core.browser.contents import Contents
from instascene_core.colors import instance_color
from instascene_core.instances import InstanceId
from instascene_core.viewer.report.figures import (
    duration,
    group,
    mass,
    memory,
    millimetres,
    number,
    percent,
    sizes,
)
from instascene_core.viewer.report.parts import text
from instascene_core.viewer.report.sections import STAGES
from instascene_core.viewer.report.summary import confidence_kind

COLORS = {"likely": "#1d7a46", "doubtful": "#8a5a00", "guess": "#a8321f"}
BOX = "font:12.5px/1.45 system-ui,sans-serif;padding:2px 8px"
BAR = "height:8px;border-radius:8px;background:#1a6fb5"
DOT = "display:inline-block;width:9px;height:9px;border-radius:9px;margin-right:6px"
CELL = "padding:3px 3px;text-align:right;white-space:nowrap"


def objects(contents: Contents, chosen: InstanceId | None) -> str:
    """One row an object: number, size, mass, confidence; the chosen one marked."""
    if not contents.objects:
        return f"<div style='{BOX}'>No object was completed yet.</div>"
    style = f"{CELL};opacity:.6;font-weight:500"
    head = "".join(f"<th style='{style}'>{name}</th>" for name in ("", "size, cm", "mass", "sure"))
    rows = "".join(_row(number, facts, number == chosen) for number, facts in contents.facts.items())
    table = f"<table style='width:100%;border-collapse:collapse'><tr>{head}</tr>{rows}</table>"
    return f"<div style='{BOX};max-height:40vh;overflow:auto'>{table}</div>"


def _row(ident: InstanceId, facts: Mapping[str, Any], chosen: bool) -> str:
    red, green, blue = (int(c) for c in instance_color(ident))
    dot = f"<i style='{DOT};background:rgb({red},{green},{blue})'></i>"
    kind = COLORS[confidence_kind(facts["confidence"])]
    cells = (
        f"{dot}{ident}",
        text(sizes(facts["dimensions_m"]).removesuffix("\u00a0cm")),
        text(mass(facts.get("mass_kg"))),
        f"<b style='color:{kind}'>{percent(facts['confidence'])}</b>",
    )
    style = "background:rgba(26,111,181,.13)" if chosen else ""
    return f"<tr style='{style}'>" + "".join(f"<td style='{CELL}'>{cell}</td>" for cell in cells) + "</tr>"


def details(contents: Contents, ident: InstanceId) -> str:
    """What is known of one object."""
    facts = contents.facts[ident]
    limits = facts.get("mass_range_kg")
    between = (
        f" ({mass(limits[0])} to {mass(limits[1])})" if isinstance(limits, list) and len(limits) == 2 else ""
    )
    view = group(facts, "next_best_view")
    known = facts.get("mass_kg") is not None
    rows = [
        *([("Mass", f"{mass(facts['mass_kg'])}{between}, {facts.get('material', '')}")] if known else []),
        ("Seen", f"{percent(facts['observed_fraction'])} of the surface"),
        ("Uncertainty", f"± {millimetres(facts['uncertainty_m'])}"),
    ]
    if view:
        rows.append(("Next view", f"would show {percent(view['reveals'])} of what is generated"))
    cell = "opacity:.6;padding:2px 12px 2px 0;vertical-align:top"
    body = "".join(f"<tr><td style='{cell}'>{name}</td><td>{text(value)}</td></tr>" for name, value in rows)
    notes = "".join(f"<li>{text(note)}</li>" for note in facts["notes"])
    notes = f"<ul style='margin:6px 0;padding-left:18px;opacity:.75'>{notes}</ul>" if notes else ""
    return f"<div style='{BOX}'><table>{body}</table>{notes}</div>"


def stages(contents: Contents) -> str:
    """The stages in their order: a bar as long as each took, from where it began."""
    seconds = {k: s for k, v in group(contents.metrics, "seconds").items() if (s := number(v)) is not None}
    peaks, total = group(contents.metrics, "memory_mb"), max(sum(seconds.values()), 1e-9)
    rows, begin = "", 0.0
    for name, value in seconds.items():
        place = f"margin-left:{100 * begin / total:.1f}%;width:{max(100 * value / total, 0.7):.1f}%"
        peak = f" · {memory(peaks[name])}" if name in peaks else ""
        told = f"{text(STAGES.get(name, name))} <span style='opacity:.6'>{duration(value)}{peak}</span>"
        rows += f"<div style='margin-top:8px'>{told}</div><div style='{BAR};{place}'></div>"
        begin += value
    told = f"{duration(total)} in all" if seconds else "No times are known."
    return f"<div style='{BOX}'>{rows}<p style='opacity:.6'>{told}</p></div>"
