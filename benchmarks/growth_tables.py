"""The sections of the page of figures about how time grows: of mask clustering, and of the whole job."""

import math
from collections.abc import Sequence

from benchmarks.markdown import number, place, table

MIN_SECONDS = 0.05  # of processor time, for a growth to be told from noise


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """p of seconds ∝ sizes^p, by least squares of the logarithms; NaN where times are too short to tell."""
    if len(sizes) < 2 or max(seconds) < MIN_SECONDS:
        return math.nan
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-3)) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / sum((a - mean_x) ** 2 for a in x)


def association(found: dict) -> str:
    """Clustering of masks."""
    rows = [
        [
            run["clustering"] + run["mark"],
            f"{run['seconds']:.2f}",
            f"{run['cpu_seconds']:.2f}",
            str(run["instances"]),
        ]
        for run in found["runs"]
    ]
    oracle = found["oracle"]
    return (
        f"## Clustering of masks\n\n{place(found)}. {found['frames']} frames × {found['objects']} masks × "
        f"{found['gaussians'] // 1000}k Gaussians, tracing aside.\n\n"
        + table(["rule", "s", "processor s", "instances"], rows)
        + f"\n\nOn a small case ({oracle['ms']:.0f} ms) loops over sets take {oracle['ratio']:.0f} times as "
        + f"long and find {'the same' if oracle['same_groups'] else 'OTHER'} groups.{oracle['mark']}\n"
        + _growing_clustering(found.get("growth", []))
    )


def _growing_clustering(rows: list[dict]) -> str:
    if not rows:
        return ""
    lines = []
    for rule in dict.fromkeys(row["clustering"] for row in rows):
        own = sorted((row for row in rows if row["clustering"] == rule), key=lambda row: row["frames"])
        n = [row["frames"] * row["masks"] for row in own]
        times = [row["cpu_seconds"] for row in own]
        lines.append([
            rule + own[0]["mark"], *(f"{value:.2f}" for value in times),
            number(exponent([k * math.log(k) for k in n], times), "{:.2f}"),
        ])  # fmt: skip
    frames = sorted({row["frames"] for row in rows})
    header = ["rule", *(f"{count} frames" for count in frames), "p of (n log n)^p"]
    return (
        f"\nProcessor seconds over the number of frames, {rows[0]['masks']} masks each (n = frames × masks), "
        "the same Gaussians. The paper's rule compares all masks with one another, and takes the square.\n\n"
        + table(header, lines)
        + "\n"
    )


def growth(found: dict) -> str:
    """Processor seconds by stage while one quantity doubles, with fitted exponents."""
    text = [
        f"## Growth\n\n{place(found)}. Processor seconds of a small RGB-D job of procedural things while one "
        "quantity doubles and the others stay; p of seconds ∝ quantity^p, fitted (–: too short to tell)."
    ]
    for axis in dict.fromkeys(row["axis"] for row in found["runs"]):
        rows = sorted((row for row in found["runs"] if row["axis"] == axis), key=lambda row: row["value"])
        sizes = [row["value"] for row in rows]
        lines = [["objects found", *(str(row["instances"]) for row in rows), "–"]]
        for stage in rows[0]["cpu_seconds"]:
            each = stage == "complete"  # how many are found is told above
            times = [row["cpu_seconds"][stage] / (max(row["completed"], 1) if each else 1) for row in rows]
            lines.append([
                stage + ", an object" * each,
                *(f"{value:.2f}" for value in times),
                number(exponent(sizes, times), "{:.2f}"),
            ])  # fmt: skip
        header = [axis, *(f"{row['value']:,}{row['mark']}" for row in rows), "p"]
        text.append(table(header, lines))
    return "\n\n".join(text) + "\n"
