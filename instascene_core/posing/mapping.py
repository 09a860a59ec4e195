"""COLMAP through pycolmap: features, matches, incremental mapping; the largest model."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.progress import ProgressCallback

logger = logging.getLogger(__name__)

EXHAUSTIVE_UP_TO = 120  # images; all pairs of more take hours
NEIGHBOURS = 10  # that sequential matching looks at, COLMAP's own default
CAMERA_MODEL = "SIMPLE_RADIAL"  # few parameters, so that few images do
LEAST_SHARE = 0.3  # of the images must be registered
FEWEST = 3
POLL_S = 0.5
SEED = 0


def map_images(images: Path, work: Path, ordered: bool, one_camera: bool, progress: ProgressCallback) -> Any:
    """The largest `pycolmap.Reconstruction` of all files in `images`; `work` takes the database.

    ordered: neighbours by name overlap, so that only they are matched where there are many.  one_camera: all
    images are of one camera and zoom.  Raises InputError, saying why, where too few images fit together.
    """
    pycolmap = require_pycolmap()
    names = sorted(file.name for file in images.iterdir())
    database, count = work / "database.db", len(names)
    pycolmap.set_random_seed(SEED)
    with _quiet(pycolmap):
        mode = pycolmap.CameraMode.SINGLE if one_camera else pycolmap.CameraMode.AUTO
        options = pycolmap.ImageReaderOptions()
        options.camera_model = CAMERA_MODEL
        _watched(
            lambda: pycolmap.extract_features(database, images, camera_mode=mode, reader_options=options),
            lambda: progress("features", _rows(database, "keypoints") / count, ""),
        )
        _require_features(database, count)
        exhaustive = count <= EXHAUSTIVE_UP_TO
        if not exhaustive and not ordered:
            logger.warning("%d images: only neighbours by name are matched", count)
        match = pycolmap.match_exhaustive if exhaustive else pycolmap.match_sequential
        pairs = count * (count - 1) // 2 if exhaustive else count * NEIGHBOURS
        _watched(
            lambda: match(database),
            lambda: progress("matching", min(_rows(database, "matches") / pairs, 1.0), ""),
        )
        registered = [0]

        def one_more() -> None:
            registered[0] += 1

        models = _watched(
            lambda: pycolmap.incremental_mapping(
                database, images, work, options=_mapper_options(pycolmap, count), next_image_callback=one_more
            ),
            lambda: progress("mapping", min(registered[0] / count, 1.0), f"{registered[0]} images"),
        )
    return _largest(models, count)


def require_pycolmap() -> Any:
    """The module; MissingDependencyError that says how to install it."""
    try:
        import pycolmap
    except ImportError as error:
        raise MissingDependencyError(
            "Estimating poses needs pycolmap; install it with `pip install pycolmap`."
        ) from error
    return pycolmap


def _mapper_options(pycolmap: Any, count: int) -> Any:
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = min(options.min_model_size, max(FEWEST, count // 2))
    if hasattr(options, "random_seed"):
        options.random_seed = SEED
    return options


def _largest(models: dict[int, Any], count: int) -> Any:
    found = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
    registered = 0 if found is None else found.num_reg_images()
    if found is None or registered < max(FEWEST, LEAST_SHARE * count):
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
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT COUNT(*) FROM keypoints WHERE rows >= 50").fetchone()[0]
    if rows < max(FEWEST, LEAST_SHARE * count):
        raise InputError(
            f"Only {rows} of {count} images show enough detail to be matched: are they sharp, lit, and not of "
            "plain surfaces only? A printed sheet or marker board in the scene helps."
        )


def _rows(database: Path, table: str) -> int:
    """How many rows a table has by now."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
    ):
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return 0


def _watched(work: Callable[[], Any], report: Callable[[], None]) -> Any:
    """The result of `work`, done in a thread of its own while `report` is called from time to time.

    COLMAP does not hold Python's lock, so that a progress callback can show or cancel; what was cancelled
    ends in the background and is not used.
    """
    result: list[Any] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:  # pycolmap raises several kinds
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        report()
        thread.join(POLL_S)
    report()
    if failure:
        raise InputError(f"COLMAP stopped: {' '.join(str(failure[0]).split())[:300]}.") from failure[0]
    return result[0]


@contextmanager
def _quiet(pycolmap: Any):
    """COLMAP's own log shows errors only."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value if hasattr(pycolmap.logging, "ERROR") else 2
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
