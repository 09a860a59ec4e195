"""docs/benchmarks.md from benchmarks/results/*.json: `python -m benchmarks.tables` (`make bench` runs it).

Rows by other code or weights than those of the day on which the page is made have a mark.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.completion_tables import completion
from benchmarks.flat_tables import flat
from benchmarks.generation_tables import generation
from benchmarks.grasp_tables import grasping
from benchmarks.growth_tables import association, growth
from benchmarks.markdown import millimetres, number, place, table
from benchmarks.part_tables import parts
from benchmarks.peers_tables import peers
from benchmarks.points_tables import points
from benchmarks.provenance import UNKNOWN, commit
from benchmarks.records import MARKS, OUTDATED, RESULTS, UNRECORDED, mark_of, rows_of
from benchmarks.scene_tables import (
    COUNTS,
    assets,
    background,
    conditions,
    confidence,
    following,
    geometry,
    plausibility,
    recordings,
    ros,
    wholes,
)
from benchmarks.simulator_tables import parsers, settling
from instascene_core.files import write_bytes

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Measured

Made from `benchmarks/results/*.json` by `python -m benchmarks.tables`; `make bench BENCH=…` measures anew.
Times are wall times on the machine named with each table.
"""
MARKED_AT = "Marks (†, ‡) stand beside figures that may not be those of the code and weights of commit"
LEGEND = {  # followed by commits
    OUTDATED: "Made by other code or weights, of",
    UNRECORDED: "Which code and weights made it is not on record; it came in",
}


def set_marks(record: str, found: dict, marked: bool) -> str:
    """Give each row its "mark", empty unless `marked`; the legend of those that occur."""
    commits: dict[str, set[str]] = {mark: set() for mark in MARKS}
    for rows, row in rows_of(record, found):
        row["mark"] = mark_of(row, rows.sources) if marked else ""
        if row["mark"]:
            commits[row["mark"]].add(row.get("commit", UNKNOWN))
    lines = [f"{m.strip()} {LEGEND[m]} {', '.join(sorted(commits[m]))}." for m in MARKS if commits[m]]
    return "".join(f"\n{line}\n" for line in lines)


def without_marks(text: str) -> str:
    """The page as `page(marked=False)` makes it."""
    legends = tuple(mark.strip() for mark in MARKS)
    paragraphs = [p for p in text.split("\n\n") if not p.startswith((*legends, MARKED_AT))]
    text = "\n\n".join(paragraphs).rstrip("\n") + "\n"
    for mark in MARKS:
        text = text.replace(mark, "")
    return text


LATER = ("forward_backward_all_images", "trace")


def kernel(found: dict) -> str:
    """Kernel times, utilisation, training iteration, twin."""
    rows = [
        [
            entry["scene"] + entry["mark"],
            f"{entry['gaussians'] // 1000}k, {entry['width']}×{entry['height']}", entry["instruction_set"],
            *(f"{entry[k]['ms']:.1f}" for k in ("forward", "forward_backward", *LATER)),
        ]
        for entry in found["kernel"]
    ]  # fmt: skip
    header = ["scene", "Gaussians, image", "set", "forward ms", "+ backward", "all six images", "trace"]
    used, twin = found["utilisation"], found["twin"]
    text = [
        f"## The kernel\n\n{place(found)}; least of {found['least_of']} runs, three channels. "
        "`surface`: what training makes; `fog`: disks of 3 pixels everywhere.\n",
        table(header, rows),
        f"\nIn the 100k surface, {used['pairs'] / 1e6:.1f} M pairs of pixel and Gaussian contribute: "
        f"{used['gflops']:.0f} GFLOP/s are useful, {100 * used['flops_share']:.0f} % of what a large matrix "
        f"product reaches here ({used['peak_gflops']:.0f}); {used['gbytes']:.1f} GB/s must move, "
        f"{100 * used['bytes_share']:.0f} % of a copy's {used['peak_gbytes']:.0f}: the kernel is bound by "
        f"arithmetic.{used['mark']} The float64 torch twin takes {twin['ratio']} times as long "
        f"({twin['gaussians'] // 1000}k Gaussians, {twin['width']}×{twin['height']}).{twin['mark']}\n",
    ]
    parts = list(found["iteration"][0]["parts"])
    rows = [
        [f"{e['gaussians'] // 1000}k, {e['width']}×{e['height']}{e['mark']}"]
        + [f"{e['parts'][part]['ms']:.1f}" for part in parts]
        + [f"{e['total']['ms']:.1f}", f"{e['ratio']:.2f}"]
        for e in found["iteration"]
    ]
    text.append("A whole training iteration, ms (last column: processor time over the kernel's alone):\n")
    text.append(table(["Gaussians, image", *parts, "sum", "ratio"], rows))
    return "\n".join(text) + "\n"


def registration(found: dict) -> str:
    """Poses before and after, a row per kind of error, means over the seeds."""
    rows = []
    for case in dict.fromkeys(run["case"] for run in found["runs"]):
        runs = [run for run in found["runs"] if run["case"] == case]
        mark = "".join(sorted({run["mark"] for run in runs}))
        means = [
            sum(run[key] for run in runs) / len(runs)
            for key in ("before_px", "after_px", "before_mm", "after_mm", "cpu_seconds")
        ]
        rows.append([case + mark, *(f"{m:.2f}" for m in means[:4]), f"{means[4]:.1f}"])
    header = ["poses", "pixels off", "after", "mm off", "after", "processor s"]
    return (
        f"## Registration\n\n{place(found)}. Poses of {found['views']} RGB-D views (320×240), "
        f"{len(runs)} scenes each: exact ones with errors added to each, depth in millimetres; and as "
        "simulated sensors report them. What lies at the typical depth is misplaced by so much, the motion "
        "of all cameras together aside.\n\n" + table(header, rows) + "\n"
    )


def reconstruction(found: dict) -> str:
    """Quality on views not trained on."""
    rows = []
    for run in found["runs"]:
        held, aligned = run["held_out"], run["held_out_aligned"]
        rows.append(
            [
                run["name"] + run["mark"], f"{run['views']} × {run['width']}×{run['height']}",
                f"{run['gaussians'] / 1e3:.0f}k", f"{run['seconds']:.0f}",
                f"{held['psnr']:.1f}", f"{aligned['psnr']:.1f}",
                millimetres(held["depth_error"]), number(held["normal_error"], "{:.1f}°"),
            ]
        )  # fmt: skip
    header = ["scene", "views", "Gaussians", "s", "PSNR", "after alignment", "depth error", "normals"]
    return (
        f"## Reconstruction\n\n{place(found)}. On views that were not trained on (every 8th): PSNR in dB, "
        "also after the pose of each has been fitted to the finished scene, medians of depth and normal "
        "errors.\n\n" + table(header, rows) + "\n"
    )


def speed(found: dict) -> str:
    """A run of fixed size, and PSNR over seconds."""
    rows = [
        [
            run["name"] + run["mark"], f"{run['gaussians'] / 1e3:.0f}k", f"{run['seconds']:.1f}",
            f"{run['cpu_seconds']:.1f}", f"{run['held_out']['psnr']:.1f}",
        ]
        for run in found["runs"]
    ]  # fmt: skip
    header = ["run", "Gaussians", "s", "processor s", "PSNR of held-out views"]
    return f"## Quality over time\n\n{place(found)}.\n\n{table(header, rows)}\n"


def streaming(found: dict) -> str:
    """Ready how long after the last frame."""
    rows = [
        [
            f"{run['seed']}{run['mark']}", f"{run['frames']} at {run['hz']:g} Hz", f"{run['ready_s']:.1f}",
            f"{run['offline_s']:.1f}", f"{run['streamed']['psnr']:.1f}", f"{run['offline']['psnr']:.1f}",
        ]
        for run in found["runs"]
    ]  # fmt: skip
    header = ["seed", "frames", "ready after the last one, s", "offline, s", "PSNR", "offline"]
    return (
        f"## While frames arrive\n\n{place(found)}. RGB-D, 320×240; PSNR on held-out views.\n\n"
        f"{table(header, rows)}\n" + streamed_objects(found.get("objects", []))
    )


def streamed_objects(runs: list[dict]) -> str:
    """Complete how long after the last frame, by stages."""
    stages = ("reconstruct", "masks", "decompose", "complete", "rest")
    rows = [
        [
            f"{run['recording']}{run['mark']}",
            f"{run['frames']} of {run['width']}×{run['height']} at {run['hz']:g} Hz",
            f"{run['complete_s']:.0f}", *(f"{run['seconds'][stage]:.0f}" for stage in stages),
            f"{run['objects']} of {run['true_objects']}", f"{run['volume_iou']:.3f}",
        ]
        for run in runs
    ]  # fmt: skip
    header = ["recording", "frames", "all complete after the last one, s", *stages, "objects", "volume IoU"]
    return f"\nOn to complete objects:\n\n{table(header, rows)}\n" if rows else ""


def memory(found: dict) -> str:
    """Peak of a whole job."""
    return (
        f"## Memory\n\nA whole job on {found['views']} RGB-D frames of {found['width']}×{found['height']}, "
        f"files to completed objects, takes {found['beyond_libraries_mb']:.0f} MB at most beyond the "
        f"{found['libraries_mb']:.0f} MB of the libraries. In all that is {found['reconstruct_peak_mb']:.0f} "
        f"MB after reconstruction, {found['segment_peak_mb']:.0f} after segmentation, "
        f"{found['complete_peak_mb']:.0f} at the end.{found['mark']}\n"
    )


def streaming_memory(found: dict) -> str:
    """Of an endless stream."""
    run = found["long"]
    return (
        f"A stream of {run['frames']} frames of {run['width']}×{run['height']} keeps {run['held']} of them, "
        f"and memory grows by {max(run['growth_mb']):.0f} MB at most.{run['mark']}\n"
    )


def batch(found: dict) -> str:
    """Recordings in parallel, each run against the one with one worker."""
    alone = {run["recordings"]: run for run in found["runs"] if run["workers"] == 1}
    rows = []
    for run in found["runs"]:
        one = alone.get(run["recordings"])
        speedups = (
            [one["seconds"] / run["seconds"], run["expected"] / one["expected"]] if one else [None, None]
        )
        rows.append(
            [
                f"{run['workers']}{run['mark']}", str(run["recordings"]), f"{run['seconds']:.0f}",
                f"{run['processor_s']:.0f}", f"{100 * run['busy']:.0f} %",
                *(number(value, "{:.2f}") for value in speedups),
                f"{run['load_before']:.1f}",
            ]
        )  # fmt: skip
    header = [
        "workers",
        "recordings",
        "s",
        "processor s",
        "workers busy",
        "speedup",
        "expected",
        "load before",
    ]
    return (
        f"## Many recordings\n\n{place(found)}. Small recordings (8 views of 128×96, one object) through "
        "`instascene batch`, a thread a worker. Expected: the speedup where every worker has a core of its "
        "own, from processor time and how busy workers were; wall times tell of others' work where the load "
        f"was above 0.\n\n{table(header, rows)}\n"
    )


def decomposition(found: dict) -> str:
    """Scene by scene, then what was varied."""
    text = [
        f"## Decomposition\n\n{place(found)}. Ten scenes of 60 views (320×240), shapes that no training has "
        "seen; the first five of separable clutter. Multi-view mask mIoU / AP50.\n"
    ]
    for depth, title in ((True, "RGB-D"), (False, "RGB and poses only")):
        runs = [run for run in found["runs"] if run["depth"] == depth]
        if runs:
            text += [f"Masks, {title}:\n", _scenes_by(runs, "masks"), ""]
            text += ["Means over these scenes; false: instances that are half of no true object:\n"]
            text += [_counts_by(runs, "masks"), ""]
    for mode in dict.fromkeys(run["mode"] for run in found["ablation"]):
        runs = [run for run in found["ablation"] if run["mode"] == mode]
        text += [f"{ABLATION_TITLES[mode]}:\n", _scenes_by(runs, "losses"), "", _by_place(runs), ""]
    text += [WHERE_FEATURES_HELP, ""] if found["ablation"] else []
    for masks in dict.fromkeys(run["masks"] for run in found["fractions"]):
        runs = [run for run in found["fractions"] if run["masks"] == masks]
        text += [f"Share of the views that have masks ({masks} ones):\n", _scenes_by(runs, "share"), ""]
    return "\n".join(text).rstrip("\n") + "\n"


WHERE_FEATURES_HELP = (
    "Where features help (pile, flush, nested; one seed). Not in how many objects are found: clustering "
    "alone settles that, in both modes. With the paper's choices the 3D loss alone gives the clusters "
    "back as they were; filtered 2D masks win some pixels that a view's own masks leave out (pile) or "
    "at borders (flush), and lose more elsewhere, so that mIoU falls by 0.001 to 0.018. On clusters by "
    "votes, features that decide give more of the objects' pixels to them, at borders above all, but "
    "mIoU falls by up to 0.030 in two of three scenes: they take pixels beyond the objects as well. "
    "Kept to the Gaussians that the votes leave open they lose nowhere, and gain 0.000 to 0.001. On "
    "unfiltered masks they are far worse than the clusters."
)
ABLATION_TITLES = {
    "paper": "Losses, the paper's choices (`config/paper.yaml`), masks damaged as segmenters do it",
    "ours": "What features add to the votes of the masks, the same masks",
}


def _by_place(runs: list[dict]) -> str:
    """Share of the objects' pixels that are right, where the pixels are; means over the scenes."""
    places = list(runs[0]["right"])
    rows = []
    for losses in dict.fromkeys(run["losses"] for run in runs):
        chosen = [run["right"] for run in runs if run["losses"] == losses]
        rows.append([losses, *(f"{sum(r[p] for r in chosen) / len(chosen):.3f}" for p in places)])
    note = (
        "Share of the objects' pixels that are right: within 2 pixels of a true border; elsewhere where the "
        "view's own masks leave the pixel out, and where they do not.\n\n"
    )
    return note + table(["losses", *places], rows)


def _scenes_by(runs: list[dict], key: str) -> str:
    """A row per scene and of means, a column per value of `key`.  A mark that a whole column shares stands in
    its header."""
    columns = list(dict.fromkeys(run[key] for run in runs))
    cells = {(run["scene"], run[key]): run for run in runs}
    marks = {column: {run["mark"] for run in runs if run[key] == column} for column in columns}
    shared = {column: min(found) if len(found) == 1 else "" for column, found in marks.items()}
    scenes = {run["scene"]: run["group"] for run in runs}
    groups = {name: [s for s in scenes if scenes[s] == name] for name in dict.fromkeys(scenes.values())}
    lines = {scene: [scene] for scene in scenes}
    lines |= {f"**{name}**": members for name, members in [*groups.items(), ("all", list(scenes))]}
    rows = [
        [name, *(_scores([cells.get((scene, c)) for scene in members], not shared[c]) for c in columns)]
        for name, members in lines.items()
    ]
    header = [(f"{100 * c:.0f} %" if isinstance(c, float) else c) + shared[c] for c in columns]
    return table(["scene", *header], rows)


def _counts_by(runs: list[dict], key: str) -> str:
    """A row per value of `key`, means over its scenes; "–" where rows are older than the figure."""
    names = [*(name for name, _ in COUNTS), "false_instances"]
    rows = []
    for value in dict.fromkeys(run[key] for run in runs):
        chosen = [run for run in runs if run[key] == value]
        means = [_mean([run.get(name) for run in chosen]) for name in names]
        marks = "".join(sorted({run["mark"] for run in chosen}))
        cells = [number(mean, "{:.2f}") for mean in means]
        rows.append([f"{value}{marks}", str(len(chosen)), *cells])
    return table([key, "scenes", *(title for _, title in COUNTS), "false per scene"], rows)


def _mean(values: list[float | None]) -> float | None:
    """Over those that are defined (NaN: precision of nothing); None where one is not on record."""
    known = [value for value in values if value is not None]
    defined = [value for value in known if value == value]
    return sum(defined) / len(defined) if defined and len(known) == len(values) else None


def _scores(runs: list[dict | None], marked: bool) -> str:
    """The mean, where all are known."""
    known = [run for run in runs if run is not None]
    if len(known) < len(runs):
        return "–"
    means = " / ".join(f"{sum(run[k] for run in known) / len(known):.3f}" for k in ("miou", "ap50"))
    return means + ("".join(sorted({run["mark"] for run in known})) if marked else "")


SECTIONS: dict[str, Callable[[dict], str]] = {
    "kernel": kernel,
    "registration": registration,
    "reconstruction": reconstruction,
    "reconstruction_speed": speed,
    "streaming": streaming,
    "memory": memory,
    "streaming_memory": streaming_memory,
    "batch": batch,
    "flat": flat,
    "association": association,
    "peers": peers,
    "growth": growth,
    "decomposition": decomposition,
    "points": points,
    "conditions": conditions,
    "geometry": geometry,
    "wholes": wholes,
    "recordings": recordings,
    "plausibility": plausibility,
    "confidence": confidence,
    "completion": completion,
    "generation": generation,
    "background": background,
    "following": following,
    "ros": ros,
    "assets": assets,
    "grasping": grasping,
    "parsers": parsers,
    "settling": settling,
    "parts": parts,
}


def page(marked: bool = True) -> str:
    """The whole page, of those results that are there; with marks beside the rows that are not today's."""
    parts = [HEAD, f"{MARKED_AT} {commit()}.\n"] if marked else [HEAD]
    for name, section in SECTIONS.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            legend = set_marks(name, found, marked)
            parts.append(section(found) + legend)
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    write_bytes(PAGE, page().encode())


if __name__ == "__main__":
    main()
