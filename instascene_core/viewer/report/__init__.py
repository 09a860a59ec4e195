"""The page a person opens after a run: one file, no request to any network, for phone and desktop.

`page.html` is its frame, `page.css` its looks, `page.js` turns the objects; it can be read without scripts.
"""

import string
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from instascene_core.viewer.report import sections
from instascene_core.viewer.report.cards import cards
from instascene_core.viewer.report.facts import Facts
from instascene_core.viewer.report.images import FOLDER as PICTURES
from instascene_core.viewer.report.images import Pictures
from instascene_core.viewer.report.parts import section, text, turntable
from instascene_core.viewer.report.summary import headline, sentences
from instascene_core.viewer.report.tables import metric_rows, object_rows

__all__ = ["PICTURES", "metric_rows", "object_rows", "report_page"]

TURN = "Drag an object to turn it, up and down to see it from below."


def report_page(folder: Path, metrics: Mapping, drawn: Mapping[str, bytes] | None = None) -> bytes:
    """The page of a saved scene: its files in `folder`, and `metrics`, what metrics.json holds.

    drawn: pictures by name that are not in the folder `pictures` yet.  Raises InputError where a description
    is damaged.
    """
    scene, pictures = Facts.of(folder, metrics), Pictures(folder, drawn)
    body = [
        section("objects", "Objects", _grid(cards(scene, pictures)), TURN),
        section("views", "How they were found", sections.views(pictures)),
        section("time", "Time and memory", sections.stages(scene)),
        section("settings", "Settings that differ from the defaults", sections.settings(scene)),
        section("measured", "Measured", sections.measured(scene)),
        section("files", "Files of the scene", sections.files(scene)),
    ]
    page = string.Template(_part("page.html")).substitute(
        title=text(scene.name),
        headline=text(headline(scene)),
        summary="".join(f"<p>{text(sentence)}</p>" for sentence in sentences(scene)),
        warnings=_warnings(scene),
        hero=turntable(pictures, "scene", ("color", "observed", "instance"), "All objects", rows=1),
        body="".join(body),
        version=text(scene.description.get("instascene_version", "")),
        css=_part("page.css"),
        js=_part("page.js"),
    )
    return page.encode()


def _grid(content: str) -> str:
    return f"<div class='grid'>{content}</div>" if content else ""


def _warnings(scene: Facts) -> str:
    found = "".join(f"<p>{text(warning)}</p>" for warning in scene.warnings)
    return f"<aside class='warnings' role='note'>{found}</aside>" if found else ""


def _part(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
