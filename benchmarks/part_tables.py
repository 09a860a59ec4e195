"""The section of the page of figures about parts of things."""

from benchmarks.markdown import number, place, table

NETWORKS = {  # as `benchmarks.parts` names them
    "package": "the package's", "all": "small, whole fusion", "without_within": "small, without own level's",
    "without_across": "small, without other levels'", "without_region": "small, without region centre",
    "without_fusion": "small, without all three",
}  # fmt: skip


def parts(found: dict) -> str:
    """Scores by level, all sides and half seen; the fusion's parts; handles of ContactDB."""
    runs = sorted(found["runs"], key=lambda run: list(NETWORKS).index(run["network"]))
    lines = [
        [
            NETWORKS[run["network"]] + run["mark"], run["seen"],
            *(f"{level['map50']:.2f} ({level['shape_map50']:.2f})" for level in run["levels"]),
            f"{100 * run['handles_found']:.0f} % of {run['with_handle']}", f"{run['seconds']:.2f}",
        ]
        for run in runs
    ]  # fmt: skip
    header = ["network", "seen from", "coarse", "middle", "fine", "handles found", "s a thing"]
    small = any(run["network"] != "package" for run in runs)
    alike = " The small networks were trained alike, for 900 steps." if small else ""
    text = (
        f"## Parts of things\n\n{place(found)}. {runs[0]['things']} procedural things of kinds that no "
        "training has seen. mAP50 (in brackets: shape-mAP50) as PartNet scores it, at each level; a handle "
        f"is found where what is called one covers it with an IoU of 0.5.{alike}\n\n{table(header, lines)}\n"
    )
    return text + _contactdb(found.get("contactdb", []))


def _contactdb(rows: list[dict]) -> str:
    if not rows:
        return ""
    having, lacking = [r for r in rows if r["handles"]], [r for r in rows if not r["handles"]]
    lines = [
        [row["mesh"] + row["mark"], number(row["iou"], "{:.2f}"), "yes" if row["right"] else "no",
         ", ".join(dict.fromkeys(row["parts"][-1]))]
        for row in having
    ]  # fmt: skip
    false = ", ".join(row["mesh"] for row in lacking if not row["right"]) or "none"
    return (
        f"\nOf ContactDB's {len(rows)} meshes {len(having)} have a handle (labelled by hand); it is found in "
        f"{sum(row['right'] for row in having)}. Of the {len(lacking)} without, more than 5 % of the surface "
        f"is called handle in: {false}.\n\n"
        + table(["mesh", "IoU of the handle", "found", "parts it is said to have"], lines)
        + "\n"
    )
