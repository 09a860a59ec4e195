"""Pieces of HTML that several sections use.  Whatever comes from a file goes through `text`."""

import html
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from instascene_core.colors import UNCERTAIN
from instascene_core.viewer.report.images import Pictures

# Style of a turntable → what its button says, what the colours mean
STYLES = {
    "color": ("Texture", "colours as in the images"),
    "observed": (
        "Seen",
        "<i class='key seen'></i>seen by a camera <i class='key made'></i>generated",
    ),
    "uncertainty": ("Uncertainty", f"<i class='key ramp'></i>0 to {1000 * UNCERTAIN:g} mm and more"),
    "instance": ("Instances", "one colour an object, as in all pictures"),
}


def text(value: object) -> str:
    """Escaped, also for attributes."""
    return html.escape(str(value), quote=True)


def section(name: str, title: str, content: str, lead: str = "") -> str:
    """A part of the page; nothing where it has no content."""
    if not content:
        return ""
    lead = f"<p class='lead'>{lead}</p>" if lead else ""
    return f"<section id='{name}'><h2>{title}</h2>{lead}{content}</section>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Of plain text, in a box that scrolls on narrow screens."""
    head = "".join(f"<th scope='col'>{text(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    content = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='wide'><table class='{kind}'>{content}</table></div>"


def link(path: str, words: str) -> str:
    """To a file of the scene."""
    return f"<a href='{quote(path)}'>{text(words)}</a>"


def turntable(pictures: Pictures, name: str, styles: Sequence[str], alt: str, rows: int) -> str:
    """A thing from all around, a button a style: the files `name`_<style>.webp that are there.

    Without scripts the pictures scroll; with them the thing turns.
    """
    found = [style for style in styles if pictures.read(f"{name}_{style}.webp")]
    if not found:
        return ""
    width, height = pictures.size(f"{name}_{found[0]}.webp")
    picks, labels, frames, keys = "", "", "", ""
    for place, style in enumerate(found, start=1):
        title, key = STYLES[style]
        ident = f"{name}_{style}"
        checked = " checked" if place == 1 else ""
        picks += f"<input type='radio' class='pick p{place}' name='{name}' id='{ident}'{checked}>"
        labels += f"<label for='{ident}'>{title}</label>"
        source = pictures.url(f"{ident}.webp")
        frames += f"<img class='f{place}' alt='{text(alt)}: {title.lower()}' src='{source}' loading='lazy'>"
        keys += f"<span class='k{place}'>{key}</span>"
    shape = f"--ratio:{width * rows}/{height * 8};--rows:{rows}"
    labels = f"<div class='styles' role='group'>{labels}</div>" if len(found) > 1 else ""
    turns = f"<div class='frames' tabindex='0' data-rows='{rows}' style='{shape}'>{frames}</div>"
    below = f"<div class='turn'></div>{labels}<p class='keys'>{keys}</p>"
    return f"<div class='turntable'>{picks}{turns}{below}</div>"
