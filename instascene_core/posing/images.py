"""The images that poses are wanted for: files of a folder, or the sharpest frames of a video."""

import logging
import shutil
from pathlib import Path

import numpy as np

from instascene_core.datasets.dataset import evenly
from instascene_core.datasets.images import image_size
from instascene_core.datasets.unposed import images_in, is_video
from instascene_core.datasets.video import Video
from instascene_core.errors import InputError
from instascene_core.files import write_image
from instascene_core.progress import ProgressCallback

logger = logging.getLogger(__name__)

FEWEST = 3  # images from which poses can be told
SHARPNESS_WIDTH = 320  # pixels to which frames are shrunk before they are compared
WHOLE = 0.9  # of the frames that a video's header says it has; headers are a few frames off


def gather_images(
    source: Path, folder: Path, most: int, progress: ProgressCallback
) -> tuple[list[str], bool]:
    """(names of the images copied into `folder`, in order; whether neighbours are alike, as in a video).

    most: at most so many, evenly spaced (0 = all).  Raises InputError where there are fewer than FEWEST.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_video(source):
        names = _from_video(source, folder, most, progress)
    else:
        names = _from_folder(source, folder, most, progress)
    if len(names) < FEWEST:
        raise InputError(
            f"{source} has {len(names)} images; at least {FEWEST} from different places are needed."
        )
    return names, is_video(source)


def _from_folder(source: Path, folder: Path, most: int, progress: ProgressCallback) -> list[str]:
    files = images_in(source)
    chosen = [files[i] for i in evenly(len(files), most)]
    for number, file in enumerate(chosen):
        image_size(file)  # a damaged one is named now, not counted as without features
        shutil.copyfile(file, folder / file.name)
        progress("images", (number + 1) / len(chosen), file.name)
    return [file.name for file in chosen]


def _from_video(source: Path, folder: Path, most: int, progress: ProgressCallback) -> list[str]:
    """Of each of `most` equal stretches of the video the sharpest frame, frame_000000.png …"""
    video = Video(source)
    count = video.count or most
    stretch = max(1.0, count / most) if most else 1.0
    names: list[str] = []
    best, best_sharpness, index = None, -1.0, 0
    while True:
        rgb = video.frame(index)
        if best is not None and (rgb is None or int(index / stretch) > len(names)):
            names.append(f"frame_{len(names):06d}.png")
            write_image(folder / names[-1], best)
            best, best_sharpness = None, -1.0
        if rgb is None and index < WHOLE * video.count:
            logger.warning(
                "%s says that it has %d frames, but only %d can be read: it is damaged or not complete",
                source, video.count, index,
            )  # fmt: skip
        if rgb is None or (most and len(names) >= most):
            return names
        if (sharpness := _sharpness(rgb)) > best_sharpness:
            best, best_sharpness = rgb, sharpness
        index += 1
        progress("images", min(index / count, 1.0), f"frame {index}")


def _sharpness(rgb: np.ndarray) -> float:
    """Variance of the Laplacian: motion blur takes it away."""
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    factor = SHARPNESS_WIDTH / grey.shape[1]
    if factor < 1:
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())
