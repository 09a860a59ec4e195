"""Which recordings a batch is of: folders, lists, names that collide, what is left out."""

import os

import pytest
from batch_cases import write_empty

from instascene_core.batch import list_recordings
from instascene_core.errors import InputError


def names(listing) -> list[str]:
    return [recording.name for recording in listing.recordings]


@pytest.fixture
def archive(tmp_path):
    """Recordings at several depths, and what is none."""
    root = tmp_path / "archive"
    for name in ("one", "kitchen/one", "kitchen/two", ".hidden/three"):
        write_empty(root / name)
    (root / "one" / "nested").mkdir()
    write_empty(root / "one" / "nested" / "inner")  # part of the recording `one`
    photos = root / "photos" / "images"
    photos.mkdir(parents=True)
    (photos / "a.jpg").write_bytes(b"")
    saved = root / "saved"
    write_empty(saved / "frames")
    for name in ("scene.json", "scene.ply"):
        (saved / name).write_text("{}")
    return root


def test_a_folder_is_searched_at_any_depth(archive, tmp_path):
    listing = list_recordings(archive, tmp_path / "out")
    assert names(listing) == ["kitchen/one", "kitchen/two", "one"]
    (remark,) = listing.remarks  # of the folder, not of its images/ as well
    assert "photos holds images or a video without camera poses" in remark and "instascene poses" in remark


def test_the_output_within_the_input_is_no_input(archive):
    assert names(list_recordings(archive, archive / "kitchen")) == ["one"]


def test_the_output_within_a_recording_is_refused(archive):
    """It would be part of what the recording holds, which would be another one after each call."""
    for source in (archive, archive / "one"):
        with pytest.raises(InputError, match=r"lies within the recording .*one; choose"):
            list_recordings(source, archive / "one" / "out")


def test_links_are_followed_once(archive, tmp_path):
    os.symlink(archive / "kitchen", archive / "linked")
    os.symlink(archive, archive / "kitchen" / "back")
    assert names(list_recordings(archive, tmp_path / "out")) == ["kitchen/one", "kitchen/two", "one"]


def test_a_recording_stands_for_itself(archive, tmp_path):
    assert names(list_recordings(archive / "one", tmp_path / "out")) == ["one"]
    assert names(list_recordings(archive / "one" / "transforms.json", tmp_path / "out")) == ["one"]


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_nothing_is_one_sentence(tmp_path, what):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"^There is no"):
        list_recordings(tmp_path / what, tmp_path / "out")


def written(path, text: str):
    path.write_text(text)
    return path


def test_a_list_has_comments_relative_paths_and_names(archive, tmp_path):
    elsewhere = write_empty(tmp_path / "elsewhere" / "last")
    text = (
        "\ufeff# an archive\n\n"
        "kitchen/one   # the best one\r\n"
        f"{elsewhere}\tlab/last # by another name\n"
        "../archive/one\n"
        "not there\n"
    )
    listing = list_recordings(written(archive / "list.txt", text), tmp_path / "out")
    assert names(listing) == ["kitchen/one", "lab/last", "one", "not there"]
    assert listing.recordings[3].path == archive / "not there"  # says what is wrong with it when it is opened


def test_what_lies_elsewhere_is_named_by_its_whole_path(archive, tmp_path):
    file = written(tmp_path / "list.txt", f"{write_empty(tmp_path / 'x' / 'one')}\n")
    (tmp_path / "lists").mkdir()
    file = file.rename(tmp_path / "lists" / "list.txt")
    (name,) = names(list_recordings(file, tmp_path / "out"))
    assert name == (tmp_path / "x" / "one").as_posix().lstrip("/")


def test_a_path_with_a_hash_in_it(archive, tmp_path):
    write_empty(archive / "take #2")
    file = written(archive / "list.txt", "take #2\n")
    assert names(list_recordings(file, tmp_path / "out")) == ["take #2"]


def test_a_folder_in_a_list_stands_for_its_recordings(archive, tmp_path):
    file = written(archive / "list.txt", "kitchen\tk\none\n")
    assert names(list_recordings(file, tmp_path / "out")) == ["k/one", "k/two", "one"]


def test_the_same_recording_twice_is_done_once(archive, tmp_path):
    os.symlink(archive / "one", archive / "again")
    file = written(archive / "list.txt", "one\n./kitchen/../one\nagain\n")
    listing = list_recordings(file, tmp_path / "out")
    assert names(listing) == ["one"]
    assert [remark.startswith(f"Line {n} of ") for n, remark in zip((2, 3), listing.remarks)] == [True, True]
    assert "the same recording as line 1" in listing.remarks[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one\tx\nkitchen/one\tx\n", "Lines 1 and 2 of .* the folder 'x'"),
        ("one\tx/y\nkitchen/one\tx\n", "Lines 2 and 1 of .* the folder 'x/y'"),
        ("one\t../x\n", "Line 1 of .*'../x' cannot name a folder"),
        ("one\treport.html\n", "'report.html' cannot name a folder"),
        ("# nothing\n", "names no recording"),
        ("one\0", "neither a recording nor a list"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(archive, tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        list_recordings(written(archive / "list.txt", text), tmp_path / "out")


def test_a_binary_file_is_no_list(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="neither a recording nor a list"):
        list_recordings(tmp_path / "x.bin", tmp_path / "out")
