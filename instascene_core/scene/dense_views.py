"""The views with a depth in every pixel that is known: what masks, decomposition and completion work on."""

from collections.abc import Callable
from functools import partial

import numpy as np

from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.progress import ProgressCallback, no_progress, told
from instascene_core.rendering import rasterize
from instascene_core.scene.estimated_depth import checked_depth, measure_difference
from instascene_core.scene.measured_depth import combined_depth, is_coarse, measure_noise
from instascene_core.scene.results import Reconstruction
from instascene_core.stereo.triangulation import neighbours_by_pose

_Depth = Callable[[Frame, int], np.ndarray]  # of a frame and its index: [H, W] float32 metres


def dense_views(
    reconstructed: Reconstruction, config: Config, progress: ProgressCallback = no_progress
) -> list[Frame]:
    """The posed frames with their measured depth, or the Gaussians' and stereo's where a frame has none.

    Where the noise of the measured depth is coarse, it is weighted against that of the Gaussians
    (`measured_depth`), which are rendered for such frames only; where stereo estimated a depth, it counts
    where the Gaussians confirm it (`estimated_depth`).  Holes of a sensor stay holes: shiny things make them,
    and the Gaussians put the mirror image there.
    """
    frames, views = reconstructed.posed_frames, []
    of_measured = _depth_of_measured(reconstructed, config)
    of_others = _depth_of_others(reconstructed, config)
    for index, frame in told(frames, progress, "depth"):
        depth = of_measured(frame, index) if _has_depth(frame) else of_others(frame, index)
        views.append(frame if depth is frame.depth else frame.with_(depth=depth))
    return views


def _depth_of_measured(reconstructed: Reconstruction, config: Config) -> _Depth:
    """Depth of frames that a sensor measured: its own, and the Gaussians' as far as that is coarse."""
    frames, settings = reconstructed.posed_frames, config.measured_depth
    render = partial(_rendered, reconstructed, config)
    noise, compared = None, []
    if settings.combine and any(map(_has_depth, frames)):
        compared = [order.tolist() for order in neighbours_by_pose(list(frames))]
        noise = measure_noise(frames, compared, render, settings)

    def depth_of(frame: Frame, index: int) -> np.ndarray:
        if noise is None or not is_coarse(frame, noise, settings):
            return frame.require_depth()
        others = compared[index][: settings.compared_views]
        return combined_depth(frames, index, render(frame), others, noise, settings)

    return depth_of


def _depth_of_others(reconstructed: Reconstruction, config: Config) -> _Depth:
    """Depth of frames that no sensor measured: stereo's, where the Gaussians confirm it, and theirs."""
    # Beside stereo the median, which lies less deep and mixes less at outlines; alone it makes things larger.
    render = partial(_rendered, reconstructed, config, median=True)
    difference = measure_difference(reconstructed.posed_frames, render, config.estimated_depth)

    def depth_of(frame: Frame, index: int) -> np.ndarray:
        if difference is None:
            return _rendered(reconstructed, config, frame)
        return checked_depth(frame, render(frame), difference, config.estimated_depth)

    return depth_of


def _has_depth(frame: Frame) -> bool:
    return frame.depth is not None and bool((frame.depth > 0).any())


def _rendered(
    reconstructed: Reconstruction, config: Config, frame: Frame, median: bool = False
) -> np.ndarray:
    """[H, W] float32 metres of the Gaussians, mean or median along the ray; 0 where they cover less of the
    pixel than `min_depth_coverage`."""
    images = rasterize(
        reconstructed.gaussians, frame.camera, frame.world_from_camera, background=reconstructed.background
    )
    depth = images.median_depth if median else images.depth
    return np.where(images.alpha.numpy() >= config.min_depth_coverage, depth.numpy(), 0).astype(np.float32)
