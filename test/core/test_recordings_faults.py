"""Folders of other tools and data sets with something missing, shifted or damaged: said, or refused in one
sentence.
"""

import json
import re

import numpy as np
import pytest
from foreign_folders import (
    HEIGHT,
    WIDTH,
    Truth,
    agrees,
    save,
    write_blender,
    write_bop,
    write_llff,
    write_polycam,
    write_record3d,
    write_replica,
    write_scannet,
    write_scannetpp,
    write_seven_scenes,
    write_stray,
    write_tum,
)
from test_recordings import write_exr

from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError

DAMAGES = ("", "0", "-1", "nan", "inf", "-1e30", "abc", "{}", "[]", '"x"', "1e999", "null", "9" * 20)


@pytest.fixture(scope="module")
def truth():
    return Truth()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "recorded"


def test_what_is_left_out_is_said(folder, truth):
    """In every format: images without a pose, poses without an image, images without depth."""
    write_scannet(folder, truth)
    (folder / "pose/1.txt").unlink()
    (folder / "color/2.png").unlink()
    (folder / "depth/3.png").unlink()
    dataset = open_dataset(folder)
    assert dataset.names == ("0", "3")
    assert dataset.remarks.sentences == (
        "1 poses without an image, left out",
        "1 images without a pose, left out",
        "1 of 2 images have no depth image",
    )


@pytest.mark.parametrize(
    ("write", "gone"),
    [
        (write_bop, "test/000001/rgb/000001.png"),
        (write_polycam, "keyframes/corrected_images/100100000.png"),
        (write_replica, "results/frame000001.png"),
        (write_seven_scenes, "seq-01/frame-000001.color.png"),
    ],
)
def test_poses_without_an_image_are_counted_and_shift_no_other(folder, truth, write, gone):
    write(folder, truth)
    (folder / gone).unlink()
    if write is write_seven_scenes:  # of which the colour camera is known, then, and the poses are its own
        (folder / "calibration.txt").write_text("70 70 31.5 23.5")
    dataset = open_dataset(folder / "test/000001" if write is write_bop else folder)
    assert dataset.dropped == {"poses without an image": 1}
    shots = [shot for i, shot in enumerate(truth.shots) if i != 1]
    np.testing.assert_allclose(dataset.poses, [shot.pose for shot in shots], atol=1e-6)


def test_replica_numbered_otherwise_is_read_in_order(folder, truth):
    write_replica(folder, truth)
    for i in reversed(range(len(truth.shots))):
        for name in ("frame", "depth"):
            file = folder / f"results/{name}{i:06d}.png"
            file.rename(file.with_name(f"{name}{10 * i + 7:06d}.png"))
    assert agrees(list(open_dataset(folder)), truth.shots, truth.camera, 1 / 6553.5)


@pytest.mark.parametrize("length", [0, 0.3, 1.4])
def test_columns_that_are_no_quaternion_are_refused(folder, truth, length):
    """Shifted by one, say; they would be made one of length 1."""
    write_tum(folder, truth)
    (folder / "groundtruth.txt").write_text(f"0 1 2 3 0 0 {length} 0\n")
    with pytest.raises(InputError, match=f"quaternion of length {length:g} instead of 1"):
        open_dataset(folder)


def test_tum_depth_that_fits_no_image_is_told(folder, truth):
    write_tum(folder, truth)
    lines = (folder / "depth.txt").read_text().splitlines()
    (folder / "depth.txt").write_text("\n".join(f"9{line}" for line in lines if line[0] != "#"))
    dataset = open_dataset(folder)
    assert not dataset.has_depth
    assert "none of the 4 depth images in depth.txt is there within" in " ".join(dataset.remarks.sentences)
    (folder / "depth.txt").write_text("nan depth/0.png\n")
    with pytest.raises(InputError, match="the stamp 'nan', which is no time"):
        open_dataset(folder)


def test_record3d_without_cameras(folder, truth):
    write_record3d(folder, truth, write_exr)
    meta = json.loads((folder / "metadata.json").read_text())
    meta["perFrameIntrinsicCoeffs"] = [[70, 70, 32, 24]]  # of one frame
    (folder / "metadata.json").write_text(json.dumps(meta))
    assert "1 perFrameIntrinsicCoeffs for 4 poses; K is taken" in " ".join(
        open_dataset(folder).remarks.sentences
    )
    del meta["K"]
    (folder / "metadata.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="the nine numbers of K"):
        open_dataset(folder)


def test_transparent_pixels_are_ignored_in_every_format(folder, truth):
    write_tum(folder, truth)
    opaque = np.ones((HEIGHT, WIDTH), bool)
    opaque[4:7, 9:30] = False
    for file, shot in zip(sorted((folder / "rgb").iterdir()), truth.shots):
        save(file, np.dstack([shot.rgb, opaque.astype(np.uint8) * 255]))
    frame, shot = open_dataset(folder)[0], truth.shots[0]
    np.testing.assert_array_equal(frame.valid, opaque)
    assert not frame.depth[~opaque].any()
    np.testing.assert_allclose(frame.depth[opaque], shot.depth[opaque], atol=0.51 / 5000)


@pytest.mark.parametrize(
    "write",
    [
        write_tum,
        write_scannet,
        write_scannetpp,
        write_seven_scenes,
        write_replica,
        write_bop,
        write_polycam,
        write_stray,
        write_llff,
        write_blender,
    ],
)
def test_damaged_texts_are_one_sentence(tmp_path, truth, write):
    """A number of a text file replaced, or the file cut: it is read all the same or refused, never worse."""
    rng = np.random.default_rng(7)
    folder = tmp_path / "recorded"
    folder.mkdir()
    place = write(folder, truth)
    opened_at = place if write is write_bop else folder
    files = sorted(f for f in tmp_path.rglob("*") if f.suffix in (".txt", ".json", ".csv", ".npy"))
    refused = 0
    for _ in range(30):
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        if file.suffix == ".npy" or rng.uniform() < 0.2:
            file.write_bytes(whole[: rng.integers(len(whole))])
        else:
            numbers = list(re.finditer(rb"-?[0-9][0-9.e+-]*", whole))
            hit = numbers[rng.integers(len(numbers))]
            damage = DAMAGES[rng.integers(len(DAMAGES))].encode()
            file.write_bytes(whole[: hit.start()] + damage + whole[hit.end() :])
        try:
            open_dataset(opened_at)[0]
        except InputError as error:
            refused += 1
            assert str(error).endswith((".", "!")) and "\n" not in str(error)
        file.write_bytes(whole)
    assert refused > 0
    assert len(open_dataset(opened_at)) >= 3
