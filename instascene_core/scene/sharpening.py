"""Borders of the instances' label images brought to where the things end in the frames.

The labels of Gaussians know which views agree, but where the depth was coarse the Gaussians themselves reach
beyond the things.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from instascene_core.config.segmentation import EdgeConfig
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.images import resize
from instascene_core.progress import ProgressCallback, no_progress, told
from instascene_core.segmentation.borders import BorderRefiner
from instascene_core.segmentation.edges import border_offset
from instascene_core.segmentation.network import limit_size

FINER = 4  # times the pixels that borders are looked for in, at most: that they are judged in


def sharpened(
    images: Mapping[str, np.ndarray],
    views: Sequence[Frame],
    things: Collection[int],
    config: EdgeConfig,
    max_pixels: int,
    progress: ProgressCallback = no_progress,
) -> dict[str, np.ndarray]:
    """Frame name → [H, W] int32 ids, of `images` likewise; as they are where borders lie right, or would not
    come to lie nearer to the edges of the frames' colours.

    things: ids that are no structure; borders between the others stay.  Frames of more than `max_pixels` are
    looked at smaller, so their borders move by steps of some pixels.
    """
    known = np.array(sorted(things), dtype=np.int32)
    if not len(known) or not views:
        return dict(images)
    refiner = BorderRefiner.from_config(config)
    some = views[:: max(1, len(views) // config.frames)]
    offset = refiner.offset_of(*_compared(images, some, known, max_pixels))
    if offset <= 0:
        return dict(images)
    result = {
        view.name: _sharpened(images[view.name], limit_size(view, max_pixels), known, refiner, offset)
        for view in some
    }
    # In larger frames what moves by steps of pixels may come to lie further off than it was.
    before, after = (
        border_offset(*_compared(which, some, known, FINER * max_pixels)) for which in (images, result)
    )
    if after >= before:
        return dict(images)
    for _, view in told(views, progress, "borders"):
        if view.name not in result:
            small = limit_size(view, max_pixels)
            result[view.name] = _sharpened(images[view.name], small, known, refiner, offset)
    return {view.name: result[view.name] for view in views}


def _compared(
    images: Mapping[str, np.ndarray], views: Sequence[Frame], known: np.ndarray, max_pixels: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(labels, colours) of the views, no larger than `max_pixels`."""
    small = [limit_size(view, max_pixels) for view in views]
    return [_things(images[view.name], known, view) for view in small], [view.rgb for view in small]


def _things(labels: np.ndarray, known: np.ndarray, view: Frame) -> np.ndarray:
    """The labels at the size of the view, UNLABELLED where they are not among those known."""
    small = resize(labels, view.camera.width, view.camera.height, smooth=False)
    return np.where(np.isin(small, known), small, UNLABELLED)


def _sharpened(
    labels: np.ndarray, view: Frame, known: np.ndarray, refiner: BorderRefiner, offset: float
) -> np.ndarray:
    """[H, W] int32 of one image; view: its frame at the size at which borders are looked for."""
    height, width = view.camera.height, view.camera.width
    taken = refiner.labels_taken(_things(labels, known, view), view.rgb, view.depth, offset)
    if taken is None:
        return labels
    small = resize(labels, width, height, smooth=False)
    moved = small[taken]
    if labels.shape == moved.shape:
        return moved
    before, after = (
        resize(image, labels.shape[1], labels.shape[0], smooth=False) for image in (small, moved)
    )
    return np.where(labels == before, after, labels)
