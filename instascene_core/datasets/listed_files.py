"""Files that a recording's list names: as written, or as another system would have written them."""

import logging
from pathlib import Path

from instascene_core.errors import InputError

logger = logging.getLogger(__name__)

MISSING_SHARE = 0.2  # of the images may be missing; more is another recording than the list is of
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def find_listed(folder: Path, name: str) -> Path | None:
    """The file `name`, relative to `folder` or absolute, or None.

    Backslashes separate folders where no file has them in its name; a suffix may be in the other case, or
    left out where it is that of an image (Blender leaves it out).
    """
    for text in dict.fromkeys((name, name.replace("\\", "/"))):
        path = folder / text
        if path.is_file():
            return path
        suffixes = (path.suffix.lower(), path.suffix.upper()) if path.suffix else IMAGE_SUFFIXES
        for suffix in suffixes:
            other = path.with_suffix(suffix) if path.name else path
            if other.is_file():
                return other
    return None


def without_missing(found: list[Path | None], named: list[str], what: str, source: Path) -> list[int]:
    """The indices of the files that are there; a few that are not are said.

    Raises InputError where more than a fifth is missing.
    """
    missing = [name for path, name in zip(found, named) if path is None]
    if len(missing) > MISSING_SHARE * len(found):
        raise InputError(
            f"{len(missing)} of {len(found)} {what}s named in {source} are missing: {missing[0]} was not "
            "found."
        )
    if missing:
        logger.warning(
            "%s: %d of %d %ss are missing (the first: %s)",
            source, len(missing), len(found), what, missing[0],
        )  # fmt: skip
    return [index for index, path in enumerate(found) if path is not None]


def label_file(folder: Path, masks: str, image: Path) -> Path:
    """The label image in `folder`/`masks` named like `image`; InputError when it is missing."""
    labels = folder / masks
    if not labels.is_dir():
        raise InputError(f"There is no folder of label images {labels}.")
    path = labels / f"{image.stem}.png"
    if not path.is_file():
        raise InputError(f"The label image {path} is missing.")
    return path


def unique_names(paths: list[Path]) -> tuple[str, ...]:
    """Stems, or where stems repeat the whole path with '_' for '/'."""
    stems = [p.stem for p in paths]
    if len(set(stems)) < len(stems):
        stems = ["_".join(p.with_suffix("").parts).replace("/", "") for p in paths]
    if len(set(stems)) < len(stems):
        twice = next(s for s in stems if stems.count(s) > 1)
        raise InputError(f"The image '{twice}' is listed more than once.")
    return tuple(stems)
