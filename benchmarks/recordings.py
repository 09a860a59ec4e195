"""Real recordings without full truth: `python -m benchmarks.recordings FOLDER [--pictures DIR] …`.

FOLDER holds apc_shelf, redkitchen and fox; each is reconstructed and decomposed as any recording would be.
Where masks were drawn by hand (benchmarks/drawn/NAME/<frame>.png, label images, 0 = not judged, and
names.json: id → name, "background" = judged and no object), the IoU of every drawn object with one instance
for all views.  False objects are counted by a person in the contact sheet that --pictures writes:
`--false-objects NAME=N` adds the count to the row on record.
"""

import argparse
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cached_scenes import RECONSTRUCTION, cached_reconstruction, content_key
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import Config
from instascene_core.datasets import open_dataset
from instascene_core.datasets.images import read_labels
from instascene_core.errors import InputError
from instascene_core.files import write_image, write_json
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.instances import InstanceMap
from instascene_core.metrics.protocols import binary_scores, fitted, frame_of_view, label_counts
from instascene_core.scene import Scene
from instascene_core.viewer.snapshot import colorize_labels, side_by_side

RECORDINGS = ("apc_shelf", "redkitchen", "fox")
DRAWN = Path(__file__).resolve().parent / "drawn"
NOT_JUDGED = 0  # in drawn label images
BACKGROUND = "background"  # name of what is judged, but no object
COUNTED_BY = "counted by eye"
SHEET_VIEWS, SHEET_COLUMNS, SHEET_HEIGHT = 12, 4, 360  # height of a view in pixels

logger = logging.getLogger("benchmarks.recordings")


# ── masks drawn by hand ───────────────────────────────────────────────────────────────────────────


def read_drawn(folder: Path) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """(frame name → drawn label image [H, W], id → name); both empty where nothing was drawn.

    Raises InputError for an id in an image that has no name.
    """
    images = {path.stem: read_labels(path) for path in sorted(folder.glob("*.png"))}
    if not images:
        return {}, {}
    path = folder / "names.json"
    try:
        names = {int(i): str(name) for i, name in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"The names of the drawn masks cannot be read from {path} ({error}).") from error
    drawn = {int(i) for image in images.values() for i in np.unique(image)} - {NOT_JUDGED}
    if not drawn <= set(names):
        raise InputError(f"{path} has no name for the drawn ids {sorted(drawn - set(names))}.")
    return images, names


def drawn_figures(
    label_images: Mapping[str, np.ndarray],
    objects: Sequence[int],
    drawn: Mapping[str, np.ndarray],
    names: Mapping[int, str],
) -> dict:
    """IoU of every drawn object: one instance for all views, mean over the views in which it is drawn.

    label_images: by frame, ids of which `objects` count.  Pixels that are not judged count neither for nor
    against; a drawn object without an instance counts 0.
    """
    common: dict[tuple[str, str], dict[int, int]] = {}
    true_size: dict[tuple[str, str], int] = {}
    predicted_size: dict[str, dict[int, int]] = {}
    for view, truth in drawn.items():
        image = fitted(label_images[frame_of_view(view, set(label_images))], truth.shape)
        delivered = np.isin(image, list(objects)) & (truth != NOT_JUDGED)
        labels = np.where(delivered, image, UNLABELLED)
        predicted_size[view] = label_counts(labels)
        for number, name in names.items():
            mask = truth == number
            if name != BACKGROUND and mask.any():
                common[view, name], true_size[view, name] = label_counts(labels[mask]), int(mask.sum())
    scores = binary_scores(common, true_size, predicted_size)
    return {
        "drawn_views": scores.views,
        "drawn_objects": scores.objects,
        "miou": scores.miou_objects,
        "objects": scores.iou,
    }


# ── a recording ───────────────────────────────────────────────────────────────────────────────────


def measure(folder: Path, cache: Path, pictures: Path | None, config: Config) -> dict:
    """One row: a recording from files to instances."""
    frames = list(open_dataset(folder, use_masks=False))
    key = content_key(RECONSTRUCTION, frames, Config(reconstruction=config.reconstruction))
    made, reconstruction_seconds = cached_reconstruction(
        folder.name, frames, config.reconstruction, True, cache, key
    )
    scene = Scene(config)
    for frame in made.posed_frames:
        scene.add_frame(frame)
    scene.take_reconstruction(made)
    start = time.perf_counter()
    found = scene.segment()
    seconds = time.perf_counter() - start
    objects = [instance.id for instance in found.objects]
    drawn, names = read_drawn(DRAWN / folder.name)
    if pictures is not None:
        path = pictures / f"{folder.name}.png"
        write_image(path, contact_sheet(frames, found))
        logger.info("%s: count the false objects among %d in %s", folder.name, len(objects), path)
    return {
        "recording": folder.name, "frames": len(frames), "depth": frames[0].depth is not None,
        "instances": len(objects), "reconstruction_seconds": reconstruction_seconds, "seconds": seconds,
        **(drawn_figures(found.label_images, objects, drawn, names) if drawn else {}),
    }  # fmt: skip


def contact_sheet(frames: Sequence[Frame], found: InstanceMap, views: int = SHEET_VIEWS) -> np.ndarray:
    """[H, W, 3] uint8: views evenly spread over the recording, objects coloured and numbered by id."""
    import cv2

    objects = [instance.id for instance in found.objects]
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(views, len(frames))).round().astype(int))
    panels = []
    for frame in (frames[i] for i in chosen):
        image = fitted(found.label_images[frame.name], frame.rgb.shape[:2])
        labels = np.where(np.isin(image, objects), image, UNLABELLED)
        picture = colorize_labels(labels, frame.rgb)
        for number in np.unique(labels[labels > 0]).tolist():
            rows, columns = np.nonzero(labels == number)
            at = len(rows) // 2  # a pixel of the object itself, which its centre need not be
            place = (int(columns[at]), int(rows[at]))
            for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
                cv2.putText(picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, width)
        panels.append((frame.name, picture))
    return side_by_side(panels, height=SHEET_HEIGHT, columns=SHEET_COLUMNS)


# ── the count of a person ─────────────────────────────────────────────────────────────────────────


def counts_of(words: Sequence[str]) -> dict[str, int]:
    """Recording → false objects from NAME=N; InputError for anything else."""
    counts = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in RECORDINGS or not number.isdigit():
            raise InputError(
                f"--false-objects takes NAME=N with NAME one of {', '.join(RECORDINGS)}, not '{word}'."
            )
        counts[name] = int(number)
    return counts


def add_counts(path: Path, counts: Mapping[str, int]) -> None:
    """Add counts to rows on record.  A row that is measured anew has none: they were of other instances."""
    results = json.loads(path.read_text()) if path.exists() else {"runs": []}
    rows = {row["recording"]: row for row in results["runs"]}
    for name, count in counts.items():
        if name not in rows:
            raise InputError(f"--false-objects {name}={count}: there is no row of {name} in {path}; run it.")
        if count > rows[name]["instances"]:
            raise InputError(
                f"--false-objects {name}={count}: only {rows[name]['instances']} objects were delivered."
            )
        rows[name].update(false_objects=count, false_objects_by=COUNTED_BY)
    write_json(path, results)


def main() -> None:
    """Run what is there, or add counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="holds " + ", ".join(RECORDINGS))
    parser.add_argument("--only", nargs="*", default=list(RECORDINGS), choices=RECORDINGS)
    parser.add_argument("--pictures", type=Path, help="folder for contact sheets")
    parser.add_argument("--false-objects", nargs="*", default=[], metavar="NAME=N", help=COUNTED_BY)
    parser.add_argument("--cache", type=Path, default=Path(".cache/recordings"))
    parser.add_argument("--output", type=Path, default=RESULTS / "recordings.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    logging.getLogger("instascene_core").setLevel(logging.ERROR)
    made_by = provenance_of("recordings")
    for name in arguments.only if arguments.folder is not None else ():
        if not (arguments.folder / name).is_dir():
            logger.warning("There is no recording %s in %s; it is left out.", name, arguments.folder)
            continue
        row = measure(arguments.folder / name, arguments.cache, arguments.pictures, Config())
        write_results(arguments.output, "recordings", {"runs": [row]}, made_by)
        logger.info("%s", row)
    if arguments.false_objects:
        add_counts(arguments.output, counts_of(arguments.false_objects))


if __name__ == "__main__":
    main()
