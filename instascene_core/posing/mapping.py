"""COLMAP through pycolmap: features, matches, incremental mapping; the largest model."""

import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from instascene_core.errors import InputError, needs
from instascene_core.progress import ProgressCallback

logger = logging.getLogger(__name__)

EXHAUSTIVE_UP_TO = 120  # images; all pairs of more take hours
NEIGHBOURS = 10  # that sequential matching looks at, COLMAP's own default
CAMERA_MODEL = "SIMPLE_RADIAL"  # few parameters, so that few images do
LEAST_FEATURES = 50  # of an image that can be matched
LEAST_SHARE = 0.3  # of the images must be registered
FEWEST = 3
POLL_S = 0.5


def map_images(images: Path, work: Path, ordered: bool, one_camera: bool, progress: ProgressCallback) -> Any:
    """The largest `pycolmap.Reconstruction` of the files in `images`; `work`: an empty folder to work in.

    ordered: neighbours by name overlap, as those of a video.  one_camera: all images are of one camera and
    zoom.  Raises InputError, saying why, where too few images fit together.
    """
    pycolmap = require_pycolmap()
    database, models, count = work / "database.db", work / "models", sum(1 for _ in images.iterdir())
    models.mkdir()
    cameras = "one" if one_camera else "several"
    _step(
        ("features", database, images, CAMERA_MODEL, cameras),
        work,
        lambda: progress("features", min(_rows(database, "keypoints") / count, 1.0), ""),
    )
    progress("features", 1.0, f"{count} images")
    _require_features(database, count)
    exhaustive = count <= EXHAUSTIVE_UP_TO
    if not exhaustive and not ordered:
        logger.warning("%d images: only neighbours by name are matched", count)
    pairs = count * (count - 1) // 2 if exhaustive else count * NEIGHBOURS
    _step(
        ("match", database, "exhaustive" if exhaustive else "sequential"),
        work,
        lambda: progress("matching", min(_rows(database, "matches") / pairs, 1.0), ""),
    )
    progress("matching", 1.0, f"{_rows(database, 'matches')} pairs")
    least = max(FEWEST, round(LEAST_SHARE * count))
    _step(
        ("map", database, images, models, str(least)),
        work,
        lambda: progress("mapping", min(_registered(models) / count, 1.0), f"{_registered(models)} images"),
    )
    progress("mapping", 1.0, f"{_registered(models)} images")
    found = [pycolmap.Reconstruction(str(folder)) for folder in sorted(models.iterdir()) if folder.is_dir()]
    return _largest(found, count, least)


def require_pycolmap() -> Any:
    """The module; MissingDependencyError that says how to install it."""
    with needs("pycolmap", "Estimating poses needs pycolmap; install it with `pip install pycolmap`."):
        import pycolmap
    return pycolmap


def _step(words: tuple, work: Path, report: Callable[[], None]) -> None:
    """One step of COLMAP in a process of its own, `report` called while it runs; it ends where `report`
    raises.  InputError where it fails."""
    script = Path(__file__).with_name("colmap_steps.py")
    with (work / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            while process.poll() is None:
                report()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
            report()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        lines = (work / "log.txt").read_text(errors="replace").strip().splitlines()
        # glog's lines begin with severity, time and place: E20260101 10:00:00.000000 123 file.cc:45]
        said = re.sub(r"^[A-Z]\d{8} \S+ +\d+ \S+\] ", "", lines[-1])[:300] if lines else "nothing"
        raise InputError(
            f"COLMAP stopped in the step '{words[0]}' (exit status {process.returncode}; it said: {said})."
        )


def _largest(models: list, count: int, least: int) -> Any:
    found = max(models, key=lambda model: model.num_reg_images(), default=None)
    registered = 0 if found is None else found.num_reg_images()
    if found is None or registered < least:
        raise InputError(
            f"Only {registered} of {count} images fit together, so there are no poses: more overlap between "
            "neighbours is needed (a step of about 10 degrees around the scene), sharp images, and something "
            "with print or structure in them."
        )
    if len(models) > 1:
        logger.warning(
            "the images fall into %d parts that do not fit together; the largest, of %d images, is used",
            len(models), registered,
        )  # fmt: skip
    return found


def _require_features(database: Path, count: int) -> None:
    """InputError where hardly any image has features."""
    rows = _rows(database, f"keypoints WHERE rows >= {LEAST_FEATURES}")
    if rows < max(FEWEST, LEAST_SHARE * count):
        raise InputError(
            f"Only {rows} of {count} images show enough detail to be matched: are they sharp, lit, and not "
            "of plain surfaces only? A printed sheet or marker board in the scene helps."
        )


def _rows(database: Path, table: str) -> int:
    """How many rows a table has by now."""
    place = f"{database.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(place, uri=True)) as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return 0


def _registered(models: Path) -> int:
    """How many images the mapper has registered so far; it counts its attempts."""
    with suppress(OSError, ValueError):
        return int((models / "registered").read_text())
    return 0
