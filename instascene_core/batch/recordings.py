"""Which recordings a batch is of, and what each is called in the output."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from instascene_core.datasets import is_recording
from instascene_core.datasets.unposed import how_to_get_poses
from instascene_core.errors import InputError

MAX_LIST_BYTES = 256 * 2**20  # a million recordings take a tenth of that
OWN_FILES = ("results.parquet", "report.html")  # of the output, beside the recordings' folders


@dataclass(frozen=True)
class Recording:
    """A recording on disk."""

    name: str  # of its folder in the output; '/' separates folders
    path: Path  # absolute


@dataclass(frozen=True)
class Listing:
    """The recordings of a batch, and what a person should know about how they were found."""

    recordings: tuple[Recording, ...]
    remarks: tuple[str, ...] = ()  # one sentence each


def list_recordings(source: Path, output: Path) -> Listing:
    """The recordings that `source` stands for: one of them, a folder that holds some at any depth, or a text
    file that lists such (`_listed`).

    In a folder a recording is named by its path below it.  What lies in hidden folders, in saved scenes or in
    `output` is none.  Raises InputError where there is nothing, for a list that contradicts itself, and where
    `output` lies in a recording: that would change with every result, and be done again for ever.
    """
    listing = _listing(Path(source), output)
    place = Path(output).resolve()
    for recording in listing.recordings:
        if recording.path.resolve() in (place, *place.parents):
            raise InputError(
                f"--output {output} lies within the recording {recording.path}; choose a folder beside it."
            )
    return listing


def _listing(source: Path, output: Path) -> Listing:
    if not source.exists():
        raise InputError(f"There is nothing at {source}.")
    if is_recording(source):
        path = source.resolve()
        return Listing((Recording(_named_place(path).name, path),))
    if source.is_dir():
        return _in_folder(source, output)
    return _of_list(source, output)


# ── folders ───────────────────────────────────────────────────────────────────────────────────────


def _in_folder(folder: Path, output: Path) -> Listing:
    found, unposed = _walk(folder.absolute(), output.resolve())
    remarks = _said_of_unposed(unposed)
    if not found:
        reason = f"; {remarks[0]}" if remarks else ": docs/recordings.md lists the formats that are read."
        raise InputError(f"There is no recording in {folder}{reason}")
    root = folder.absolute()
    return Listing(tuple(Recording(p.relative_to(root).as_posix(), p) for p in found), tuple(remarks))


def _walk(folder: Path, output: Path) -> tuple[list[Path], list[Path]]:
    """(recordings, folders of images or videos without poses) at any depth, by name; links are followed."""
    found: list[Path] = []
    unposed: list[Path] = []  # not also the images/ of one that is here
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        place = path.resolve()
        if place in seen or place == output or _is_saved_scene(path):
            continue
        seen.add(place)
        if path != folder and is_recording(path):
            found.append(path)
            continue
        if path != folder and path.parent not in unposed and how_to_get_poses(path):
            unposed.append(path)
        waiting += reversed([p for p in _entries(path) if p.is_dir() and not p.name.startswith(".")])
    return found, unposed


def _entries(folder: Path) -> list[Path]:
    """By name; none where the folder may not be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_saved_scene(folder: Path) -> bool:
    """Whether it is what a run has written, whose copy of the frames is no recording of its own."""
    return (folder / "scene.json").is_file() and (folder / "scene.ply").is_file()


def _said_of_unposed(unposed: list[Path]) -> list[str]:
    if not unposed:
        return []
    more = f" (and {len(unposed) - 1} more folders)" if len(unposed) > 1 else ""
    return [
        f"{unposed[0]}{more} holds images or a video without camera poses and is left out; "
        "`instascene poses` makes a recording of it."
    ]


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Line:
    number: int  # from 1 on
    path: Path  # absolute
    name: str  # "" = by its path


def _of_list(file: Path, output: Path) -> Listing:
    """A line a recording, or a folder that holds some: its path, relative to the list's folder, and after a
    tab the name of its folder in the output, where its path is not to name it.

    Empty lines and what follows a `#` at the beginning or after a space do not count.  The same recording
    counts once.
    """
    found: dict[Path, tuple[Recording, int]] = {}  # by their true place, with the line
    remarks: list[str] = []
    unposed: list[Path] = []
    base = file.absolute().parent
    for line in _lines(file):
        for recording in _of_line(line, base, output, unposed):
            place = recording.path.resolve()
            if place in found:
                first, number = found[place]
                remarks.append(
                    f"Line {line.number} of {file} names the same recording as line {number}: it is done "
                    f"once, as {first.name}."
                )
            else:
                found[place] = recording, line.number
    if not found:
        raise InputError(f"The list {file} names no recording: a line is the path of one.")
    _require_apart(found.values(), file)
    recordings = tuple(recording for recording, _ in found.values())
    return Listing(recordings, (*remarks, *_said_of_unposed(unposed)))


def _lines(file: Path) -> Iterator[_Line]:
    try:
        if file.stat().st_size > MAX_LIST_BYTES:
            raise InputError(f"The list {file} has more than {MAX_LIST_BYTES:,} bytes.")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"The list {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is neither a recording nor a list of recordings (no UTF-8 text)."
        ) from error
    if "\0" in text:
        raise InputError(f"{file} is neither a recording nor a list of recordings (it is no text).")
    base = file.absolute().parent
    for number, words in enumerate(text.splitlines(), start=1):
        line, tab, name = words.partition("\t")
        path = _without_comment(line, base)
        if path:
            yield _Line(
                number, base / Path(path).expanduser(), _name_given(name, number, file) if tab else ""
            )


def _without_comment(line: str, base: Path) -> str:
    """The path of a line; one that holds ` #` itself is taken where there is something at it."""
    line = line.strip()
    if line.startswith("#"):
        return ""
    if " #" in line and not (base / line).exists():
        return line.partition(" #")[0].strip()
    return line


def _name_given(words: str, number: int, file: Path) -> str:
    """The name after a tab; InputError where it cannot name a folder of the output."""
    name = _without_comment(words, file.absolute().parent)
    parts = name.split("/")
    if name and (any(p in ("", ".", "..") or p.startswith(".") for p in parts) or name in OWN_FILES):
        raise InputError(f"Line {number} of {file}: '{name}' cannot name a folder of the output.")
    return name


def _of_line(line: _Line, base: Path, output: Path, unposed: list[Path]) -> Iterator[Recording]:
    """The recording of a line, or those in its folder.  What is nothing of both is a recording all the same:
    on opening it says what is wrong with it."""
    path = Path(os.path.normpath(line.path))
    name = line.name or _name_of(path, base)
    inside, bare = _walk(path, output.resolve()) if path.is_dir() and not is_recording(path) else ([], [])
    if not inside:
        yield Recording(name, path)
        return
    unposed += bare
    for recording in inside:
        yield Recording(f"{name}/{recording.relative_to(path).as_posix()}", recording)


def _name_of(path: Path, base: Path) -> str:
    """Its path below the list's folder, or from the root on where it lies elsewhere: a name that other lines
    cannot change, so that a longer list finds again what a shorter one has done."""
    place = _named_place(path)
    inside = place.is_relative_to(base) and place != base
    parts = (place.relative_to(base) if inside else place.relative_to(place.anchor)).parts
    return "/".join(part.lstrip(".") or "_" for part in parts) or "recording"


def _named_place(path: Path) -> Path:
    """What a recording is named by: for a transforms.json its folder; a bag without its ending."""
    if not path.is_file():
        return path
    return path.parent if path.suffix.lower() == ".json" else path.with_suffix("")


def _require_apart(found: Collection[tuple[Recording, int]], file: Path) -> None:
    """InputError where two recordings would share a folder of the output, or one lie in the other's."""
    lines = {recording.name: number for recording, number in found}
    taken: dict[str, int] = {}
    for recording, number in found:
        name = recording.name
        parents = [name.rsplit("/", depth)[0] for depth in range(1, name.count("/") + 1)]
        other = taken.get(name) or next((lines[parent] for parent in parents if parent in lines), None)
        if other is not None:
            raise InputError(
                f"Lines {other} and {number} of {file} would both write to the folder '{name}' of the "
                "output; give one of them another name, after a tab."
            )
        taken[name] = number
