"""The table of flats by tiles for docs/benchmarks.md."""

from benchmarks.markdown import number, place, table


def flat(found: dict) -> str:
    """A row a flat; time and memory against those of its first room."""
    runs = sorted(found["runs"], key=lambda run: (run["size_m"], run["rooms"]))
    rows = [
        [
            f"{run['rooms']}{run['mark']}", f"{run['size_m']:g} m", str(run["tiles"]),
            f"{run['found']} of {run['true_objects']} ({100 * run['found'] / run['true_objects']:.0f} %)",
            str(run["false"]), str(run["found_twice"]), number(run["mean_iou_found"], "{:.2f}"),
            f"{run['processor_s']:.0f}", f"{run['processor_s'] / run['rooms']:.0f}",
            f"{run['tiles_peak_mb']:.0f}", f"{run['peak_mb']:.0f}",
        ]
        for run in runs
    ]  # fmt: skip
    header = [
        "rooms", "tiles of", "tiles", "objects found", "false", "seen by two tiles", "IoU of the found",
        "processor s", "a room", "MB, tiles", "MB, at all",
    ]  # fmt: skip
    return (
        f"## A flat by tiles\n\n{place(found)}. Synthetic flats, 25 objects and 56 RGB-D views (320×240, "
        "exact poses) a room, by `instascene run --tiles`; a prior that only carves, few voxels, one convex "
        "body an object. Found: met by a completed object at a volume IoU of .5; false: a completed object "
        "that meets none at .25. Memory is the most of the process, until all tiles are done and with the "
        "joining and the comparison with the truth.\n\n" + table(header, rows) + "\n"
    )
