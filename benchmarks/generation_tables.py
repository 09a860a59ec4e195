"""Tables of benchmarks/results/generation.json."""

from benchmarks.markdown import number, place, table

JOINT_NOTE = """
With joint optimisation the whole surface has the colours of the object's Gaussians, optimised in up to
2,000 steps on observed and generated views; "2DGS of the observed pixels alone" is the same without any
generated pixel. On known pixels the first stays within 1 dB of the second (mean; 20 of 24 bodies), and both
lie below the fit of the mesh's colours to the images, which the product keeps: a vertex lies where the
print changes, a disk has one colour. On unseen pixels the median over the bodies is 0.0 dB, and one mug of
plain colour (+2.5) makes the difference of everyday shapes: the generated views agree with one another, for
one step gives the mean of what could be there, and so the optimisation finds what their weighted mean is
already. On 19 bodies that no benchmark has, seen from as many cameras, it was 0.03 dB (everyday) and 0.07
dB (held-out prints) worse on unseen pixels; so `completion.multiview.joint.steps` is 0.

Eight steps give one sample of what could be there, one step the mean of it, which lies nearer to the truth;
it is the default. A second stage at 128 pixels changes less than the cases differ by chance; so it is off.
Half a vote of the generated depth moves the shape to the better on some bodies and to the worse on others;
so it has none.
"""


def generation(found: dict) -> str:
    """Colours of what no camera saw, by method."""
    runs = sorted(found["runs"], key=lambda row: row["group"])
    return (
        f"## Generated colours\n\n{place(found)}. Painted bodies on a table, seen from one side, completed "
        "by the learned prior and coloured by each method; compared in 16 other views. Everyday: shapes of "
        "kinds that the training does not make; held-out prints: shapes and prints that it leaves out. "
        "Methods colour one shape, but for those in which generated depth has a vote.\n\n"
        + _painted(runs) + "\n" + JOINT_NOTE + _generation_parts(found)
    )  # fmt: skip


QUALITY = (
    ("PSNR unseen, dB", "psnr_unseen", "{:.2f}", 1), ("SSIM unseen", "ssim_unseen", "{:.3f}", 1),
    ("PSNR known, dB", "psnr_known", "{:.2f}", 1), ("SSIM known", "ssim_known", "{:.3f}", 1),
    ("Chamfer, of the diagonal", "chamfer", "{:.2f} %", 100), ("F1 at 1 % of it", "f1", "{:.3f}", 1),
    ("volume IoU", "iou", "{:.3f}", 1),
)  # fmt: skip


def _painted(runs: list[dict]) -> str:
    """How good the methods' objects are, and what they cost; rows with a group, or all of one."""
    base = runs[0]["method"]
    names = [
        ([f"{row['group']}, {row['views']} cameras"] if "group" in row else [])
        + [row["method"] + row["mark"], str(row["things"])]
        for row in runs
    ]
    heads = (["things"] if "group" in runs[0] else []) + ["colours of the unseen by", "cases"]
    quality = [
        name + [number(row.get(field), form, factor) for _, field, form, factor in QUALITY]
        + ["–" if row["method"] == base else number(row["better"], "{:.0f} %", 100),
           "–" if row["method"] == base or row.get("gain_error") is None
           else f"{row['gain']:+.2f} ± {row['gain_error']:.2f}"]
        for name, row in zip(names, runs, strict=True)
    ]  # fmt: skip
    head = [*heads, *(title for title, *_ in QUALITY), "better than the nearest", "dB more, ± standard error"]
    timed = [(name, row) for name, row in zip(names, runs, strict=True) if "stages" in row]
    stages = list(dict.fromkeys(stage for _, row in timed for stage in row["stages"]))
    cost = [
        [*name[:-1], *(number(row["stages"].get(stage), "{:.2f}") for stage in stages),
         f"{sum(row['stages'].values()):.1f}", str(row["peak_mb"])]
        for name, row in timed
    ]  # fmt: skip
    if not cost:
        return table(head, quality)
    return (
        table(head, quality) + "\n\nSeconds of an object by stage, on the mean (of the nearest colour: all "
        "that comes before any method), and the most memory that one took, MB, libraries included.\n\n"
        + table([*heads[:-1], *stages, "all", "peak, MB"], cost)
    )  # fmt: skip


def _generation_parts(found: dict) -> str:
    """Cameras and seeds, stages, scanned objects: those that are on record."""
    parts = []
    if found.get("views"):
        rows = [
            [
                str(row["views"]) + row["mark"], f"{row['things']} × {row['seeds']}",
                *(number(row[name], "{:.3f}") for name in (
                    "color_error", "color_spread", "unseen_error", "unseen_spread")),
                *(number(row[name], "{:.2f} %", 100) for name in ("shape_error", "shape_uncertainty")),
            ]
            for row in sorted(found["views"], key=lambda row: row["views"])
        ]  # fmt: skip
        header = ["cameras", "things × seeds", "colour error (0 … 1)", "spread of colours",
                  "error, seen by none", "spread, seen by none", "shape error, of the diagonal",
                  "reported uncertainty"]  # fmt: skip
        parts.append(
            "More cameras, each 25° beyond the last one, five samples; all that the views around the body "
            "show, and what none of the eight cameras saw. (On one arc of 100°, as this was measured before, "
            "the second camera stands at its end and those between show nothing new: figures stayed from two "
            "on.)"
            "\n\n" + table(header, rows)
        )
    if found.get("scanned"):
        parts.append(
            "Scanned objects in clutter, by true masks, from eight frames of an arc of 100°; compared in the "
            "other frames, unseen: where those saw nothing.\n\n" + _painted(found["scanned"])
        )
    if found.get("stages"):
        rows = [[row["stage"] + row["mark"], f"{row['seconds']:.2f}"] for row in found["stages"]]
        parts.append(
            "Seconds of a completion with `--prior multiview`, by stage.\n\n" + table(["stage", "s"], rows)
        )
    if parts:
        parts.append(
            "![Six bodies: an image given, the generated views, the mesh and the truth from four sides]"
            "(images/generated.png)\n\nThe first three bodies of each group: an image given, the 16 "
            "generated views, the completed mesh from four sides, the truth (`benchmarks.generation_sheet`)."
        )
    return "".join(f"\n{part}\n" for part in parts)
