"""The support of a saved scene as one file: a closed slab without the things on it, and without holes."""

from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.export.saved_scene import load_scene
from instascene_core.files import write_bytes
from instascene_core.geometry import mesh as meshes
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.scene.background.bare import bare_support

FORMATS = ("glb", "ply", "stl")  # trimesh's; colours in the first two


def export_support(folder: Path, file: Path, progress: ProgressCallback = no_progress) -> None:
    """Write the support of the scene saved in `folder` to `file`, in the scene's frame, metres, z up.

    Raises InputError for another ending than FORMATS, a file that is there already, and a scene without a
    support plane.
    """
    kind = file.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise InputError(
            f"The support is written as {', '.join(FORMATS)}; '{file.name}' ends in none of these."
        )
    if file.exists():
        raise InputError(f"There is a file '{file}' already; name another one for the support.")
    scene = load_scene(folder, None, progress).scene
    made = bare_support(scene.state.require_decomposition(), scene.config)
    rgba = np.concatenate([made.colors, np.full((len(made.colors), 1), 255, np.uint8)], axis=1)
    data = meshes.to_trimesh(made.mesh, rgba).export(file_type=kind)
    if not isinstance(data, bytes):
        raise TypeError(f"trimesh writes {kind} as {type(data).__name__}, not as bytes.")
    write_bytes(file, data)
