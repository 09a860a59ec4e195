"""Where a scene's own frame lies in the world, and frames brought into it."""

import logging
from dataclasses import replace

import numpy as np

from instascene_core.frame import Frame
from instascene_core.local_frame import FARTHEST, moved, offset_for
from instascene_core.scene.results import SceneState, merged_metrics

logger = logging.getLogger(__name__)


def placed(state: SceneState, first: Frame) -> SceneState:
    """The state with the offset that its first frame, in the world, asks for."""
    position = first.world_from_camera[:3, 3]
    offset = offset_for(position)
    if not offset.any():
        return replace(state, world_offset=offset)
    distance, (x, y, z) = float(np.linalg.norm(position)), offset
    logger.warning(
        "The cameras are %.4g m from the world's origin, where 32-bit numbers are %.2g m apart: the scene is "
        "computed in a local frame, world = local + (%.12g, %.12g, %.12g) m",
        distance, float(np.spacing(np.float32(distance))), x, y, z,
    )  # fmt: skip
    metrics = merged_metrics(state.metrics, {"world_offset_m": offset.tolist()})
    return replace(state, world_offset=offset, metrics=metrics)


def localised(frame: Frame, offset: np.ndarray) -> Frame:
    """The frame with its pose, which is one of the world, in the scene's own; offset: [3] metres."""
    pose = moved(frame.world_from_camera, -offset)
    distance = float(np.linalg.norm(pose[:3, 3]))
    if distance > FARTHEST:
        logger.warning(
            "Frame '%s' is %.4g m from where the scene began, too far for 32-bit numbers: what it shows is "
            "not exact to a tenth of a millimetre; check its pose, or make a scene of its own",
            frame.name, distance,
        )  # fmt: skip
    return frame if pose is frame.world_from_camera else frame.with_(world_from_camera=pose)
