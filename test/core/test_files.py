"""Files appear whole or not at all."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from instascene_core.errors import InputError
from instascene_core.files import atomic_path, require_file_name, write_bytes, write_image, write_json


def test_what_is_written_is_there_and_readable_by_others(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": np.float32(0.5), "y": np.arange(3), "p": Path("q")})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": 0.5, "y": [0, 1, 2], "p": "q"}
    other = tmp_path / "plain"
    other.write_text("")
    assert (tmp_path / "a" / "b.json").stat().st_mode == other.stat().st_mode


def test_label_images_keep_sixteen_bits(tmp_path):
    from instascene_core.datasets.images import read_labels

    image = np.array([[0, 65535], [300, 1]], np.uint16)
    write_image(tmp_path / "labels.png", image)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), image)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    """Temporary names must not be longer than the name of the file."""
    for length in (241, 245, 251):
        write_image(tmp_path / f"{'x' * length}.png", np.zeros((2, 2), np.uint16))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/etc/passwd", "a\0b", 7, None])
def test_a_path_is_no_file_name(name):
    with pytest.raises(InputError, match=r"The frame name .* cannot name a file"):
        require_file_name(name, "The frame name")
    assert require_file_name("..a b\\c", "The frame name") == "..a b\\c"


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"Cannot write .*file\.bin: No space left on device"):
        write_bytes(tmp_path / "file.bin", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write to the folder"):
        write_bytes(tmp_path / "file" / "inside.bin", b"x")
