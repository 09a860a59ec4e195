"""Readers of recorded scenes: nerfstudio folders, COLMAP models, rosbag2, and `formats` of other tools.

`open_dataset(path)` finds out what is there; the Dataset it returns is a sequence of undistorted
`Frame`s with OpenCV camera poses, read one by one.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from instascene_core.corrections import Corrections
from instascene_core.datasets.bag_topics import BagTopics
from instascene_core.datasets.bag_writer import write_bag
from instascene_core.datasets.colmap import ColmapReader, find_model
from instascene_core.datasets.corrected import convention_of, corrected_poses
from instascene_core.datasets.dataset import Dataset, RawFrame, Reader, evenly, make_frame
from instascene_core.datasets.formats import FORMATS
from instascene_core.datasets.images import read_kept
from instascene_core.datasets.nerfstudio import NerfstudioReader, find_transforms
from instascene_core.datasets.remarks import Remarks
from instascene_core.datasets.rosbag import BagReader, find_bag
from instascene_core.datasets.unposed import how_to_get_poses
from instascene_core.errors import InputError
from instascene_core.owned_folder import finish

__all__ = [
    "BagTopics",
    "Dataset",
    "RawFrame",
    "Reader",
    "is_recording",
    "make_frame",
    "open_dataset",
    "write_bag",
]


def is_recording(path: Path | str) -> bool:
    """Whether there is something at `path` that `open_dataset` would try to read, by the names of its files.

    A recording that is of a known format but cannot be used is one, too.
    """
    path = Path(path)
    try:
        formats = any(kind.find(path) for kind in FORMATS)
    except InputError:  # a format that is known and not read: its sentence comes on opening
        return True
    return formats or bool(find_transforms(path) or find_model(path) or find_bag(path))


def open_dataset(
    path: Path | str,
    *,
    use_depth: bool = True,
    use_masks: bool | None = None,
    masks: str | None = None,
    scale: float = 1.0,
    max_width: int = 0,
    max_frames: int = 0,
    topics: BagTopics | None = None,
    ignore: Path | str | None = None,
    corrections: Corrections | None = None,
) -> Dataset:
    """Open the scene recorded at `path`: a transforms.json (or its folder), a COLMAP model, a folder of
    another tool or data set (`formats`) or a rosbag2.

    use_depth: whether to read depth images where there are any.
    masks: name of a folder of label images (uint16 PNG named like the images, 0 = unlabelled) beside them.
    use_masks: whether to read label images; None: only where `masks` or `topics.masks` names them, as the
    command does.  True without a name: those that the format itself names (transforms.json's `mask_path`).
    scale, max_width: images are resized by `scale`, then shrunk to `max_width` pixels (0 = no limit).
    max_frames: at most so many frames, evenly spaced (0 = all).
    topics: topic names of a rosbag2, where finding them by name and type is not enough.
    ignore: an image of the size of the input's, black where every frame shows something fixed to the camera.
    corrections: where poses or depth mean something else than the format says.

    Raises InputError with one sentence when there is nothing usable.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is nothing at {path}.")
    if not 0 < scale <= 8 or max_width < 0 or max_frames < 0:
        raise InputError("scale must lie in (0, 8]; max_width and max_frames must not be negative.")
    finish(path if path.is_dir() else path.parent)
    if use_masks is None:
        use_masks = masks is not None or bool(topics and topics.masks)
    remarks = Remarks(path)
    reader = _reader(path, use_depth, use_masks, masks, topics, remarks)
    corrections = corrections or Corrections()
    poses, known = corrected_poses(reader, corrections)
    usable = np.flatnonzero(known)
    folder = path if path.is_dir() else path.parent
    truth = folder / "ground_truth"
    own_truth = getattr(reader, "ground_truth", None)  # of formats that bring their own
    return Dataset(
        path=path,
        reader=reader,
        selection=tuple(int(usable[i]) for i in evenly(len(usable), max_frames)),
        scale=scale,
        max_width=max_width,
        ground_truth=truth if (truth / "scene.json").is_file() else own_truth,
        remarks=remarks,
        kept=None if ignore is None else read_kept(Path(ignore)),
        corrections=replace(
            corrections, pose_convention=corrections.pose_convention or convention_of(reader)
        ),
        corrected=poses,
    )


def _reader(
    path: Path,
    use_depth: bool,
    use_masks: bool,
    masks: str | None,
    topics: BagTopics | None,
    remarks: Remarks,
) -> Reader:
    if transforms := find_transforms(path):
        return NerfstudioReader(transforms, use_depth, use_masks, masks, remarks)
    if model := find_model(path):
        return ColmapReader(model, use_masks, masks, remarks)
    for kind in FORMATS:
        if folder := kind.find(path):
            return kind(folder, use_depth, use_masks, masks, remarks)
    if bag := find_bag(path):
        if masks is not None:
            raise InputError("A rosbag2 has no folder of label images; name the topic as topics.masks.")
        return BagReader(bag, use_depth, use_masks, topics, remarks)
    if sentence := how_to_get_poses(path):
        raise InputError(sentence)
    raise InputError(
        f"{path} holds neither a transforms.json, nor a COLMAP model, nor a rosbag2, nor files of another "
        "format of docs/recordings.md, so there are no poses."
    )
