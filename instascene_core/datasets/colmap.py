"""COLMAP models: `<folder>/sparse/0` (or the model itself) with the images beside it.

Where COLMAP could not connect all images it leaves several models, sparse/0, sparse/1 …: without a word
from the user the largest is read.  `masks/<image>.png` beside the images is COLMAP's own convention for
pixels to ignore (black); it is followed where every image has one.
"""

import logging
from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.colmap_model import ColmapCamera, ColmapImage, number_of_images, read_model
from instascene_core.datasets.dataset import RawFrame
from instascene_core.datasets.fitting import FittedLenses
from instascene_core.datasets.hiding import both_kept
from instascene_core.datasets.images import read_kept, read_labels, read_rgb_and_alpha
from instascene_core.datasets.listed_files import find_listed, label_file, unique_names, without_missing
from instascene_core.datasets.remarks import Remarks
from instascene_core.errors import InputError
from instascene_core.lens_formulas import FORMULAS
from instascene_core.transforms import inverse

logger = logging.getLogger(__name__)

MODEL_FOLDERS = ("", "sparse", "colmap/sparse", "distorted/sparse")  # that are models, or hold numbered ones
IMAGE_FOLDERS = ("images", "../images", "../../images", "../../../images", ".")
SMALLER_IMAGES = (
    "images_2",
    "images_4",
    "images_8",
)  # the same, downscaled, as nerfstudio and 3DGS name them
KEPT_FOLDER = "masks"


def find_model(path: Path) -> Path | None:
    """The folder with cameras and images (binary or text) that `path` is or holds; of several the largest."""
    for name in MODEL_FOLDERS:
        folder = path / name
        if _is_model(folder):
            return folder
        if folder.is_dir() and (name or path.name == "sparse"):
            inside = sorted(f for f in folder.iterdir() if f.is_dir() and _is_model(f))
        else:
            inside = [f for f in (folder / "0",) if _is_model(f)]
        if inside:
            return _largest(inside)
    return None


def _is_model(folder: Path) -> bool:
    return any(
        (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file()
        for suffix in (".bin", ".txt")
    )


def _largest(models: list[Path]) -> Path:
    """The model with most images; the choice is said."""
    if len(models) == 1:
        return models[0]
    counts = {model: number_of_images(model) for model in models}
    best = max(models, key=lambda model: counts[model])
    others = ", ".join(f"{model.name} ({counts[model]} images)" for model in models if model != best)
    logger.warning(
        "%s holds %d models that COLMAP could not connect; %s with %d images is used, not %s: name one to "
        "use it instead",
        best.parent, len(models), best.name, counts[best], others,
    )  # fmt: skip
    return best


class ColmapReader:
    """Registered images of one model, ordered by name."""

    kind = "COLMAP model"
    pose_convention = "opencv-w2c"
    has_depth = False

    def __init__(
        self, model: Path, use_masks: bool = True, masks: str | None = None, remarks: Remarks | None = None
    ) -> None:
        self._remarks = remarks or Remarks(model)
        cameras, images = read_model(model)
        images.sort(key=lambda image: image.name)
        if not images:
            raise InputError(f"The COLMAP model {model} has no registered images, so there are no poses.")
        self._folder = _image_folder(model, [i.name for i in images])
        found = [find_listed(self._folder, i.name) for i in images]
        there = without_missing(found, [str(self._folder / i.name) for i in images], "image", model)
        num_missing = len(images) - len(there)
        images = [images[i] for i in there]
        self._paths = [path for path in found if path is not None]
        self.names = unique_names([Path(i.name) for i in images])
        self.poses = np.stack([inverse(image.camera_from_world) for image in images])
        lenses = {key: lens_from_colmap(camera) for key, camera in cameras.items()}
        self._lenses = [lenses[i.camera_id] for i in images]
        self._fitted = FittedLenses(self._remarks)
        self.has_labels = use_masks and masks is not None
        self._labels: list[Path | None] = [None] * len(self._paths)
        if use_masks and masks is not None:
            self._labels = [label_file(self._folder.parent, masks, p) for p in self._paths]
        self._kept = [] if masks == KEPT_FOLDER else _kept_files(self._folder, images)
        unposed = _number_in(self._folder, {path.suffix.lower() for path in self._paths}) - len(self._paths)
        reasons = {"images not registered": max(unposed, 0), "missing images": num_missing}
        self.dropped = {reason: number for reason, number in reasons.items() if number}
        if unposed > 0:
            logger.warning("%s: %d images are not registered, so they have no pose, dropped", model, unposed)

    def read(self, index: int) -> RawFrame:
        labels, lens = self._labels[index], self._lenses[index]
        rgb, opaque = read_rgb_and_alpha(self._paths[index], (lens.camera.width, lens.camera.height))
        kept = read_kept(self._kept[index]) if self._kept else None
        return RawFrame(
            name=self.names[index],
            stamp=float(index),
            lens=self._fitted.at(lens, rgb),
            world_from_camera=self.poses[index],
            rgb=rgb,
            label_image=None if labels is None else read_labels(labels),
            kept=kept if opaque is None else both_kept(kept, opaque),
        )


def _number_in(folder: Path, suffixes: set[str]) -> int:
    """How many images of these kinds a folder holds, in folders inside as well."""
    return sum(path.suffix.lower() in suffixes for path in folder.rglob("*") if path.is_file())


def _kept_files(folder: Path, images: list[ColmapImage]) -> list[Path]:
    """COLMAP's masks of the images, or none where there are none.

    Raises InputError where some images have one and others do not.
    """
    masks = folder.parent / KEPT_FOLDER
    files = [masks / f"{image.name}.png" for image in images] if masks.is_dir() else []
    missing = [file for file in files if not file.is_file()]
    if missing and len(missing) < len(files):
        raise InputError(f"The mask {missing[0]} is missing, other images have one.")
    return [] if missing else files


def lens_from_colmap(camera: ColmapCamera) -> LensModel:
    """Our lens model of COLMAP's camera; InputError for panoramas.

    COLMAP's pixel centres lie at half pixels, as ours; the order of its parameters is documented in
    colmap/src/colmap/sensor/models.h.
    """
    name, p = camera.model_name, [float(v) for v in camera.params]
    size = (int(camera.width), int(camera.height))
    if name == "EQUIRECTANGULAR":
        raise InputError(
            "The COLMAP camera model 'EQUIRECTANGULAR' is of panoramas, which no pinhole image can show; "
            "render perspective images from them (COLMAP's panorama_sfm.py does) and give their model."
        )
    if name in ONE_FOCAL_LENGTH:
        pinhole, k = PinholeCamera(*size, p[0], p[0], p[1], p[2]), p[3:]
    else:
        pinhole, k = PinholeCamera(*size, *p[:4]), p[4:]
    if name.endswith("PINHOLE"):
        return LensModel(pinhole)
    if (formula := name.removeprefix("SIMPLE_").lower()) in FORMULAS:
        return LensModel(pinhole, formula, tuple(k))
    if name.endswith("FISHEYE"):
        return LensModel(pinhole, "fisheye", tuple(k + [0.0] * (4 - len(k))))
    if name == "FULL_OPENCV":
        return LensModel(pinhole, "rational_polynomial", tuple(k))
    return LensModel(pinhole, "plumb_bob", tuple(k + [0.0] * (4 - len(k))))


# f cx cy and no fx fy.
ONE_FOCAL_LENGTH = (
    "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_DIVISION",
    "SIMPLE_FISHEYE",
)  # fmt: skip


def _image_folder(model: Path, names: list[str]) -> Path:
    """The folder that holds most of the images; a few may be missing."""
    folders = list(IMAGE_FOLDERS)
    folders += [f.replace("images", small) for small in SMALLER_IMAGES for f in folders if "images" in f]
    best, most = None, 0
    for candidate in folders:
        folder = (model / candidate).resolve()
        found = sum(find_listed(folder, name) is not None for name in names) if folder.is_dir() else 0
        if found > most:
            best, most = folder, found
        if most == len(names):
            break
    if best is None:
        raise InputError(
            f"The images of the COLMAP model {model} were not found ('{names[0]}' in images/ beside it)."
        )
    return best
