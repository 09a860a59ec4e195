"""Sections of the page of figures on whole scenes: under sensors, what is one object, real recordings."""

from benchmarks.markdown import number, place, table

COUNTS = (
    ("recall_50", "recall, IoU ≥ 0.5"), ("precision_50", "precision"), ("recall_75", "recall, IoU ≥ 0.75"),
    ("precision_75", "precision"),
)  # fmt: skip

OFFSET = (
    "Best by poses: the true meshes moved as the poses of all frames together are off, against themselves; "
    "no frame tells of that motion, so no completion can be better. Beside their common offset: the objects "
    "against the true meshes moved so"
)

# Stage of the record → what its table says, and its columns beside COUNTS
STAGES = {
    "masks": (
        "Instances, by the masks of all views; false: half of no true object:",
        (("miou", "mask IoU, all"), ("false_instances", "false per scene"),
         ("reconstruction_seconds", "reconstruction, s"), ("seconds", "decomposition, s")),
    ),
    "objects": (
        f"Completed objects, by volume; false: volume IoU below 0.25 with what it stands for. {OFFSET}:",
        (("mean_volume_iou_all", "volume IoU, all"), ("iou_of_poses", "best by poses"),
         ("placed_iou_all", "beside their common offset"), ("mean_f_score_all", "F@5 mm, all"),
         ("spurious", "false per scene"), ("seconds", "completion, s")),
    ),
}  # fmt: skip


def conditions(found: dict) -> str:
    """What is delivered under each sensor, then the recordings of development."""
    text = [
        f"## Under real sensors\n\n{place(found)}. Scenes of unseen shapes on a table in a room, 60 views of "
        "320×240, built-in segmenter, default settings, each through several sensors (`rgb`: the D435's "
        "colour without its depth). Every true object counts, a missing one as 0; every delivered one "
        "counts for precision. Means over scenes ± half the 95 % interval (Student's t)."
    ]
    for stage, (caption, columns) in STAGES.items():
        if found.get(stage):
            header = ["sensor", "scenes", "delivered / true", *(title for _, title in (*COUNTS, *columns))]
            names = [name for name, _ in (*COUNTS, *columns)]
            text += [caption, table(header, _intervals(found[f"{stage}_summary"], found[stage], names))]
    if found.get("development"):
        text.append(_development(found["development"]))
    return "\n\n".join(text) + "\n"


def geometry(found: dict) -> str:
    """What completion makes of true masks."""
    columns = (("mean_volume_iou_all", "volume IoU, all"), ("iou_of_poses", "best by poses"),
               ("placed_iou_all", "beside their common offset"), ("mean_f_score_all", "F@5 mm, all"),
               ("recall_75", "recall, IoU ≥ 0.75"), ("seconds", "completion, s"))  # fmt: skip
    text = [
        f"## Geometry alone\n\n{place(found)}. The scenes of the table above with their true label images: "
        f"what is lost here is lost in completion. {OFFSET}. Rows of development are of scenes that rules "
        "were tuned on."
    ]
    lines = []
    for entry in found.get("scenes_summary", []):
        group = (entry["condition"], entry["development"])
        marks = {r["mark"] for r in found["scenes"] if (r["condition"], r["development"]) == group}
        name = entry["condition"] + (", development" if entry["development"] else "") + "".join(sorted(marks))
        figures = [number(entry[key][0], "{:.3f}") for key, _ in columns]
        lines.append([name, str(entry["scenes"]), str(entry["true_objects"]), *figures])
    if lines:
        text.append(table(["sensor", "scenes", "objects", *(title for _, title in columns)], lines))
    rows = [
        [row["recording"] + row["mark"], str(row["true_objects"]),
         *(number(row.get(key), "{:.3f}") for key, _ in columns),
         ", ".join(f"{name} {value:.2f}" for name, value in row["objects"].items())]
        for row in found.get("recordings", [])
    ]  # fmt: skip
    if rows:
        text.append(table(["recording", "objects", *(title for _, title in columns), "each"], rows))
    return "\n\n".join(text) + "\n"


def assets(found: dict) -> str:
    """Objects as files: textures, collision bodies, settling."""
    header = ["scene", "objects", "texture [dB]", "Gaussians [dB]", "vertices [dB]", "baking an object [s]",
              "hulls", "hull error [mm]", "stay", "true meshes stay", "overlap at first [mm]"]  # fmt: skip
    lines = [
        [row["scene"] + row["mark"], str(row["objects"]), f"{row['psnr_texture']:.1f}",
         f"{row['psnr_gaussians']:.1f}", f"{row['psnr_vertices']:.1f}", f"{row['baking_seconds']:.1f}",
         f"{sum(row['hulls']) / len(row['hulls']):.0f}", f"{1000 * max(row['hull_errors_m']):.1f}",
         f"{100 * row['settled']['stay']:.0f} %",
         f"{100 * row['settled_true']['stay']:.0f} %" if row["settled_true"] else "–",
         f"{1000 * max(row['settled']['start_penetration_m'], default=0):.1f}"]
        for row in found["runs"]
    ]  # fmt: skip
    return (
        f"## Files for simulators\n\n{place(found)}. Texture: PSNR over the objects' pixels of every eighth "
        "view, which it was not baked from; the Gaussians have seen those views. Hull error: the largest of "
        "the objects. Stay: tilted by less than 5°, moved by less than 1 cm after 2 s of gravity in MuJoCo."
        f"\n\n{table(header, lines)}\n"
    )


def wholes(found: dict) -> str:
    """What is one object: things of several parts, and stacked twins."""
    header = ["sensor", "things", "scenes", "things in all", "in one piece and alone", "mask IoU, all",
              "false per scene"]  # fmt: skip
    names = {"parts": "of several parts", "twins": "equal, stacked"}
    lines = [
        [row["sensor"], names[row["group"]], str(row["scenes"]), str(row["things"]),
         f"{100 * row['whole']:.0f} %", f"{row['miou']:.3f}", f"{row['false_instances']:.1f}"]
        for row in found["summary"]
    ]  # fmt: skip
    return (
        f"## What is one object\n\n{place(found)}. Things of kinds that no training has seen, 24 views, the "
        "built-in 2D segmenter alone. In one piece: one instance holds half of its pixels and 80 % of those "
        "that any instance holds; at most 20 % of that instance's pixels on things are on others."
        f"\n\n{table(header, lines)}\n"
    )


def _intervals(summary: list[dict], rows: list[dict], names: list[str]) -> list[list[str]]:
    """A line per condition: mean ± half width."""
    lines = []
    for entry in summary:
        marks = {row["mark"] for row in rows if row["condition"] == entry["condition"]}
        cells = []
        for name in names:
            mean, half = entry[name]
            form = "{:.1f}" if name in ("false_instances", "spurious") or "seconds" in name else "{:.2f}"
            spread = "" if half != half else " ± " + form.format(half)
            cells.append(number(mean, form) + spread)
        lines.append([
            entry["condition"] + "".join(sorted(marks)), str(entry["scenes"]),
            f"{entry['instances']} / {entry['true_objects']}", *cells,
        ])  # fmt: skip
    return lines


def _development(rows: list[dict]) -> str:
    """Recordings with truth that rules were tuned on."""
    lines = []
    for row in rows:
        masks, objects = row["masks"], row["objects"]
        lines.append([
            row["recording"] + row["mark"], f"{objects['instances']} / {objects['true_objects']}",
            number(masks["miou"], "{:.2f}"), number(objects["recall_50"], "{:.2f}"),
            number(objects["precision_50"], "{:.2f}"), number(objects["mean_volume_iou_all"], "{:.2f}"),
            number(objects["mean_f_score_all"], "{:.2f}"), str(objects["spurious"]),
        ])  # fmt: skip
    header = ["recording", "delivered / true", "mask IoU, all", "recall, volume IoU ≥ 0.5", "precision",
              "volume IoU, all", "F@5 mm, all", "false objects"]  # fmt: skip
    return (
        "Recordings of development (rendered, 640×480): what was tuned on them is not measured on them.\n\n"
        + table(header, lines)
    )


def recordings(found: dict) -> str:
    """Real recordings."""
    rows = [
        [
            row["recording"] + row["mark"], f"{row['frames']} {'RGB-D' if row['depth'] else 'RGB'}",
            str(row["instances"]), str(row.get("false_objects", "–")), number(row.get("miou"), "{:.2f}"),
            ", ".join(f"{name} {iou:.2f}" for name, iou in row.get("objects", {}).items()) or "–",
        ]
        for row in found["runs"]
    ]  # fmt: skip
    header = ["recording", "frames", "objects delivered", "false, counted by eye", "IoU, drawn objects",
              "each"]  # fmt: skip
    return (
        f"## Real recordings\n\n{place(found)}. Without full truth: a person counts false objects in a "
        "contact sheet; where masks were drawn by hand, IoU of each drawn object with one instance for "
        "all views.\n\n" + table(header, rows) + "\n"
    )


def plausibility(found: dict) -> str:
    """Alarms on recordings that are right, and what is said to spoilt ones."""
    rows = []
    for kind in dict.fromkeys(row["kind"] for row in found["good"]):
        group = [row for row in found["good"] if row["kind"] == kind]
        marks = "".join(sorted({row["mark"] for row in group}))
        alarms, least = sum(bool(row["said"]) for row in group), min(row["agreement"] for row in group)
        rows.append([kind + marks, str(len(group)), str(alarms), f"{least:.2f}"])
    lines = [
        [row["damage"] + row["mark"], str(row["count"]), str(row["right"]),
         ", ".join(f"{name} {count}" for name, count in row["said"].items())]
        for row in found["damaged"]
    ]  # fmt: skip
    return (
        f"## Is the recording what it is read as?\n\n{place(found)}. Recordings that are right: any word is "
        "a false alarm.\n\n"
        + table(["recordings", "number", "alarms", "least agreement"], rows)
        + "\n\nSpoilt at random, and what was said; right: the kind, and the correction that undoes it. "
        f"Processor time of a check: {found['median_s']:.2f} s median, {found['longest_s']:.2f} s at most."
        "\n\n" + table(["damage", "number", "named rightly", "said"], lines) + "\n"
    )


def confidence(found: dict) -> str:
    """What the confidence of a completed object is worth: summary, reliability, precision by threshold."""
    groups = found["figures"]
    summary = [
        [
            row["group"] + row["mark"], *(str(row[name]) for name in ("scenes", "objects", "good", "false")),
            *(number(row[name], "{:.3f}") for name in (
                "expected_calibration_error", "calibration_error_by_chance", "brier_score",
                "brier_score_of_the_base_rate", "auc_bad", "auc_false")),
        ]
        for row in groups
    ]  # fmt: skip
    header = ["scenes of", "scenes", "objects", "good", "false", "expected calibration error", "by chance",
              "Brier score", "of the base rate", "AUC of bad", "AUC of false"]  # fmt: skip
    reliability, precision = [], []

    def cells(rows: tuple[dict, ...], count: str, *shares: str) -> list[str]:
        return [
            cell for row in rows for cell in (str(row[count]), *(number(row[s], "{:.2f}") for s in shares))
        ]

    for bins in zip(*(row["reliability"] for row in groups)):
        name = f"{bins[0]['from']:.1f} – {bins[0]['to']:.1f}"
        reliability.append([name, *cells(bins, "count", "confidence", "good")])
    for rows in zip(*(row["precision"] for row in groups)):
        precision.append([f"{rows[0]['from']:.1f}", *cells(rows, "kept", "precision", "recall")])

    def columns(names: tuple[str, ...]) -> list[str]:
        return [f"{name}, {row['group']}" for row in groups for name in names]

    scenes = dict.fromkeys((row["commit"], row["mark"]) for row in found["scenes"])
    made = ", ".join(f"{commit}{mark}" for commit, mark in scenes)
    about = (
        f"## Is confidence what it says?\n\n{place(found)}; scenes run by {made}. The `confidence` of a "
        "completed object is the probability that its volume IoU with a true one is 0.7 or more; a false "
        "object is none. Whole jobs with few views and built-in masks, through six sensors in turn; "
        "synthetic: seeds and kinds that no training has seen; clutter: the recordings d1 to d3 of "
        "development. By chance: the calibration error that these confidences have on average where they are "
        "right, because the objects are so few. AUC: how surely a bad (false) object has less confidence "
        "than a good one.\n\n"
    )
    by_bins = table(["confidence", *columns(("objects", "mean", "good"))], reliability)
    by_threshold = table(["from", *columns(("kept", "precision", "recall"))], precision)
    return (
        f"{about}{table(header, summary)}\n\nReliability: the objects by their confidence, its mean, and the "
        f"share of good ones among them.\n\n{by_bins}\n\nWhat is kept from a confidence on, the share of "
        f"good ones in it, and of the good ones that are kept:\n\n{by_threshold}\n"
    )


def ros(found: dict) -> str:
    """A node under a camera's full rate."""
    rows = [
        [
            row["qos"].replace("_", " ") + row["mark"], f"{row['sent']}",
            f"{row['received']} + {row['lost']} + {row['unreported']}",
            f"{row['memory_settled_mb']:.0f} → {row['memory_end_mb']:.0f}",
            f"{row['callback_ms']:.2f} / {row['callback_p99_ms']:.1f}",
            f"{row['service_ms']:.0f} / {row['service_worst_ms']:.0f}",
            f"{100 * row['idle_processor_share']:.1f} %",
        ]
        for row in found["runs"]
    ]  # fmt: skip
    header = ["QoS", "sent", "heard + lost + unreported", "MB after 500 → in the end",
              "callback, ms: median / 99 %", "service, ms: median / worst", "idle processor"]  # fmt: skip
    return (
        f"## The node under a camera's full rate\n\n{place(found)}. RGB-D of 640×480 at 30 Hz from another "
        "process, default parameters; services are asked while a reconstruction runs. Other work may have "
        "shared the cores, which makes times upper bounds.\n\n" + table(header, rows) + "\n"
    )


def following(found: dict) -> str:
    """Whether changes are noticed, by condition and scene."""
    rows = [
        [
            f"{row['condition']} {row['seed']}{row['mark']}", f"{row['found']} of 6",
            f"{row['right']} of {row['steps']}", number(row["shift_mm"], "{:.1f}"),
            number(row["turn_degrees"], "{:.1f}"), f"{row['extra']}", f"{row['seconds_per_frame']:.2f}",
        ]
        for row in found["runs"]
    ]  # fmt: skip
    header = ["scene", "found first", "changes right", "moved: off by, mm", "°", "left over", "s a frame"]
    return (
        f"## A scene that follows the robot's work\n\n{place(found)}. Three things are taken away one "
        "after the other, one is moved by 10 cm and 40°, one is added; eight frames of 320×240 after each. "
        "A change is right where it alone was told, every thing is one instance near its place, and ids "
        "stay. How far a thing of revolution was turned is told by its print alone.\n\n"
        + table(header, rows)
        + "\n"
    )


def background(found: dict) -> str:
    """What stands behind removed objects, by painter."""
    rows = [
        [
            f"{row['layout']} {row['seed']}{row['mark']}", row["method"],
            *(number(row[name], form, factor) for name, form, factor in (
                ("psnr_unseen", "{:.1f}", 1), ("right_depth_unseen", "{:.1f} %", 100),
                ("depth_mm_unseen", "{:.1f}", 1), ("right_label_unseen", "{:.0f} %", 100),
                ("psnr_hidden", "{:.1f}", 1), ("right_depth_hidden", "{:.1f} %", 100))),
            f"{row['seconds']:.1f}",
        ]
        for row in found["runs"]
    ]  # fmt: skip
    header = ["scene", "painter", "PSNR, dB", "depth right", "depth error, mm", "label right",
              "PSNR all, dB", "depth right, all", "s"]  # fmt: skip
    return (
        f"## Background of removed objects\n\n{place(found)}. Two objects are taken out of each synthetic "
        "scene; truth is the scene rendered without them, without their shadows as well. Pixels that showed "
        'them and where no frame shows what stands there; "all": whatever showed them. Depth is right '
        "within a centimetre; its error is the mean where anything is.\n\n" + table(header, rows) + "\n"
    )
