"""One posed image with what came along with it."""

from dataclasses import dataclass, replace

import numpy as np

from instascene_core.camera import PinholeCamera, PixelsOfPoints
from instascene_core.errors import InputError
from instascene_core.files import require_file_name
from instascene_core.images import resize
from instascene_core.transforms import apply, inverse, require_rigid

UNLABELLED = -1  # inside; in 16-bit label images on disk and on topics it is 0
MAX_LABEL = 65535  # the largest id of such an image
_KINDS = {  # of the values of the optional images
    "depth": np.float32,
    "labels": np.int32,
    "valid": bool,
    "normals": np.float32,
    "estimated_depth": np.float32,
}
IMAGES = ("rgb", *_KINDS)  # the fields of a Frame with a value a pixel


@dataclass(frozen=True)
class Frame:
    """An undistorted image and its pose; depth and labels are registered to the image."""

    name: str  # stem of the input image; names output files
    stamp: float  # seconds
    camera: PinholeCamera
    world_from_camera: np.ndarray  # [4, 4] float64
    rgb: np.ndarray  # [H, W, 3] uint8
    depth: np.ndarray | None = None  # [H, W] float32, metres along the optical axis, 0 = no measurement
    labels: np.ndarray | None = None  # [H, W] int32, UNLABELLED or an id ≥ 1
    valid: np.ndarray | None = None  # [H, W] bool, False = outside the undistorted image; None = all
    # [H, W, 3] float32 unit surface normals towards the camera, in its axes, 0 = unknown: from a network
    # that guesses them from the image, say
    normals: np.ndarray | None = None
    # [H, W] float32 metres along the optical axis, 0 = unknown: found by stereo of colours that no sensor
    # went with; the reconstruction's, not the recording's
    estimated_depth: np.ndarray | None = None

    def __post_init__(self) -> None:
        require_file_name(self.name, "The frame name")
        shape = (self.camera.height, self.camera.width)
        if self.rgb.shape != (*shape, 3) or self.rgb.dtype != np.uint8:
            raise InputError(
                f"Frame '{self.name}': the image is {self.rgb.shape} {self.rgb.dtype}, "
                f"the camera says {(*shape, 3)} uint8."
            )
        object.__setattr__(
            self, "world_from_camera", require_rigid(self.world_from_camera, f"The pose of '{self.name}'")
        )
        for name, kind in _KINDS.items():
            image = getattr(self, name)
            expected = (*shape, 3) if name == "normals" else shape
            if image is not None and (image.shape != expected or image.dtype != kind):
                raise InputError(
                    f"Frame '{self.name}': {name} is {image.shape} {image.dtype}, "
                    f"not {expected} {np.dtype(kind)}."
                )

    @property
    def camera_from_world(self) -> np.ndarray:
        return inverse(self.world_from_camera)

    def locate(self, points: np.ndarray) -> PixelsOfPoints:
        """The pixels that show world points [N, 3]."""
        return self.camera.locate(apply(self.camera_from_world, points))

    def require_depth(self) -> np.ndarray:
        """The depth [H, W] in metres.  Raises InputError where the frame has none."""
        if self.depth is None:
            raise InputError(f"Frame '{self.name}' has no depth.")
        return self.depth

    def require_labels(self) -> np.ndarray:
        """The labels [H, W].  Raises InputError where the frame has none."""
        if self.labels is None:
            raise InputError(f"Frame '{self.name}' has no labels.")
        return self.labels

    def with_(self, **changes) -> "Frame":
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def without(self, gone: np.ndarray) -> "Frame":
        """The frame where the pixels `gone` [H, W] bool do not count: not valid, no depth, unlabelled."""
        return self.with_(
            valid=~gone if self.valid is None else self.valid & ~gone,
            depth=_cleared(self.depth, gone, 0),
            estimated_depth=_cleared(self.estimated_depth, gone, 0),
            labels=_cleared(self.labels, gone, UNLABELLED),
        )

    def resized(self, width: int, height: int) -> "Frame":
        """The same view at another size in pixels.

        Colours become means over areas (linear when growing); depth, labels, valid and normals are those
        of the nearest pixel, so that values of different surfaces do not mix and normals stay unit.
        """
        images = {
            name: None if image is None else resize(image, width, height, smooth=name == "rgb")
            for name, image in self._images().items()
        }
        return self.with_(camera=self.camera.resized(width, height), **images)

    def cropped(self, x0: int, y0: int, x1: int, y1: int) -> "Frame":
        """The rectangle of pixels x0 … x1 − 1, y0 … y1 − 1 as a frame; its images share our memory.

        Raises InputError where the rectangle is empty or reaches beyond the image.
        """
        images = {
            name: None if image is None else image[y0:y1, x0:x1] for name, image in self._images().items()
        }
        return self.with_(camera=self.camera.cropped(x0, y0, x1, y1), **images)

    def _images(self) -> dict[str, np.ndarray | None]:
        return {name: getattr(self, name) for name in IMAGES}


def _cleared(image: np.ndarray | None, gone: np.ndarray, nothing: int) -> np.ndarray | None:
    """The image with `nothing` in the pixels `gone`."""
    return None if image is None else np.where(gone, image.dtype.type(nothing), image)


def labels_from_image(image: np.ndarray) -> np.ndarray:
    """[H, W] int32 inside convention (UNLABELLED = −1) from a label image where 0 = unlabelled."""
    labels = image.astype(np.int32)
    return np.where(labels == 0, UNLABELLED, labels)


def image_from_labels(labels: np.ndarray) -> np.ndarray:
    """[H, W] uint16 label image (0 = unlabelled) from inside labels; ids must be 1 … 65535."""
    if labels.size and (labels.max() > MAX_LABEL or (labels == 0).any()):
        raise InputError(f"Instance ids must lie in 1 … {MAX_LABEL} to fit a 16-bit label image.")
    return np.where(labels < 0, 0, labels).astype(np.uint16)
