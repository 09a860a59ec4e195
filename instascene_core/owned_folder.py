"""Folders that are ours to write in: a saved scene, a synthetic dataset, the files of an object.

A folder is ours when it carries a manifest, `.instascene/manifest.json`, that names the files we wrote.
Those we replace and remove; every other file is the user's and is never touched.  A save goes

1. into `.instascene/save-…`, within the folder, so that each later move is a rename in one file system;
2. by the rename of a new manifest, which names that staging folder and what goes: the commit;
3. file by file by rename to the places that the layout documents, then stale files go, then the manifest is
   written once more, without the staging folder.

Guarantee: a process that is killed at any moment leaves the old files, all of them in their places (before
the commit), or the new ones (after it).  After the commit some may still lie in the staging folder; `finish`,
which every reader of this package and every next save calls first, moves them.  Until then other programs
that open single files may see new ones beside old ones.  What a save that was killed before its commit left
behind goes with the next save.  Not covered are a power cut (the order of writes is then the file system's)
and a file that somebody puts where ours belongs between the last look and the rename.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from instascene_core.errors import InputError
from instascene_core.files import TEMPORARY, write_json
from instascene_core.untrusted import read_json

STATE = ".instascene"  # folder of the manifest and of saves on their way
MANIFEST = "manifest.json"
STAGING = "save-"


def _no_files(_: Path) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True)
class Layout:
    """What we write into a folder of one kind; names are relative to it, with '/'."""

    kind: str  # "scene": for sentences, and so that one kind never replaces another
    option: str  # what to choose instead where the folder cannot be written: "another folder with --output"
    files: re.Pattern[str]  # the name of every file that we may write
    folders: re.Pattern[str]  # and of every folder
    # Names of the files that a version without manifests wrote into the folder; none where it did not.
    earlier: Callable[[Path], frozenset[str]] = _no_files


@dataclass(frozen=True)
class Change:
    """A save on its way: what is written below `staging` takes its place in `folder` at the end."""

    folder: Path
    staging: Path
    owned: frozenset[str]  # names of our files in the folder before
    stale: set[str] = field(default_factory=set)  # to be filled: those of them that go unless written anew

    @property
    def written(self) -> frozenset[str]:
        """Names of the files staged so far."""
        return _files_below(self.staging)


@dataclass(frozen=True)
class _Manifest:
    kind: str
    files: frozenset[str]
    staging: str | None = None  # name of the folder whose files have yet to be moved
    stale: frozenset[str] = frozenset()  # files to remove after that


# ── what the rest of the package calls ────────────────────────────────────────────────────────────


@contextmanager
def writing(folder: Path, layout: Layout) -> Iterator[Change]:
    """Change the files of `folder`, all of them or, where the block fails, none.

    Raises InputError, before the block, where the folder holds files that are not ours and in the way,
    cannot be written or is being written by another process; after it, where such a file came meanwhile, or
    where a call failed: before the commit the old files stay, after it `finish` completes the new ones.
    """
    folder = Path(folder)
    with _opened(folder, layout) as owned:
        staging = _new_staging(folder)
        try:
            change = Change(folder, staging, owned)
            yield change
            _commit(change, layout)
        finally:
            _discard(folder, staging)


def require_writable(folder: Path, layout: Layout, names: Iterable[str] = ()) -> None:
    """InputError where `writing` would fail, by trying; to be asked before long work.

    names: of files that will be written, without folders; the longest is tried.
    """
    folder = Path(folder)
    with _opened(folder, layout) as owned:
        staging = _new_staging(folder)
        try:
            longest = max(names, key=lambda name: len(os.fsencode(name)), default="probe")
            (staging / longest).write_bytes(b"0")
            os.replace(staging / longest, staging / "probe")
        finally:
            _discard(folder, staging)
        for parent in {(folder / name).parent for name in owned}:
            if parent.is_dir() and not os.access(parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, f"{parent} is write-protected")


def finish(folder: Path) -> None:
    """Complete a save of `folder` that was interrupted after its commit; to be called before reading.

    Does nothing to any other folder.  Raises InputError where it cannot be completed.
    """
    folder = Path(folder)
    try:
        if not _has_manifest(folder):
            return
    except OSError:  # no file system takes its name, say: whoever reads it tells what is wrong
        return
    try:
        if _read_manifest(folder).staging is not None:
            with _locked(folder, wait=True):
                _roll_forward(folder)
    except OSError as error:
        raise InputError(
            f"The interrupted save in {folder} cannot be completed: {_reason(error)}."
        ) from error


def owned_files(folder: Path) -> list[Path]:
    """The files of the folder's manifest, sorted; none where it has no manifest."""
    if not _has_manifest(Path(folder)):
        return []
    return sorted(Path(folder) / name for name in _read_manifest(Path(folder)).files)


def inside(folder: Path, name: str) -> Path:
    """The path of the file `name` of `folder`; InputError for a name that leaves it, by '..' or by a link."""
    if not _is_name(name):
        raise InputError(f"{name!r} is not the name of a file in {folder}.")
    path = folder.joinpath(*name.split("/"))
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"'{name}' leads out of {folder} through a link.")
    return path


def _is_name(name: object) -> bool:
    """Whether it is a relative name that does not leave a folder, links apart, nor enter our STATE."""
    parts = name.split("/") if isinstance(name, str) else [""]
    return parts[0] != STATE and not any(part in ("", ".", "..") or "\0" in part for part in parts)


# ── whose files these are ─────────────────────────────────────────────────────────────────────────


def _claim(folder: Path, layout: Layout) -> frozenset[str]:
    """Names of our files in `folder`; InputError where others' are in the way."""
    _require_no_owner(folder, layout)
    if (folder / STATE).is_symlink():
        raise _refusal(folder, layout, f"'{STATE}' in it is a link")
    if _has_manifest(folder):
        manifest = _read_manifest(folder)
        if manifest.kind != layout.kind:
            raise _refusal(folder, layout, f"it holds a {manifest.kind}, not a {layout.kind}")
        owned = manifest.files
    else:
        owned = layout.earlier(folder)
        # The first is enough: the folder may be `/`, or somebody's home.
        files = (name for name, is_folder in _contents(folder) if not is_folder)
        foreign = next((name for name in files if name not in owned), None)
        if foreign is not None:
            missing = f"it is not empty and holds no earlier {layout.kind} ('{foreign}' is in the way)"
            reason = f"'{foreign}' in it is not ours and in the way" if owned else missing
            raise _refusal(folder, layout, reason)
    for name, is_folder in _contents(folder):
        if _in_the_way(name, is_folder, owned, layout):
            raise _refusal(folder, layout, f"'{name}' in it is not ours and in the way")
    return owned


def _in_the_way(name: str, is_folder: bool, owned: frozenset[str], layout: Layout) -> bool:
    """Whether what stands there is another's where we write; a folder behind a link or mount is no folder."""
    if is_folder:
        return name in owned or layout.files.fullmatch(name) is not None
    ours = layout.files.fullmatch(name) or layout.folders.fullmatch(name)
    return name not in owned and ours is not None


def _contents(folder: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a folder of the same file system) of all that lies in `folder`, but our STATE."""
    device = folder.stat().st_dev
    for parent, folders, files in os.walk(folder):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if name != STATE]
        folders.sort()
        for name in sorted([*files, *folders]):
            path = Path(parent) / name
            is_folder = name in folders and not path.is_symlink() and path.stat().st_dev == device
            yield path.relative_to(folder).as_posix(), is_folder


def _require_no_owner(folder: Path, layout: Layout) -> None:
    """InputError where `folder` is part of another folder of ours, whose manifest would no longer hold."""
    place = folder.resolve()
    for parent in place.parents:
        if _has_manifest(parent):
            manifest, start = _read_manifest(parent), f"{place.relative_to(parent).as_posix()}/"
            if any(name.startswith(start) for name in manifest.files):
                raise _refusal(folder, layout, f"it is part of the {manifest.kind} in {parent}")


def _refusal(folder: Path, layout: Layout, reason: str) -> InputError:
    return InputError(f"Cannot save to {folder}: {reason}; choose {layout.option}.")


# ── a save, step by step ──────────────────────────────────────────────────────────────────────────


@contextmanager
def _opened(folder: Path, layout: Layout) -> Iterator[frozenset[str]]:
    """The folder made, locked, examined and free of what earlier saves left; the names of our files in it.

    An OSError inside becomes InputError.  Folders that were made go again where they stay empty.
    """
    made: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"Cannot save to {folder}: it is a file, not a folder.")
        target = folder.resolve()
        for path in reversed([p for p in (target, *target.parents) if not p.exists()]):
            path.mkdir(exist_ok=True)
            made.insert(0, path)
        with _locked(folder):
            if _has_manifest(folder):
                _roll_forward(folder)
            owned = _claim(folder, layout)
            _remove_leftovers(folder)
            yield owned
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Symlink loop" not in str(error):
            raise
        raise InputError(f"Cannot save to {folder}: {_reason(error)}.") from error
    finally:
        for path in made:
            with suppress(OSError):  # not empty: the save stands
                path.rmdir()


@contextmanager
def _locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """The only writer of `folder`; the lock ends with the process.  InputError where another holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    except BlockingIOError as error:
        raise InputError(f"Cannot save to {folder}: another process is saving there; try again.") from error
    finally:
        os.close(handle)


def _new_staging(folder: Path) -> Path:
    staging = folder / STATE / f"{STAGING}{secrets.token_hex(4)}"
    staging.parent.mkdir(exist_ok=True)
    staging.mkdir()
    return staging


def _commit(change: Change, layout: Layout) -> None:
    """Steps 2 and 3 of the module's docstring; everything that can be refused is refused before."""
    folder, written = change.folder, change.written
    unknown = sorted(name for name in written if not layout.files.fullmatch(name))
    if unknown:
        raise ValueError(f"'{unknown[0]}' is no file of the layout '{layout.kind}'.")
    _claim(folder, layout)  # once more: the work may have taken hours
    stale = (change.owned & change.stale) - written
    for name in (*written, *stale):
        inside(folder, name)
    kept = change.owned - stale
    _write_manifest(folder, _Manifest(layout.kind, kept | written, change.staging.name, stale))
    _roll_forward(folder)


def _roll_forward(folder: Path) -> None:
    """Step 3: to be repeated as often as it is interrupted."""
    manifest = _read_manifest(folder)
    if manifest.staging is None:
        return
    staging = folder / STATE / manifest.staging
    for name in sorted(_files_below(staging)):
        target = inside(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, target)
    for name in sorted(manifest.stale):
        path = inside(folder, name)
        path.unlink(missing_ok=True)
        with suppress(OSError):  # there are others' files, or ours that stay
            for parent in path.relative_to(folder).parents[:-1]:
                (folder / parent).rmdir()
    _write_manifest(folder, _Manifest(manifest.kind, manifest.files))


def _discard(folder: Path, staging: Path) -> None:
    """Remove a staging folder, unless a commit names it: then `finish` needs it."""
    if _has_manifest(folder) and _read_manifest(folder).staging == staging.name:
        return
    shutil.rmtree(staging, ignore_errors=True)
    with suppress(OSError):  # not empty: there is a manifest
        staging.parent.rmdir()


def _remove_leftovers(folder: Path) -> None:
    """What saves that were killed before their commit left."""
    for path in (folder / STATE).glob(f"{STAGING}*"):
        shutil.rmtree(path)
    for path in (folder / STATE).glob(f"{TEMPORARY}*"):
        path.unlink()


def _files_below(folder: Path) -> frozenset[str]:
    return frozenset(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


# ── the manifest ──────────────────────────────────────────────────────────────────────────────────


def _has_manifest(folder: Path) -> bool:
    """Whether it is there; one behind a link is another folder's."""
    return (folder / STATE / MANIFEST).is_file() and not (folder / STATE).is_symlink()


def _write_manifest(folder: Path, manifest: _Manifest) -> None:
    content: dict[str, object] = {"kind": manifest.kind, "files": sorted(manifest.files)}
    if manifest.staging is not None:
        content |= {"staging": manifest.staging, "stale": sorted(manifest.stale)}
    write_json(folder / STATE / MANIFEST, content)


def _read_manifest(folder: Path) -> _Manifest:
    """InputError where it is damaged or names files outside of the folder."""
    path = folder / STATE / MANIFEST
    try:
        saved = read_json(path)
        manifest = _Manifest(
            str(saved["kind"]),
            frozenset(saved["files"]),
            saved.get("staging"),
            frozenset(saved.get("stale", ())),
        )
        wrong = [name for name in manifest.files | manifest.stale if not _is_name(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not the name of a file")
        if manifest.staging is not None and not re.fullmatch(rf"{STAGING}[0-9a-f]+", manifest.staging):
            raise ValueError(f"staging {manifest.staging!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged, so nothing in {folder} is changed ({error}).") from error
    return manifest


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
