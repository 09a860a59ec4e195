"""The instances' label images: rendered from the labels of the Gaussians, and again where these changed."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.config import PixelLabelsConfig
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.ownership.by_gaussians import evidence_of, label_pixels
from instascene_core.progress import ProgressCallback, no_progress, told
from instascene_core.rendering import PixelTrace, trace
from instascene_core.threads import side_by_side

DISK_REACH = 4.0  # standard deviations; the renderer draws a little over 3
RIM_PIXELS = 4  # its screen filter makes small disks this wide at most


def label_images(
    views: Sequence[Frame],
    gaussians: GaussianModel,
    gaussian_labels: np.ndarray,
    config: PixelLabelsConfig,
    progress: ProgressCallback = no_progress,
    *,
    traces: Sequence[PixelTrace] = (),
) -> dict[str, np.ndarray]:
    """Frame name → [H, W] int32 instance ids at the frame's own resolution, a view a thread in memory.

    traces: of the same views, by `trace_views`; taken where they are as large as the setting asks for.
    """

    def of_view(index: int) -> np.ndarray:
        view, known = views[index], traces[index] if traces else None
        small = view.camera.limited(config.max_trace_pixels)
        if known is not None and (known.width, known.height) != (small.width, small.height):
            known = None
        return _label_image(view, gaussians, gaussian_labels, config, known)

    with closing(side_by_side(of_view, range(len(views)))) as each:
        return {view.name: image for (_, view), image in zip(told(views, progress, "labels"), each)}


def _label_image(
    view: Frame,
    gaussians: GaussianModel,
    labels: np.ndarray,
    config: PixelLabelsConfig,
    known: PixelTrace | None = None,
) -> np.ndarray:
    """[H, W] int32 of one view; known: its trace at the size that the setting asks for."""
    camera, pose = view.camera, view.world_from_camera
    small = camera.limited(config.max_trace_pixels)
    if known is None:
        known = trace(gaussians, small, pose, weight_min=config.min_trace_weight)

    def retrace(chosen: np.ndarray) -> PixelTrace:
        return trace(gaussians.select(torch.from_numpy(chosen)), camera, pose)

    return label_pixels(labels, known, evidence_of(view, gaussians), config, retrace)


@dataclass(frozen=True)
class Disks:
    """Where Gaussians changed."""

    centres: np.ndarray  # [K, 3] metres, world frame
    radii: np.ndarray  # [K] metres


def disks_at(gaussians: GaussianModel, index: np.ndarray) -> Disks:
    """The places of some Gaussians (indices [K])."""
    scales = gaussians.scales.detach().numpy()[index].max(axis=1)
    return Disks(gaussians.means.detach().numpy()[index], DISK_REACH * scales)


class LabelImages(Mapping):
    """Frame name → [H, W] int32 instance ids; rendered anew, where Gaussians changed, when looked at.

    A click must be answered in milliseconds and rendering all views takes longer.
    """

    def __init__(
        self,
        images: Mapping[str, np.ndarray],
        views: Sequence[Frame],
        gaussians: GaussianModel,
        labels: np.ndarray,
        stale: Mapping[str, tuple[Disks, ...]],
        config: PixelLabelsConfig,
    ) -> None:
        self._lock = threading.Lock()
        self._images, self._stale = dict(images), dict(stale)
        self._views = {view.name: view for view in views}
        self._gaussians, self._labels, self._config = gaussians, labels, config

    @classmethod
    def changed(
        cls,
        earlier: Mapping[str, np.ndarray],
        views: Sequence[Frame],
        gaussians: GaussianModel,
        labels: np.ndarray,
        places: Sequence[Disks],
        config: PixelLabelsConfig,
        added: Mapping[str, np.ndarray] | None = None,
    ) -> "LabelImages":
        """The images of `earlier` after the labels (or the Gaussians) at some places changed.

        added: images of views that are new, as they are now.
        """
        images, stale = earlier, {}
        if isinstance(earlier, LabelImages):
            with earlier._lock:
                images, stale = dict(earlier._images), dict(earlier._stale)
        names = [view.name for view in views if view.name in images]
        stale = {n: (*stale.get(n, ()), *places) for n in names}
        return cls({**images, **(added or {})}, views, gaussians, labels, stale, config)

    def __getitem__(self, name: str) -> np.ndarray:
        with self._lock:  # other threads may read a scene's state
            image = self._images[name]
            if name in self._stale:
                image = self._rendered(self._views[name], image, self._stale[name])
                self._images[name] = image
                del self._stale[name]
            return image

    def __getstate__(self) -> dict:
        with self._lock:
            return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def _rendered(self, view: Frame, image: np.ndarray, places: Sequence[Disks]) -> np.ndarray:
        """`image` with the rectangle around the places rendered anew."""
        boxes = [box for place in places if (box := _pixel_box(view, place)) is not None]
        if not boxes:
            return image
        (x0, y0), (x1, y1) = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
        image = image.copy()
        crop = view.cropped(int(x0), int(y0), int(x1), int(y1))
        image[y0:y1, x0:x1] = _label_image(crop, self._gaussians, self._labels, self._config)
        return image


def _pixel_box(view: Frame, place: Disks) -> tuple[np.ndarray, np.ndarray] | None:
    """(first pixel, last pixel + 1), each (x, y), of the image that the disks may touch."""
    pose = view.camera_from_world
    pixels, z = view.camera.project(place.centres @ pose[:3, :3].T + pose[:3, 3])
    front = z > 1e-6
    if not front.any():
        return None
    reach = place.radii[front] * max(view.camera.fx, view.camera.fy) / z[front] + RIM_PIXELS
    low = np.floor((pixels[front] - reach[:, None]).min(axis=0)).astype(np.int64)
    high = np.ceil((pixels[front] + reach[:, None]).max(axis=0)).astype(np.int64)
    size = np.array([view.camera.width, view.camera.height])
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    return (low, high) if (high > low).all() else None
