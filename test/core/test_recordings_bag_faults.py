"""Bags as unlucky people have them: what must be said or refused instead of becoming a scene of nonsense."""

import os
import re

import numpy as np
import pytest
from bag_recorder import K, Recorder
from mcap_writing import rewritten
from recordings_table import opened, recording

from instascene_core.datasets import BagTopics, open_dataset
from instascene_core.errors import InputError

RGB = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
DEPTH = np.full((4, 6), 1234, np.uint16)


def record(r, count=4, *, pose=True, info=True, depth_late=None, frame="camera", first=1.0):
    """Images a tenth of a second apart, and what belongs to them; depth_late: seconds after its image."""
    for i in range(count):
        at = first + 0.1 * i
        r.image("/rgb/image", at, RGB, "rgb8", frame)
        if info:
            r.info("/rgb/camera_info", at)
        if pose:
            r.pose("/pose", at, (i, 0, 0))
        if depth_late is not None:
            r.image("/depth/image", at + depth_late, DEPTH, "16UC1", frame)


@pytest.fixture
def bag(tmp_path):
    return tmp_path / "bag"


# --- poses ---


@pytest.mark.parametrize("frame", ["wrist_camera", ""])
def test_images_of_a_frame_that_tf_does_not_know(bag, frame):
    with Recorder(bag) as r:
        record(r, pose=False, frame=frame)
        for i in range(4):
            r.tf("/tf", 1 + 0.1 * i, "map", "camera", (i, 0, 0))
    with pytest.raises(InputError, match=f"name the frame '{frame}', which tf does not have.* camera, map"):
        open_dataset(bag)


def test_frames_that_tf_does_not_connect(bag):
    with Recorder(bag) as r:
        record(r, pose=False)
        r.tf("/tf_static", 1.0, "map", "table", (0, 0, 0))
        r.tf("/tf_static", 1.0, "base", "camera", (0, 0, 0))
    with pytest.raises(InputError, match="tf does not connect 'camera', their frame, with 'map'"):
        open_dataset(bag)


@pytest.mark.parametrize("by_tf", [False, True])
def test_clocks_that_differ_are_named(bag, by_tf):
    with Recorder(bag) as r:
        record(r, pose=False)
        for i in range(4):
            if by_tf:
                r.tf("/tf", 1000 + 0.1 * i, "map", "camera", (i, 0, 0))
            else:
                r.pose("/pose", 1000 + 0.1 * i, (i, 0, 0))
    with pytest.raises(
        InputError, match=r"images are of 1\.000 … 1\.300 s, the poses of 1000\.000 … 1000\.300"
    ):
        open_dataset(bag)


def test_tf_whose_poses_are_all_bad_says_so(bag):
    with Recorder(bag) as r:
        record(r, pose=False)
        for i in range(4):
            r.tf("/tf", 1 + 0.1 * i, "map", "camera", (i, 0, 0), (0, 0, 0, 0))
    with pytest.raises(InputError, match="no frame 'map'; it has none; 4 poses not finite"):
        open_dataset(bag)


@pytest.mark.parametrize("connected", [True, False])
def test_two_parents_of_one_frame(bag, connected):
    """Two estimators that both publish the camera: mixed, the poses would be of neither."""
    with Recorder(bag) as r:
        record(r, pose=False)
        for i in range(4):
            r.tf("/tf", 1 + 0.1 * i, "odom", "camera", (100, 0, 0))
            r.tf("/tf", 1 + 0.1 * i, "map", "camera", (i, 0, 0))
        if connected:
            r.tf("/tf_static", 1.0, "map", "odom", (0, 0, 0))
    if connected:
        with pytest.raises(InputError, match=r"'camera' several parents \(odom, map\)"):
            open_dataset(bag)
    else:  # only one of them leads to the map
        np.testing.assert_allclose(open_dataset(bag).poses[:, 0, 3], [0, 1, 2, 3], atol=1e-9)


# --- calibrations ---


def test_each_image_has_the_calibration_of_its_time(bag, caplog):
    with Recorder(bag) as r:
        record(r, info=False)
        r.info("/rgb/camera_info", 0.9, k=(0,) * 9)  # a driver that does not know yet
        for i in range(4):
            r.info("/rgb/camera_info", 1 + 0.1 * i, k=(5 + i // 2, *K[1:]))
    dataset = open_dataset(bag)
    assert [frame.camera.fx for frame in dataset] == [5, 5, 6, 6]
    assert dataset.dropped == {"camera_infos without a calibration": 1}
    assert caplog.text.count("changes in the recording") == 1


def test_a_camera_info_of_another_camera_is_said(bag, caplog):
    with Recorder(bag) as r:
        record(r, info=False, frame="other")
        r.info("/somewhere/camera_info", 1.0)
    open_dataset(bag)
    assert "is of the frame 'camera', but the images on /rgb/image are of 'other'" in caplog.text


def test_a_camera_info_without_a_size(bag):
    with Recorder(bag) as r:
        record(r, info=False)
        r.info("/rgb/camera_info", 1.0, size=(0, 0))
    with pytest.raises(InputError, match="camera_info says that images are 0×0"):
        open_dataset(bag)


# --- what belongs to an image ---


@pytest.mark.parametrize(("late", "nearest"), [(0.05, "0.05"), (500.0, "500")])
def test_depth_that_fits_no_image_is_not_left_out_silently(bag, late, nearest):
    with Recorder(bag) as r:
        record(r, depth_late=late)
    with pytest.raises(InputError, match=rf"nearest {nearest} s away: .*--no-depth"):
        open_dataset(bag)
    assert len(open_dataset(bag, use_depth=False)) == 4
    if late < 1:
        assert open_dataset(bag, topics=BagTopics(sync_tolerance_s=0.06))[0].depth is not None


def test_images_without_depth_are_counted(bag, caplog):
    with Recorder(bag) as r:
        record(r, 1, depth_late=0.0)
        record(r, 3, first=2.0)
    assert [frame.depth is None for frame in open_dataset(bag)] == [False, True, True, True]
    assert "3 of 4 images have nothing on /depth/image within 0.02 s" in caplog.text


def test_of_two_cameras_the_depth_is_of_the_same(bag):
    with Recorder(bag) as r:
        for side, depth in (("a", DEPTH * 2), ("b", DEPTH)):
            r.image(f"/{side}/color/image_raw", 1.0, RGB, "rgb8", side)
            r.info(f"/{side}/color/camera_info", 1.0)
            r.image(f"/{side}/aligned_depth_to_color/image_raw", 1.0, depth, "16UC1", side)
            r.image(
                f"/{side}/valid/image", 1.0, np.full((4, 6), 255 if side == "b" else 0, np.uint8), "mono8"
            )
        r.pose("/pose", 1.0, (0, 0, 0))
    (frame,) = open_dataset(bag, topics=BagTopics(rgb="/b/color/image_raw"))
    assert frame.depth is not None and abs(frame.depth - 1.234).max() < 1e-6
    assert frame.valid is None


def test_a_message_that_cannot_be_used_is_named(bag):
    with Recorder(bag) as r:
        record(r, 2)
        r.image("/rgb/image", 1.05, np.zeros((8, 12, 3), np.uint8), "what8")
    dataset = open_dataset(bag)
    with pytest.raises(InputError, match=r"message on /rgb/image of 1\.050 s .* encoding 'what8'"):
        list(dataset)


# --- files ---


EARLY_METADATA = """rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  relative_file_paths: [bag.mcap]
  duration: {nanoseconds: 0}
  starting_time: {nanoseconds_since_epoch: 0}
  message_count: 0
  topics_with_message_count: []
  compression_format: ""
  compression_mode: ""
"""


def killed(folder, in_a_chunk, compression="", count=8):
    """(the file of a bag of `count` images, its records without the end, where their parts end)."""
    with Recorder(folder) as r:
        record(r, count)
    (folder / "metadata.yaml").unlink()
    (file,) = folder.glob("*.mcap")
    file = file.rename(folder / "bag.mcap")
    return (file, *rewritten(file, in_a_chunk, compression))


@pytest.mark.parametrize("metadata", ["", EARLY_METADATA], ids=["none", "of the beginning"])
@pytest.mark.parametrize(("in_a_chunk", "compression"), [(3, ""), (3, "zstd"), (0, "")])
@recording("a bag whose recorder was killed")
def test_a_recording_that_was_killed(typed, bag, monkeypatch, caplog, in_a_chunk, compression, metadata):
    """What was written before the cut, which falls into a part, is read as from a whole file."""
    file, content, ends = killed(bag, in_a_chunk, compression)
    if metadata:
        (bag / "metadata.yaml").write_text(metadata)
    whole = 3 * 5 // (in_a_chunk or 1)  # the parts of five images, each with camera_info and pose
    file.write_bytes(content[: (ends[whole - 1] + ends[whole]) // 2])
    dataset = opened(typed, bag, monkeypatch)
    assert len(dataset) == 5
    for number, frame in enumerate(dataset):
        np.testing.assert_array_equal(frame.rgb, RGB)
        assert frame.world_from_camera[0, 3] == number
    assert caplog.text.count("bag.mcap was cut off, as when its recorder is killed; the 15 messages") == 1


@pytest.mark.parametrize("in_a_chunk", [3, 0])
def test_a_recording_cut_anywhere(bag, in_a_chunk):
    """At every byte of its last parts, and after the first ones: what is whole is read, or one sentence."""
    file, content, ends = killed(bag, in_a_chunk, count=4)
    step = 3 if in_a_chunk == 0 else 1
    for size in (*range(0, ends[0], 101), *range(ends[-2] - 2, len(content) + 1, 7)):
        file.write_bytes(content[:size])
        read = sum(end <= size for end in ends) // step
        if read:
            assert len(open_dataset(bag)) == read, size
        else:
            with pytest.raises(InputError, match=r"bag"):
                open_dataset(bag)


def test_a_cut_that_left_zeros(bag):
    """As a power cut does: the length of a chunk or file is there, its bytes are not."""
    file, content, ends = killed(bag, 3)
    middle = (ends[4] + ends[5]) // 2
    for text in (content[:middle] + bytes(ends[5] - middle), content[: ends[4]] + bytes(5000)):
        file.write_bytes(text)
        assert len(open_dataset(bag)) == 5


@pytest.mark.parametrize("in_a_chunk", [3, 0])
def test_reading_what_was_cut_takes_linear_time(bag, monkeypatch, in_a_chunk):
    """Counted in bytes read from the file: one walk, and for each message its own part."""
    from pathlib import Path

    file, content, ends = killed(bag, in_a_chunk, count=60)
    file.write_bytes(content[: ends[-2] + 5])
    taken = [0]

    class Counting:
        def __init__(self, opened):
            self._opened = opened

        def __getattr__(self, name):
            return getattr(self._opened, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._opened.close()

        def read(self, *size):
            content = self._opened.read(*size)
            taken[0] += len(content)
            return content

    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda *words, **options: Counting(plain(*words, **options)))
    frames = list(open_dataset(bag))
    assert len(frames) == 59
    assert taken[0] < 12 * len(content)


def test_a_cut_file_that_is_no_part_of_the_bag(bag):
    with Recorder(bag) as r:
        record(r)
    (whole,) = bag.glob("*.mcap")
    (bag / "an_older_try.mcap").write_bytes(whole.read_bytes()[:500])
    assert len(open_dataset(bag)) == 4


def test_of_several_files_the_one_that_was_cut(bag):
    file, content, ends = killed(bag, 3)
    whole = file.read_bytes()
    file.rename(bag / "r_0.mcap").write_bytes(whole)
    (bag / "r_1.mcap").write_bytes(content[: ends[-3]])
    assert len(open_dataset(bag)) == 8  # the same messages, once


@pytest.mark.parametrize(("names", "count"), [(("r_0", "r_1"), 8), (("r_0", "s_1"), 0), (("r", "s"), 0)])
def test_storage_files_of_one_recording_or_of_several(tmp_path, bag, names, count):
    bag.mkdir()
    for number, name in enumerate(names):
        with Recorder(tmp_path / name) as r:
            record(r, first=1.0 + number)
        os.rename(next((tmp_path / name).glob("*.mcap")), bag / f"{name}.mcap")
    if count:
        assert len(open_dataset(bag)) == count
        return
    with pytest.raises(InputError, match=rf"several bags \({names[0]}\.mcap, {names[1]}\.mcap\)"):
        open_dataset(bag)
    assert len(open_dataset(bag / f"{names[1]}.mcap")) == 4


@pytest.mark.parametrize(
    ("pattern", "new", "words"),
    [
        (r"message_count: 4\b", "message_count: 0", "has no messages: all 3 topics count 0"),
        (r"relative_file_paths:\n\s*- \S+", "relative_file_paths: []", "names no storage file"),
        (r"type: sensor_msgs/msg/Image", "type: 5", "names a topic by no text"),
    ],
)
def test_metadata_that_lies(bag, pattern, new, words):
    with Recorder(bag) as r:
        record(r)
    text, count = re.subn(pattern, new, (bag / "metadata.yaml").read_text())
    assert count
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        open_dataset(bag)


def test_the_metadata_may_be_named(bag):
    with Recorder(bag) as r:
        record(r)
    assert len(open_dataset(bag / "metadata.yaml")) == 4


def test_one_compressed_image_of_many_that_is_damaged(bag):
    import cv2

    with Recorder(bag) as r:
        record(r, 0)
        for i in range(6):
            data = cv2.imencode(".png", RGB)[1].tobytes()
            r.packed("/rgb/image/compressed", 1 + 0.1 * i, data[: len(data) // 2] if i == 3 else data, "png")
            r.info("/rgb/camera_info", 1 + 0.1 * i)
            r.pose("/pose", 1 + 0.1 * i, (i, 0, 0))
    dataset = open_dataset(bag)
    assert [frame.world_from_camera[0, 3] for frame in dataset] == [0, 1, 2, 4, 5]
    assert any(re.search(r"of 1\.300 s .* left out", sentence) for sentence in dataset.remarks.sentences)
