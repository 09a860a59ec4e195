"""Writing files so that a reader never sees half of one."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError

TEMPORARY = ".instascene-"  # how the names of files begin that are not whole yet


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to (same suffix, a short name); renamed to `path` when the block succeeds.

    Raises InputError when the folder cannot be written, or the file not to its end (a full disk).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=path.suffix)
    except OSError as error:
        raise InputError(f"Cannot write to the folder {path.parent}: {error.strerror}.") from error
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp made it private
        os.replace(name, path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        Path(name).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON (numpy arrays and scalars become lists and numbers)."""
    write_bytes(path, json.dumps(value, indent=2, default=_plain).encode() + b"\n")


def write_image(path: Path, image: np.ndarray) -> None:
    """Write [H, W(, 3)] uint8 (RGB) or uint16 as PNG or JPEG, by suffix."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary)


def require_file_name(name: object, what: str) -> str:
    """`name`, of which a file can be named; InputError, beginning with `what`, where it would be a path."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InputError(f"{what} {name!r} cannot name a file; it must be a name without '/'.")
    return name


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
