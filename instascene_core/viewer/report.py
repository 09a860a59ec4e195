"""The page a person opens after a run: pictures and tables of a saved scene, in one file."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from instascene_core.saved_facts import read_object_facts

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
img{max-width:100%;border:1px solid #ddd}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:.3em .7em;text-align:right}
th{background:#f4f4f4}td:first-child{text-align:left}"""
PICTURES = (("Overview", "overview.png"), ("Completed objects from four sides", "objects.png"))
COMPARED = ("accuracy", "segmentation (")  # groups of metrics.json that need the truth

Rows = list[list[str]]


def report_page(folder: Path, metrics: Mapping) -> bytes:
    """The page of a saved scene: its pictures and objects, and `metrics`, what metrics.json holds."""
    header, rows = object_rows(folder, metrics)
    images = "".join(
        f"<h2>{title}</h2><img alt='{title}' src='data:image/png;base64,{_encoded(folder / name)}'>"
        for title, name in PICTURES
        if (folder / name).exists()
    )
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>instascene report</title>"
        f"<style>{STYLE}</style><h1>instascene</h1>{images}<h2>Objects</h2>{_table(header, rows)}"
        f"<h2>Measured</h2>{_table(['what', 'value'], metric_rows(metrics))}</html>"
    )
    return page.encode()


def object_rows(folder: Path, metrics: Mapping) -> tuple[list[str], Rows]:
    """Header and one row an object: what it is, how much was seen, how likely it is a good one
    (`CompletedObject.confidence`), and how good it is where truth is known."""
    objects = [read_object_facts(path.parent) for path in sorted(folder.glob("objects/*/object.json"))]
    accuracy = metrics.get("accuracy")
    compared = accuracy.get("objects", []) if isinstance(accuracy, Mapping) else []
    accuracy = {row["instance_id"]: row for row in compared}
    header = ["id", "size [cm]", "volume [cm³]", "observed", "± [mm]", "confidence", "watertight"]
    header += ["truth", "volume IoU", "offset [mm]"] if accuracy else []
    rows = []
    for o in sorted(objects, key=lambda o: o["instance_id"]):
        row = [
            str(o["instance_id"]),
            "×".join(f"{100 * d:.1f}" for d in o["dimensions_m"]),
            f"{o['volume_m3'] * 1e6:.0f}",
            f"{100 * o['observed_fraction']:.0f} %",
            f"{1000 * o['uncertainty_m']:.1f}",
            f"{100 * o['confidence']:.0f} %",
            "yes" if o["watertight"] else "NO",
        ]
        if accuracy:
            row += _truth_cells(accuracy.get(o["instance_id"]))
        rows.append(row)
    rows += [["–"] * 7 + [row["name"], "missed", "–"] for row in compared if not row["instance_id"]]
    return header, rows


def _truth_cells(row: dict | None) -> list[str]:
    if row is None:
        return ["none", "–", "–"]
    return [row["name"], f"{row['volume_iou']:.2f}", f"{1000 * row['observed_offset']:.1f}"]


def metric_rows(metrics: Mapping) -> Rows:
    """Name and value of everything measured, what was compared with the truth first; nested groups as
    `group: name`."""
    rows: Rows = []
    for name, value in sorted(metrics.items(), key=lambda item: not item[0].startswith(COMPARED)):
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", _figure(v)] for key, v in value.items() if not isinstance(v, list)]
        else:
            rows.append([name, _figure(value)])
    return rows


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _table(header: list[str], rows: Rows) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + line(header, "th") + "".join(line(row, "td") for row in rows) + "</table>"
