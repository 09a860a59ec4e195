"""The section of the page of figures about completion."""

from benchmarks.markdown import number, place, table


def completion(found: dict) -> str:
    """Single objects by method and kind, calibration, more views, whole scenes."""
    text = [f"## Completion\n\n{place(found)}."]
    if found.get("objects"):
        text.append(_completed_objects(found["objects"]))
    if found.get("views"):
        rows = [
            [row["prior"] + row["mark"], str(row["views"]), str(row["things"]), f"{row['iou']:.2f}",
             f"{100 * row['spread']:.2f} %", f"{100 * row['monotone']:.0f} %"]
            for row in found["views"]
        ]  # fmt: skip
        header = ["prior", "views", "things", "IoU", "spread, of the diagonal", "falls with every step"]
        text.append("Spread of four guesses as views are added around an object:\n\n" + table(header, rows))
    if found.get("pipeline"):
        rows = [
            [f"{row['seed']}{row['mark']}", "RGB-D" if row["depth"] else "RGB", row["prior"],
             f"{row['found']} of {row['true_objects']}", f"{100 * row['watertight']:.0f} %",
             number(row["iou"], "{:.2f}"), number(row["f5mm"], "{:.2f}"),
             f"{row['boxes_within_5']} of {row['boxes']}", number(row["observed_2mm"], "{:.0f} %", 100)]
            for row in found["pipeline"]
        ]  # fmt: skip
        header = ["seed", "from", "prior", "found", "closed", "IoU", "F@5 mm", "boxes within 5 %",
                  "observed within 2 mm"]  # fmt: skip
        text.append("Whole scenes, built-in masks, means over the found:\n\n" + table(header, rows))
    return "\n\n".join(text) + "\n"


def _completed_objects(rows: list[dict]) -> str:
    """Single objects on a table, seen from one side."""
    figures = [
        [
            row["group"] + row["mark"], row["method"], str(row["cases"]), number(row["iou"], "{:.2f}"),
            *(number(row[name], form, factor) for name, form, factor in (
                ("chamfer", "{:.2f}", 100), ("f1", "{:.2f}", 1), ("f2", "{:.2f}", 1),
                ("unseen_recall", "{:.2f}", 1), ("sound", "{:.0f} %", 100), ("cpu_seconds", "{:.1f}", 1))),
        ]
        for row in rows
    ]  # fmt: skip
    header = ["things", "method", "cases", "IoU", "Chamfer, % of the diagonal", "F@1 %", "F@2 %",
              "recall of the unseen at 2 %", "closed, one piece", "processor s"]  # fmt: skip
    against = [
        [row["group"] + row["mark"], row["method"], str(row["compared"]), f"{row['gain']:+.3f}",
         f"{100 * row['better']:.0f} %", f"{row['worst_loss']:.2f}"]
        for row in rows if "compared" in row and row["method"] not in ("carving", "observed surface")
    ]  # fmt: skip
    doubt = [
        [row["group"] + row["mark"], row["method"], *(f"{1000 * q:.2f}" for q in row["quartiles"]),
         *(f"{100 * c:.0f} %" for c in row["covered"])]
        for row in rows if "quartiles" in row
    ]  # fmt: skip
    return "\n\n".join([
        "Single objects on a table, six noisy views from one side. Scanned ones are ContactDB's closed "
        "shapes, never trained on; boxes and cans are procedural. Hollow: a tenth of the hull is enclosed "
        "but empty; thin: half of the surface has less than a tenth of the diagonal behind it. They lie in "
        "their likeliest stable pose (the cup upside down, the mug on its side, the tea pot closed); mouth "
        "up: the vessels once more, as they are used.",
        table(header, figures),
        "Against carving, case by case:",
        table(["things", "method", "cases", "gain of IoU", "better in", "worst loss"], against),
        "What the uncertainty says: mean error (mm) of the vertices by quartile of predicted uncertainty, "
        "and the share of vertices whose error is below once and twice what was predicted.",
        table(["things", "method", "lowest", "second", "third", "highest", "within 1×", "within 2×"], doubt),
    ])  # fmt: skip
