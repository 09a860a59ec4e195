"""The section of the page of figures that holds public code beside ours."""

import math
from collections.abc import Sequence

from benchmarks.growth_tables import exponent
from benchmarks.markdown import number, place, table

GOAL = 27.0  # dB


def peers(found: dict) -> str:
    """Clusterings, then splatting."""
    text = [f"## Public code on the same data\n\n{place(found)}.\n"]
    if found.get("clustering"):
        text.append(clustering(found["clustering"]))
    if found.get("splatting"):
        text.append(splatting(found["splatting"]))
    return "\n".join(text)


def clustering(rows: list[dict]) -> str:
    """What is found, and processor seconds with their growth; a row per method, a column per frames."""
    counts = sorted({row["frames"] for row in rows})
    quality, seconds = [], []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["frames"]: row for row in rows if row["method"] == method}
        versions = {f" ({row['peer']})" for row in own.values() if "peer" in row}
        title = method + "".join(sorted(versions) + sorted({row["mark"] for row in own.values()}))
        quality.append([title, *(_quality(own.get(count)) for count in counts)])
        times = {count: row["cpu_seconds"] - row["projecting_cpu_seconds"] for count, row in own.items()}
        sizes = [own[count]["masks"] for count in times]
        growth = exponent([n * math.log(n) for n in sizes], list(times.values()))
        seconds.append([title, *(_seconds(own.get(count)) for count in counts), number(growth, "{:.2f}")])
    first = rows[0]
    header = [f"{count} frames" for count in counts]
    return (
        f"Clustering of masks: scenes: {first['scenes']}, objects in each: {first['true_objects']:.1f}, of "
        "shapes that no training has seen; true masks damaged as segmenters do it, exact poses and depth. "
        "All group the same Gaussians; exact depth and labels at its centre tell whose a Gaussian truly is. "
        "Class-agnostic AP / AP50 / AP25 (ScanNet's, all instances equally sure; in brackets AP50 by our "
        "own sureness; theirs have none), and how many instances there are. The public code runs on the "
        "CPU with its own settings; its constants are metres of rooms, so lengths are scaled to what serves "
        "it best; a stand-in answers for pytorch3d's ball query. InstaScene's is given the pairs of pixel "
        "and Gaussian of our tracer; its features, which come after, are left out.\n\n"
        + table(["method", *header], quality)
        + "\n\nProcessor seconds with one thread from masks to instances, in brackets those of finding out "
        "which points a pixel shows; p of seconds ∝ (n log n)^p without them, n = frames × masks.\n\n"
        + table(["method", *header, "p"], seconds)
        + "\n"
    )


def _quality(row: dict | None) -> str:
    if row is None:
        return "–"
    own = "" if "peer" in row else f" ({row['ap50_own_sureness']:.2f})"
    return f"{row['ap']:.2f} / {row['ap50']:.2f}{own} / {row['ap25']:.2f}, {row['instances']:.1f}"


def _seconds(row: dict | None) -> str:
    return "–" if row is None else f"{row['cpu_seconds']:.1f} ({row['projecting_cpu_seconds']:.1f})"


def splatting(rows: list[dict]) -> str:
    """PSNR over seconds, and when it reaches the goal."""
    lines = [
        [
            row["method"] + row["mark"], str(row["iterations"]), f"{row['seconds']:.0f}",
            f"{row['cpu_seconds']:.0f}", f"{row['psnr']:.1f}", f"{row['gaussians'] / 1e3:.0f}k",
        ]
        for row in rows
    ]  # fmt: skip
    reached = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = sorted((row for row in rows if row["method"] == method), key=lambda row: row["seconds"])
        wall, processor = (time_to(GOAL, own, key) for key in ("seconds", "cpu_seconds"))
        best = max(row["psnr"] for row in own)
        reached.append(
            f"{method}: {wall:.0f} s (processor {processor:.0f} s)"
            if wall is not None and processor is not None
            else f"{method}: not within {own[-1]['seconds']:.0f} s ({best:.1f} dB at most)"
        )
    version = next((row["peer"] for row in rows if "peer" in row), None)
    return (
        "`fox` from RGB and poses, on the CPU, cropped so that the principal point is the middle. PSNR on "
        "every 8th view, which none has trained on. Each of ours is a run of its own, from the images on. "
        f"OpenSplat{f' {version}' if version else ''} is given the points that ours triangulates and writes "
        "files on its way, rendered as it renders them; one word is added to it: as published its sorting "
        "by depth reads other numbers with this torch.\n\n"
        + table(["method", "iterations", "s", "processor s", "PSNR", "Gaussians"], lines)
        + f"\n\n{GOAL:.0f} dB after: {'; '.join(reached)}.\n"
    )


def time_to(goal: float, rows: Sequence[dict], key: str) -> float | None:
    """When a curve first reaches a PSNR: `key` of the rows, interpolated; None where it does not."""
    for before, after in zip([None, *rows], rows):
        if after["psnr"] >= goal:
            if before is None:
                return after[key]
            share = (goal - before["psnr"]) / (after["psnr"] - before["psnr"])
            return before[key] + share * (after[key] - before[key])
    return None
