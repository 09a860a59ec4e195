"""One step of COLMAP in a process of its own: `python colmap_steps.py features|match|map …`.

COLMAP ends the process that it runs in where something in its files surprises it, and its SQLite must not
share a process with Python's while both have the database open.  Nothing of this package is imported here.
"""

import sys
from pathlib import Path
from typing import Any

SEED = 0


def extract(pycolmap: Any, database: Path, images: Path, camera_model: str, one_camera: bool) -> None:
    """Features of all images, into the database."""
    options = pycolmap.ImageReaderOptions()
    options.camera_model = camera_model
    mode = pycolmap.CameraMode.SINGLE if one_camera else pycolmap.CameraMode.AUTO
    pycolmap.extract_features(database, images, camera_mode=mode, reader_options=options)


def match(pycolmap: Any, database: Path, exhaustive: bool) -> None:
    """Matches between all images, or between neighbours by name."""
    (pycolmap.match_exhaustive if exhaustive else pycolmap.match_sequential)(database)


def reconstruct(pycolmap: Any, database: Path, images: Path, models: Path, least: int) -> None:
    """Models of at least so many images, models/0, 1 …; models/registered counts while it goes on."""
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = min(options.min_model_size, least)
    if hasattr(options, "random_seed"):
        options.random_seed = SEED
    registered = [0]

    def one_more() -> None:
        registered[0] += 1
        (models / "registered").write_text(str(registered[0]))

    pycolmap.incremental_mapping(database, images, models, options=options, next_image_callback=one_more)


def main(words: list[str]) -> None:
    """Run the step that `words` name, with its arguments."""
    import pycolmap

    pycolmap.set_random_seed(SEED)
    pycolmap.logging.minloglevel = 2  # errors only
    step, database = words[0], Path(words[1])
    if step == "features":
        extract(pycolmap, database, Path(words[2]), words[3], words[4] == "one")
    elif step == "match":
        match(pycolmap, database, words[2] == "exhaustive")
    else:
        reconstruct(pycolmap, database, Path(words[2]), Path(words[3]), int(words[4]))


if __name__ == "__main__":
    main(sys.argv[1:])
