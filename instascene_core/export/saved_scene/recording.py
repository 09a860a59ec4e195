"""The frames of a scene as a nerfstudio folder, for scenes whose input was never on disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instascene_core.export.saved_scene.depth_images import depth_unit, write_depth
from instascene_core.files import write_image, write_json
from instascene_core.frame import Frame, image_from_labels
from instascene_core.local_frame import moved
from instascene_core.transforms import OPENGL_FROM_OPENCV


def write_recording(folder: Path, frames: Sequence[Frame], world_offset: np.ndarray | None = None) -> None:
    """Write images, depth and given masks, and a transforms.json with one camera a frame.

    Depth is rounded to a 65535th of the largest: 0.1 mm at 6.5 m.  world_offset: [3] metres from the frames'
    frame to the world, which the file is in; None = 0.
    """
    offset = np.zeros(3) if world_offset is None else world_offset
    entries = []
    for frame in frames:
        entry = {
            "file_path": f"images/{frame.name}.png",
            "timestamp": frame.stamp,
            "transform_matrix": moved(frame.world_from_camera, offset) @ OPENGL_FROM_OPENCV,
            "w": frame.camera.width,
            "h": frame.camera.height,
            "fl_x": frame.camera.fx,
            "fl_y": frame.camera.fy,
            "cx": frame.camera.cx,
            "cy": frame.camera.cy,
        }
        write_image(folder / entry["file_path"], frame.rgb)
        if frame.depth is not None and frame.depth.any():
            entry["depth_file_path"] = f"depth/{frame.name}.png"
        if frame.labels is not None:
            entry["label_file_path"] = f"masks/{frame.name}.png"
            write_image(folder / entry["label_file_path"], image_from_labels(frame.labels))
        entries.append(entry)
    unit = depth_unit(frame.depth for frame in frames)
    for frame, entry in zip(frames, entries):
        if frame.depth is not None and "depth_file_path" in entry:
            write_depth(folder / entry["depth_file_path"], frame.depth, unit)
    write_json(folder / "transforms.json", {"depth_unit_scale_factor": unit, "frames": entries})
