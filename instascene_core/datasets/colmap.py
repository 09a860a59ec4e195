"""COLMAP models: `<folder>/sparse/0` (or the model itself) with the images beside it."""

import logging
from pathlib import Path

import numpy as np

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.datasets.dataset import RawFrame
from instascene_core.datasets.images import read_labels, read_rgb
from instascene_core.datasets.nerfstudio import label_file, unique_names
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.transforms import inverse, require_rigid

logger = logging.getLogger(__name__)

MODEL_FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0", "0")
IMAGE_FOLDERS = ("images", "../images", "../../images", "../../../images", ".")


def find_model(path: Path) -> Path | None:
    """The folder with cameras and images (binary or text) that `path` is or holds."""
    for name in MODEL_FOLDERS:
        folder = path / name
        for suffix in (".bin", ".txt"):
            if (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file():
                return folder
    return None


class ColmapReader:
    """Registered images of one model, ordered by name."""

    kind = "COLMAP model"
    pose_convention = "opencv-w2c"
    has_depth = False

    def __init__(self, model: Path, use_masks: bool = True, masks: str | None = None) -> None:
        reconstruction = _read_model(model)
        images = sorted((i for i in reconstruction.images.values() if i.has_pose), key=lambda i: i.name)
        if not images:
            raise InputError(f"The COLMAP model {model} has no registered images, so there are no poses.")
        self._folder = _image_folder(model, images[0].name)
        self._paths = [self._folder / i.name for i in images]
        for path in self._paths:
            if not path.is_file():
                raise InputError(f"The image {path} named in the COLMAP model is missing.")
        self.names = unique_names([Path(i.name) for i in images])
        self.poses = np.stack(
            [
                inverse(require_rigid(i.cam_from_world().matrix(), f"The pose of '{n}'"))
                for i, n in zip(images, self.names)
            ]
        )
        lenses = {key: lens_from_colmap(camera) for key, camera in reconstruction.cameras.items()}
        self._lenses = [lenses[i.camera_id] for i in images]
        self.has_labels = use_masks and masks is not None
        self._labels: list[Path | None] = [None] * len(self._paths)
        if use_masks and masks is not None:
            self._labels = [label_file(self._folder.parent, masks, p) for p in self._paths]
        self.dropped = {"images not registered": reconstruction.num_images() - len(images)}
        if any(self.dropped.values()):
            logger.warning(
                "%s: %d images not registered, dropped", model, self.dropped["images not registered"]
            )

    def read(self, index: int) -> RawFrame:
        labels = self._labels[index]
        return RawFrame(
            name=self.names[index],
            stamp=float(index),
            lens=self._lenses[index],
            world_from_camera=self.poses[index],
            rgb=read_rgb(self._paths[index]),
            label_image=None if labels is None else read_labels(labels),
        )


def lens_from_colmap(camera) -> LensModel:
    """Our lens model of a pycolmap camera; InputError for models that we do not know.

    COLMAP's pixel centres lie at half pixels, as ours; the order of its parameters is documented in
    colmap/src/colmap/sensor/models.h.
    """
    name, p = camera.model_name, [float(v) for v in camera.params]
    size = (int(camera.width), int(camera.height))
    if name in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        pinhole, k = PinholeCamera(*size, p[0], p[0], p[1], p[2]), p[3:]
    elif name in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"):
        pinhole, k = PinholeCamera(*size, *p[:4]), p[4:]
    else:
        raise InputError(
            f"The COLMAP camera model '{name}' is not known; undistort the images with COLMAP first."
        )
    if name.endswith("PINHOLE"):
        return LensModel(pinhole)
    if name.endswith("FISHEYE"):
        return LensModel(pinhole, "fisheye", tuple(k + [0.0] * (4 - len(k))))
    if name == "FULL_OPENCV":
        return LensModel(pinhole, "rational_polynomial", tuple(k))
    return LensModel(pinhole, "plumb_bob", tuple(k + [0.0] * (4 - len(k))))


def _read_model(model: Path):
    try:
        import pycolmap
    except ImportError as error:
        raise MissingDependencyError(
            "Reading a COLMAP model needs pycolmap; install it with `pip install pycolmap`."
        ) from error
    points = any((model / f"points3D{suffix}").is_file() for suffix in (".bin", ".txt"))
    if not points:
        raise InputError(f"The COLMAP model {model} has no points3D file.")
    try:
        return pycolmap.Reconstruction(str(model))
    except Exception as error:  # pycolmap raises several kinds for damaged files
        raise InputError(
            f"The COLMAP model {model} cannot be read: it is damaged or of another version."
        ) from error


def _image_folder(model: Path, name: str) -> Path:
    for candidate in IMAGE_FOLDERS:
        folder = (model / candidate).resolve()
        if (folder / name).is_file():
            return folder
    raise InputError(
        f"The images of the COLMAP model {model} were not found ('{name}' in images/ beside it)."
    )
