"""The tables of the network on points for docs/benchmarks.md."""

from benchmarks.markdown import number, place, table


def points(found: dict) -> str:
    """Unseen shapes, recordings, time and memory, the convolution."""
    text = [f"## Instances straight from points\n\n{place(found)}.\n"]
    if found.get("unseen"):
        text.append(_unseen(found["unseen"]))
    if found.get("recordings"):
        text.append(_recordings(found["recordings"]))
    if found.get("speed"):
        text.append(_speed(found["speed"]))
    if found.get("convolution"):
        text.append(_convolution(found["convolution"]))
    return "\n".join(text) + "\n"


def _unseen(rows: list[dict]) -> str:
    lines = [
        [
            row["network"] + row["mark"], row["architecture"], row["start"],
            *(f"{row[name]:.3f}" for name in ("ap", "ap50", "ap25")), f"{row['seconds']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    header = ["network", "architecture", "queries start", "mAP", "mAP50", "mAP25", "s a scene"]
    count = rows[0]["instances"]
    return (
        f"Twenty procedural scenes of shapes that no training has seen ({count} things of 100 points and "
        "more), class-agnostic average precision on points; seconds without superpoints:\n\n"
        + table(header, lines)
    )


def _recordings(rows: list[dict]) -> str:
    lines = [
        [
            row["recording"] + row["mark"], row["masks"], f"{row['instances']} of {row['true_objects']}",
            *(number(row[name], "{:.3f}") for name in ("miou", "ap50", "recall_50", "precision_50")),
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    header = ["recording", "masks", "found of true", "mIoU", "AP50", "recall", "precision", "s"]
    return "\nLabel images of recordings of development, all views, without reconstruction:\n\n" + table(
        header, lines
    )


def _speed(row: dict) -> str:
    return (
        f"\nA scene of {row['points']:,} points takes {row['seconds']:.1f} s from points to instances (least "
        f"of {row['least_of']} runs), {row['superpoint_seconds']:.1f} s of it for superpoints, and "
        f"{row['beyond_libraries_mb']:.0f} MB beyond the libraries, {row['peak_mb']:.0f} MB in all."
        f"{row['mark']}\n"
    )


def _convolution(rows: list[dict]) -> str:
    lines = [
        [
            row["library"] + row["mark"], str(row["threads"]), f"{row['forward_ms']:.0f}",
            number(row["with_gradient_ms"], "{:.0f}"),
        ]
        for row in rows
    ]  # fmt: skip
    voxels, channels = rows[0]["voxels"], rows[0]["channels"]
    header = ["library", "threads", "forward, processor ms", "with gradients"]
    return (
        f"\nOne submanifold convolution on {voxels:,} voxels, {channels} channels to {channels} (median of "
        "the fastest third of 15 runs); spconv's CPU wheel has no backward pass without CUDA:\n\n"
        + table(header, lines)
    )
