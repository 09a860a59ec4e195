"""From the messages of one instant to a frame: decoding and undistortion, done in the worker."""

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from instascene_core.camera import LensModel
from instascene_core.datasets import ros_images
from instascene_core.datasets.fitting import FittedLenses, fit_depth
from instascene_core.datasets.hiding import both_kept, visible
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_ros import conversions
from instascene_ros.frame_assembly import BAD_DEPTH, BAD_MASKS, AssembledFrame


@dataclass(frozen=True)
class Decoding:
    """How messages are to be understood."""

    depth_unit: float = 0.0  # metres a step; 0 = millimetres for 16 bits, metres for floats
    depth_registered: bool = False  # to the colour image, whatever the frame_id says
    kept: np.ndarray | None = None  # [H, W] bool, False = ignore this pixel of every image; None = keep all
    # Lenses at the size of the images, where camera_info tells of another scale.
    lenses: FittedLenses = field(default_factory=lambda: FittedLenses(Remarks()))


@dataclass(frozen=True)
class Complaint:
    """What was left out of a frame."""

    kind: str  # BAD_DEPTH or BAD_MASKS
    sentence: str


@dataclass(frozen=True)
class DecodedFrame:
    """A frame, and what of its depth and masks could not be used."""

    frame: Frame
    complaints: tuple[Complaint, ...] = ()


def build_frame(assembled: AssembledFrame, name: str, decoding: Decoding = Decoding()) -> DecodedFrame:
    """Decode and undistort.

    Raises InputError for an image that cannot be used, also where it cannot be told which of its pixels are
    to be ignored.  Depth and masks that cannot be used are left out and complained about.
    """
    rgb = conversions.rgb_from_message(assembled.image)
    lens = decoding.lenses.at(assembled.lens, rgb)
    assembled = replace(assembled, lens=lens)
    shape = (lens.camera.height, lens.camera.width)
    if rgb.shape[:2] != shape:
        raise InputError(
            f"The image is {rgb.shape[1]}×{rgb.shape[0]} but camera_info says {shape[1]}×{shape[0]}."
        )
    shown = visible(lens, _kept(assembled, decoding.kept, shape))
    complaints: list[Complaint] = []
    depth = labels = None
    if assembled.depth is not None:
        try:
            depth = _depth(assembled, rgb, decoding)
        except InputError as error:
            complaints.append(Complaint(BAD_DEPTH, str(error)))
    if assembled.masks is not None:
        try:
            labels = _labels(assembled.masks, lens, shape)
        except InputError as error:
            complaints.append(Complaint(BAD_MASKS, str(error)))
    if labels is not None and shown.hidden is not None:
        labels = np.where(shown.hidden, UNLABELLED, labels).astype(np.int32)
    frame = Frame(
        name=name,
        stamp=assembled.stamp,
        camera=lens.camera,
        world_from_camera=assembled.world_from_camera,
        rgb=shown.colors(lens.undistort(rgb)),
        depth=shown.depth(depth),
        labels=labels,
        valid=shown.valid,
    )
    return DecodedFrame(frame, tuple(complaints))


def _kept(assembled: AssembledFrame, always: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray | None:
    """[H, W] bool of the image as it came: False where a pixel is to be ignored; None = every one is kept."""
    kept = always
    for message, what, shows_kept in (
        (assembled.valid, "valid", True),
        (assembled.ignored, "ignored", False),
    ):
        if message is None:
            continue
        try:
            own = ros_images.kept_from(message) == shows_kept
        except InputError as error:
            raise InputError(f"The image of {what} pixels cannot be used: {error}") from error
        if own.shape != shape:
            raise InputError(
                f"The image of {what} pixels is {own.shape[1]}×{own.shape[0]}, the colour image "
                f"{shape[1]}×{shape[0]}; give one of the colour image."
            )
        kept = own if kept is None else both_kept(own, kept)
    return kept


def _depth(assembled: AssembledFrame, rgb: np.ndarray, how: Decoding) -> np.ndarray:
    """[H, W] float32 metres, 0 = not measured, of the undistorted image; rgb: as it came."""
    msg, lens = cast(Image | CompressedImage, assembled.depth), assembled.lens
    if assembled.depth_view is not None:
        measured = ros_images.depth_from(msg, how.depth_unit)
        depth = assembled.depth_view.camera.seen_from(measured, lens, assembled.depth_view.color_from_depth)
        return lens.undistort(_measuring(depth), interpolate=False)
    shape = rgb.shape[:2]
    frames = [frame.lstrip("/") for frame in (msg.header.frame_id, assembled.image.header.frame_id)]
    if not how.depth_registered and all(frames) and frames[0] != frames[1]:
        raise InputError(
            f"The depth is of the camera frame '{frames[0]}', the image of '{frames[1]}': use the topic of "
            "depth aligned to the colour image (aligned_depth_to_color, depth_registered), or set the "
            "parameter depth_registered where it is aligned."
        )
    depth = ros_images.depth_from(msg, how.depth_unit)
    if depth.shape[0] > shape[0] or depth.shape[1] > shape[1]:
        raise InputError(
            f"The depth image is {depth.shape[1]}×{depth.shape[0]}, the colour image {shape[1]}×{shape[0]}; "
            "register the depth to the colour image."
        )
    return lens.undistort(_measuring(fit_depth(depth, rgb, "depth image")), interpolate=False)


def _measuring(depth: np.ndarray) -> np.ndarray:
    """The depth itself; InputError where it holds nothing."""
    if not depth.any():
        raise InputError("A depth image holds no measurement (all zeros); its frame is used without depth.")
    return depth


def _labels(msg: Image, lens: LensModel, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] int32 labels of the undistorted image."""
    labels = conversions.labels_from_message(msg)
    if labels.shape != shape:
        raise InputError(
            f"The label image is {labels.shape[1]}×{labels.shape[0]}, "
            f"the colour image {shape[1]}×{shape[0]}; publish labels of the colour image."
        )
    if (labels == UNLABELLED).all():
        raise InputError("A label image is empty (all 0 = unlabelled); its frame is used without masks.")
    if not lens.is_distorted:
        return labels
    return np.where(lens.valid_pixels(), lens.undistort(labels, interpolate=False), UNLABELLED).astype(
        np.int32
    )
