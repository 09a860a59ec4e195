"""The page of a batch: what was done, what failed and why, with a link to each recording's own report."""

import string
from collections.abc import Iterator
from importlib import resources
from urllib.parse import quote

from instascene_core import __version__
from instascene_core.batch.plan import TABLE
from instascene_core.batch.records import FAILED, Record
from instascene_core.batch.summary import SHOWN, Summary
from instascene_core.viewer.report.figures import duration
from instascene_core.viewer.report.parts import section, table, text

HEADER = ("recording", "status", "objects", "frames", "PSNR [dB]", "processor time", "")


def recording_row(record: Record) -> tuple[str, ...]:
    """The cells of HEADER, plain text."""
    spent = sum(record.processor_seconds.values())
    return (
        record.name,
        record.status,
        str(len(record.objects)) if record.frames else "–",
        str(record.frames) if record.frames else "–",
        "–" if record.psnr is None else f"{record.psnr:.1f}",
        duration(spent) if spent else "–",
        record.sentence or _not_completed(record),
    )


def report_page(summary: Summary) -> bytes:
    """One HTML file that asks no network for anything."""
    first, *others = summary.sentences()
    spent = summary.processor_seconds
    stages = [(stage, duration(seconds)) for stage, seconds in spent.items()]
    body = [
        section("recordings", "Recordings", _recordings(summary), _what_is_shown(summary)),
        section("time", "Processor time by stage", table(("stage", "together"), stages) if stages else ""),
    ]
    page = string.Template(_part("page.html")).substitute(
        headline=text(first),
        summary="".join(f"<p>{text(sentence)}</p>" for sentence in others),
        body="".join(body),
        table=TABLE,
        version=text(__version__),
        css=resources.files("instascene_core.viewer.report").joinpath("page.css").read_text(encoding="utf-8"),
    )
    return page.encode()


def _recordings(summary: Summary) -> str:
    head = "".join(f"<th scope='col'>{text(cell)}</th>" for cell in HEADER)
    rows = "".join(_rows(summary))
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _rows(summary: Summary) -> Iterator[str]:
    for record in summary.ordered:
        name, *cells = recording_row(record)
        shown = text(name)
        if record.status != FAILED:
            shown = f"<a href='{quote(name)}/report.html'>{shown}</a>"
        yield f"<tr><td>{shown}</td>" + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>"


def _what_is_shown(summary: Summary) -> str:
    left_out = summary.total - len(summary.ordered)
    if not left_out:
        return ""
    return f"The first {SHOWN:,} of each status; {left_out:,} more are in {TABLE}."


def _not_completed(record: Record) -> str:
    """Why objects were not completed, the first of them."""
    if not record.not_completed:
        return ""
    number, why = next(iter(record.not_completed.items()))
    more = len(record.not_completed) - 1
    return f"object {number} was not completed: {why}" + (f" (and {more} more)" if more else "")


def _part(name: str) -> str:
    return resources.files("instascene_core.batch").joinpath(name).read_text(encoding="utf-8")
