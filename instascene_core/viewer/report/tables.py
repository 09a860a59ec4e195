"""The same tables for the terminal and for the report."""

from collections.abc import Mapping
from pathlib import Path

from instascene_core.viewer.report.facts import read_objects
from instascene_core.viewer.report.figures import figure

COMPARED = ("accuracy", "segmentation (")  # groups of metrics.json that need the truth

Rows = list[list[str]]


def object_rows(folder: Path, metrics: Mapping) -> tuple[list[str], Rows]:
    """Header and one row an object: what it is, how much was seen, how likely it is a good one
    (`CompletedObject.confidence`), and how good it is where truth is known."""
    accuracy = metrics.get("accuracy")
    compared = accuracy.get("objects", []) if isinstance(accuracy, Mapping) else []
    accuracy = {row["instance_id"]: row for row in compared}
    header = ["id", "size [cm]", "volume [cm³]", "observed", "± [mm]", "confidence", "watertight"]
    header += ["truth", "volume IoU", "offset [mm]"] if accuracy else []
    rows = []
    for o in read_objects(folder):
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
    offset = row["observed_offset"]  # null where another program wrote NaN as JSON has it
    return [row["name"], f"{row['volume_iou']:.2f}", "–" if offset is None else f"{1000 * offset:.1f}"]


def metric_rows(metrics: Mapping) -> Rows:
    """Name and value of everything measured, what was compared with the truth first; groups as `group: name`.

    What is deeper, of single objects or frames, is left to metrics.json.
    """
    rows: Rows = []
    for name, value in sorted(metrics.items(), key=lambda item: not item[0].startswith(COMPARED)):
        if isinstance(value, dict):
            flat = {key: v for key, v in value.items() if not isinstance(v, (list, dict))}
            rows += [[f"{name}: {key}", figure(v)] for key, v in flat.items()]
        else:
            rows.append([name, figure(value)])
    return rows
