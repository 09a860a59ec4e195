"""Folders of ours: nothing of a user is touched; a killed process leaves all old files or all new ones."""

import errno
import fcntl
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from instascene_core.errors import InputError
from instascene_core.owned_folder import (
    MANIFEST,
    STATE,
    Layout,
    finish,
    inside,
    owned_files,
    require_writable,
    writing,
)

LAYOUT = Layout(
    "thing", "another folder with --output", re.compile(r"(a|b)\.txt|sub/[^/]+\.txt"), re.compile("sub")
)
OLD = {"a.txt": "old", "b.txt": "old", "sub/x.txt": "old", "sub/y.txt": "old"}
NEW = {"a.txt": "new", "sub/x.txt": "new", "sub/z.txt": "new"}
# What the interpreter reports of the calls a save makes (`sys.addaudithook`).
CALLS = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.listdir", "os.scandir",
    "fcntl.flock", "shutil.rmtree",
}  # fmt: skip


def save(folder: Path, content: dict[str, str]) -> None:
    with writing(folder, LAYOUT) as change:
        for name, text in content.items():
            (change.staging / name).parent.mkdir(exist_ok=True)
            (change.staging / name).write_text(text)
        change.stale.update(change.owned)


def content(folder: Path) -> dict[str, str]:
    """All files of the folder but the manifest, interrupted saves completed."""
    finish(folder)
    owned = {str(p.relative_to(folder)): p.read_text() for p in owned_files(folder)}
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.txt")}
    assert owned.items() <= found.items()
    return {name: text for name, text in found.items() if not name.startswith(STATE)}


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in (folder / STATE).iterdir() if p.name != MANIFEST]


@pytest.fixture
def folder(tmp_path):
    """A folder with the old files, and with notes of the user beside and among them."""
    folder = tmp_path / "out"
    save(folder, OLD)
    (folder / "notes.txt").write_text("mine")
    (folder / "own").mkdir()
    (folder / "own" / "a.txt").write_text("mine")
    return folder


MINE = {"notes.txt": "mine", "own/a.txt": "mine"}


# ── whose files these are ─────────────────────────────────────────────────────────────────────────


def test_a_second_save_replaces_our_files_and_no_others(folder):
    save(folder, NEW)
    assert content(folder) == NEW | MINE and leftovers(folder) == []


def test_folders_that_lose_their_last_file_go_and_those_of_users_stay(folder):
    save(folder, {"a.txt": "new"})
    assert not (folder / "sub").exists() and (folder / "own").is_dir()
    save(folder, OLD)
    (folder / "sub" / "empty").mkdir()
    save(folder, {"a.txt": "new"})
    assert (folder / "sub" / "empty").is_dir()


def test_a_new_folder_and_an_empty_one_are_written(tmp_path):
    save(tmp_path / "deep" / "new", NEW)
    (tmp_path / "empty" / "lost+found").mkdir(parents=True)  # as a freshly made file system has it
    save(tmp_path / "empty", NEW)
    assert content(tmp_path / "deep" / "new") == content(tmp_path / "empty") == NEW


def test_a_failure_changes_nothing(folder, tmp_path):
    for target in (folder, tmp_path / "deep" / "new"):
        with pytest.raises(RuntimeError), writing(target, LAYOUT) as change:
            (change.staging / "a.txt").write_text("half of the n")
            raise RuntimeError
    assert content(folder) == OLD | MINE and leftovers(folder) == [] and not (tmp_path / "deep").exists()


def spoil(folder: Path, how: str) -> None:
    if how == "photos":
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "holiday.jpg").write_text("mine")
    elif how == "file where a folder belongs":
        shutil.rmtree(folder / "sub")
        (folder / "sub").write_text("mine")
    elif how == "folder where a file belongs":
        (folder / "a.txt").unlink()
        (folder / "a.txt").mkdir()
        (folder / "a.txt" / "thesis.tex").write_text("mine")
    elif how == "link where a folder belongs":
        (folder / "sub").rename(folder.parent / "elsewhere")
        (folder / "sub").symlink_to(folder.parent / "elsewhere")
    elif how == "file of a name of ours":
        (folder / "sub" / "mine.txt").write_text("mine")
    elif how == "another kind":
        change_manifest(folder, kind="dataset")
    elif how == "damaged manifest":
        (folder / STATE / MANIFEST).write_text("{")
    elif how == "manifest that leaves the folder":
        change_manifest(folder, files=["../victim.txt"])
    elif how == "staging that leaves the folder":
        change_manifest(folder, staging="../../victims")


def change_manifest(folder: Path, **values) -> None:
    path = folder / STATE / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("photos", "'holiday.jpg' is in the way"),
        ("file where a folder belongs", "'sub' in it is not ours"),
        ("folder where a file belongs", "'a.txt' in it is not ours"),
        ("link where a folder belongs", "'sub' in it is not ours"),
        ("file of a name of ours", "'sub/mine.txt' in it is not ours"),
        ("another kind", "it holds a dataset, not a thing"),
        ("damaged manifest", "is damaged"),
        ("manifest that leaves the folder", "is damaged"),
        ("staging that leaves the folder", "is damaged"),
    ],
)
def test_what_is_not_ours_is_refused_before_and_kept(folder, tmp_path, how, words):
    (tmp_path / "victim.txt").write_text("mine")
    (tmp_path / "victims").mkdir()
    (tmp_path / "victims" / "a.txt").write_text("mine")
    spoil(folder, how)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for request in (lambda: require_writable(folder, LAYOUT), lambda: save(folder, NEW)):
        with pytest.raises(InputError, match=re.escape(words)) as caught:
            request()
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        assert "--output" in str(caught.value) or "damaged" in words
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_folder_of_others_is_not_walked_to_its_end(tmp_path, monkeypatch):
    """`--output /` would look at all files of the machine first, of which some vanish meanwhile."""

    def walk(folder):
        yield str(folder), ["proc"], ["notes.txt"]
        raise AssertionError("looks on")

    (tmp_path / "notes.txt").touch()
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr("instascene_core.owned_folder.os.walk", walk)
    with pytest.raises(InputError, match=r"'notes\.txt' is in the way"):
        require_writable(tmp_path, LAYOUT)


def test_a_file_of_a_user_that_comes_meanwhile_is_kept(folder):
    with pytest.raises(InputError, match=r"'sub/mine\.txt' in it is not ours"), writing(folder, LAYOUT) as c:
        (c.staging / "sub").mkdir()
        (c.staging / "sub" / "mine.txt").write_text("ours")
        (folder / "sub" / "mine.txt").write_text("mine")
    assert (folder / "sub" / "mine.txt").read_text() == "mine" and (folder / "a.txt").read_text() == "old"


def test_a_folder_of_another_of_ours_is_not_taken_over(folder):
    shutil.rmtree(folder / STATE)
    (folder / STATE).mkdir()
    (folder / STATE / MANIFEST).write_text(json.dumps({"kind": "scene", "files": ["own/a.txt"]}))
    with pytest.raises(InputError, match="it is part of the scene in"):
        save(folder / "own", NEW)


def test_files_that_the_layout_does_not_know_are_a_bug(folder):
    with pytest.raises(ValueError, match="no file of the layout"):
        save(folder, {"c.txt": "new"})
    assert content(folder) == OLD | MINE


@pytest.mark.parametrize(
    "name", ["../a.txt", "/etc/passwd", "sub/../../a", "", "sub//a", f"{STATE}/x", "a\0", 3]
)
def test_no_name_leaves_the_folder(folder, name):
    with pytest.raises(InputError, match="is not the name of a file in"):
        inside(folder, name)


def test_a_manifest_behind_a_link_is_not_followed(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / STATE).symlink_to(folder / STATE)
    with pytest.raises(InputError, match=f"'{STATE}' in it is a link"):
        save(tmp_path / "other", NEW)
    finish(tmp_path / "other")
    assert owned_files(tmp_path / "other") == [] and content(folder) == OLD | MINE


def test_no_link_leaves_the_folder(folder, tmp_path):
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of"):
        inside(folder, "link/a.txt")


# ── folders that could not be written before ──────────────────────────────────────────────────────


def test_the_present_folder_and_links_are_written(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    save(Path("."), OLD)
    save(Path("."), NEW)
    (tmp_path / "link").symlink_to(tmp_path / "here")
    (tmp_path / "dangling").symlink_to(tmp_path / "there")
    for folder in (tmp_path / "link", tmp_path / "dangling"):
        save(folder, OLD)
        save(folder, NEW)
        assert folder.is_symlink() and content(folder) == NEW
    assert content(tmp_path / "here") == content(tmp_path / "there") == NEW


def test_a_mount_point_is_written(folder, monkeypatch):
    """It can neither be renamed nor removed, and its parent lies in another file system."""
    for name in ("rename", "replace", "rmdir"):
        plain = getattr(os, name)

        def call(path, *more, plain=plain, **options):
            if Path(path) == folder or (more and Path(more[0]) == folder):
                raise OSError(errno.EBUSY, "Device or resource busy")
            if more and (Path(path).parent == folder.parent) != (Path(more[0]).parent == folder.parent):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return plain(path, *more, **options)

        monkeypatch.setattr(os, name, call)
    save(folder, NEW)
    assert content(folder) == NEW | MINE


def forked(work) -> int:
    """Exit status of a child process that does `work`: 0, or 3 for InputError, −signal."""
    child = os.fork()
    if child == 0:
        status = 4
        try:
            work()
            status = 0
        except InputError as error:
            status = 3 if "\n" not in str(error) else 4
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def public():
    """A folder that every user of the machine may enter, but not write."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders let nobody else in
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(work) -> int:
    def drop_and_work() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        work()

    return forked(drop_and_work)


def test_a_parent_that_is_not_writable_matters_only_to_a_new_folder(public):
    (public / "mine").mkdir()
    (public / "mine").chmod(0o777)
    if os.geteuid() != 0:
        public.chmod(0o555)
    assert as_nobody(lambda: require_writable(public / "new", LAYOUT)) == 3
    assert as_nobody(lambda: require_writable(public / "mine", LAYOUT)) == 0
    assert as_nobody(lambda: save(public / "mine", NEW)) == 0
    assert content(public / "mine") == NEW and not (public / "new").exists()
    (public / "mine" / "sub").chmod(0o555)
    if os.geteuid() == 0:
        os.chown(public / "mine" / "sub", 0, 0)
    assert as_nobody(lambda: require_writable(public / "mine", LAYOUT)) == 3
    assert as_nobody(lambda: finish(public / "mine")) == 0
    public.chmod(0o755)


def test_trying_leaves_nothing(folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    require_writable(folder, LAYOUT, ["x" * 245 + ".txt"])
    require_writable(tmp_path / "deep" / "new", LAYOUT)
    assert sorted(tmp_path.rglob("*")) == before and content(folder) == OLD | MINE


def test_a_name_that_is_too_long_is_refused_before(tmp_path):
    with pytest.raises(InputError, match=r"Cannot save to .*File name too long"):
        require_writable(tmp_path / "out", LAYOUT, ["short.txt", "x" * 252 + ".txt"])
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_at_once(folder):
    with writing(folder, LAYOUT) as change:
        (change.staging / "a.txt").write_text("new")
        with pytest.raises(InputError, match="another process is saving there"):
            save(folder, NEW)
    assert content(folder) == OLD | MINE | {"a.txt": "new"}


# ── killed and failing processes ──────────────────────────────────────────────────────────────────


SAVED_BEFORE = 10  # exit status of a child whose save made fewer calls than were to be waited for


def count_calls(at: int, then) -> list[int]:
    """Call `then` in place of the file-system call number `at` from now on, in this process and for good;
    the number of calls so far."""
    calls = [0]

    def hook(event: str, _) -> None:
        if event in CALLS:
            calls[0] += 1
            if calls[0] == at:
                then()

    sys.addaudithook(hook)
    return calls


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("then", [kill, fail])
@pytest.mark.parametrize("start", ["over old files", "into nothing"])
def test_every_call_of_a_save_may_be_the_last(folder, tmp_path, then, start):
    seen, at = set(), 0
    while True:
        at += 1
        target = tmp_path / f"at{at}"
        if start == "over old files":
            shutil.copytree(folder, target)

        def work(target=target, at=at):
            calls = count_calls(at, then)
            save(target, NEW)
            if calls[0] < at:
                os._exit(SAVED_BEFORE)

        status = forked(work)
        if status == SAVED_BEFORE:
            break
        old = OLD | MINE if start == "over old files" else {}
        new = NEW | MINE if start == "over old files" else NEW
        assert status in ((-signal.SIGKILL,) if then is kill else (0, 3)), f"call {at}"
        found = content(target) if target.exists() else {}
        assert found in (old, new), f"call {at}"
        assert status != 0 or found == new
        seen.add((status, found == new))
        save(target, OLD)
        assert leftovers(target) == [], f"call {at}"
    stopped = -signal.SIGKILL if then is kill else 3
    # Before the commit the old files are found, after it the new ones.
    assert at > 20 and {(stopped, False), (stopped, True)} <= seen


def test_a_kill_at_any_of_200_moments_leaves_one_version(folder):
    """A process that saves one version after the other, killed again and again, in one folder."""
    random.seed(4)

    def version(number: int) -> dict[str, str]:
        return {"a.txt": str(number), **{f"sub/{number + k}.txt": str(number) for k in range(20)}}

    save(folder, version(0))
    numbers = set()
    for _ in range(200):
        start = max(numbers, default=0)
        child = os.fork()
        if child == 0:
            try:
                for number in range(start + 1, start + 1000):
                    save(folder, version(number))
            finally:
                os._exit(4)
        time.sleep(random.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        found = content(folder)
        number = int(found["a.txt"])
        assert found == version(number) | MINE
        numbers.add(number)
    assert len(numbers) > 10  # many of the kills came after a commit
    save(folder, NEW)
    assert content(folder) == NEW | MINE and leftovers(folder) == []


def test_a_reader_that_cannot_complete_a_save_says_so(folder, monkeypatch):
    (folder / STATE / "save-0a").mkdir()
    (folder / STATE / "save-0a" / "a.txt").write_text("new")
    change_manifest(folder, staging="save-0a")

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(InputError, match="cannot be completed: Read-only file system"):
            finish(folder)
    assert content(folder) == OLD | MINE | {"a.txt": "new"}
