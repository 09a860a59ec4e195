"""What a result depends on, as hashes: the files of a recording, the code, the weights, the settings."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import instascene_core
from instascene_core.config import Config
from instascene_core.config_file import config_with, settings_of
from instascene_core.errors import InputError
from instascene_core.files import write_json
from instascene_core.untrusted import read_json_object

PACKAGE = Path(instascene_core.__file__).parent
CODE_SUFFIXES = (".py", ".cpp", ".hpp", ".h")
# Of the package: what only speaks, serves or trains.  A change of it changes no result.
SILENT = (
    "batch",
    "browser",
    "training",
    "verbs",
    "cli.py",
    "doctor.py",
    "rerun_log.py",
    "start.py",
    "terminal.py",
)
CHUNK = 2**20  # bytes read at a time


@dataclass(frozen=True)
class Content:
    """What the files of a recording hold, and how it was seen that they hold it."""

    digest: str  # SHA-256 of names and bytes
    listing: (
        str  # SHA-256 of names, sizes and times of change: while that stays, the bytes are not read again
    )
    files: int
    size: int  # bytes


def content_of(path: Path, memo: Path | None = None) -> Content:
    """Of all files of the recording at `path`, hidden ones aside.

    memo: a file that remembers the answer.  Raises InputError where a file cannot be read.
    """
    try:
        files = list(_files_of(path))
        entries = [(name, stat.st_size, stat.st_mtime_ns) for name, stat, _ in files]
        listing = digest_of(entries)
        known = _remembered(memo)
        if known is not None and known.listing == listing:
            return known
        sums = [(name, _sha256(file)) for name, _, file in files]
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise InputError(f"The recording {path} cannot be read{where}: {error.strerror}.") from error
    content = Content(digest_of(sums), listing, len(files), sum(size for _, size, _ in entries))
    if memo is not None:
        write_json(memo, asdict(content))
    return content


def digest_of(value: Any) -> str:
    """SHA-256, hexadecimal, of a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def code_version() -> str:
    """The version of the package and a hash of its sources, of those that results depend on."""
    files = (path for path in PACKAGE.rglob("*") if path.suffix in CODE_SUFFIXES)
    named = sorted((path.relative_to(PACKAGE).as_posix(), path) for path in files)
    sums = [(name, _sha256(path)) for name, path in named if name.split("/")[0] not in SILENT]
    return f"{instascene_core.__version__}+{digest_of(sums)[:12]}"


def weights_digest() -> str:
    """Hash of the weights that come with the package."""
    files = sorted(PACKAGE.rglob("*.safetensors"))
    return digest_of([(path.relative_to(PACKAGE).as_posix(), _sha256(path)) for path in files])


def with_absolute_files(config: Config) -> Config:
    """The settings that name files, absolute: another process may have another working folder."""
    found = {name: str(Path(value).absolute()) for name, value in _named_files(config)}
    return config_with(config, found) if found else config


def settings_digest(config: Config) -> str:
    """Hash of all settings, and of what is in the files that they name."""
    named = dict(_named_files(config))
    held = {name: content_of(Path(value)).digest for name, value in named.items()}
    device = replace(config.reconstruction, device="auto")  # where it runs is no part of what is asked for
    settings = settings_of(replace(config, reconstruction=device))
    return digest_of([{**settings, **dict.fromkeys(named)}, held])


def _named_files(config: Config) -> Iterator[tuple[str, str]]:
    """(setting, value) of the settings that name a file or folder which is there."""
    for name, value in settings_of(config).items():
        if isinstance(value, str) and ("/" in value or "." in value) and os.path.exists(value):
            yield name, value


def _files_of(path: Path) -> Iterator[tuple[str, os.stat_result, Path]]:
    """(name below the recording, facts, path) of its files, by name; a file alone is the same by any name.  A
    transforms.json stands for its folder."""
    if path.is_file() and path.suffix.lower() != ".json":
        yield "", path.stat(), path
        return
    folder = path.parent if path.is_file() else path
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in _below(folder)):
        yield name, file.stat(), file


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder, hidden ones aside; links are followed."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_raised):
        place = os.path.realpath(parent)
        if place in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            Path(parent, name) for name in _shown(names) if os.path.isfile(os.path.join(parent, name))
        )


def _shown(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith("."))


def _raised(error: OSError) -> None:
    raise error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        result = hashlib.sha256()
        while chunk := file.read(CHUNK):
            result.update(chunk)
    return result.hexdigest()


def _remembered(memo: Path | None) -> Content | None:
    """What was written by an earlier call; None where nothing usable was."""
    if memo is None or not memo.is_file():
        return None
    try:
        return Content(**read_json_object(memo))
    except (InputError, TypeError):
        return None
