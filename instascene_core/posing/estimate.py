"""From images without poses to a folder that `open_dataset` reads."""

import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.datasets.images import image_size
from instascene_core.errors import InputError
from instascene_core.files import write_json
from instascene_core.owned_folder import Layout, writing
from instascene_core.posing.images import gather_images
from instascene_core.posing.mapping import map_images, require_pycolmap
from instascene_core.posing.model import MappedImages, mapped_images
from instascene_core.posing.scale import DepthScale, KnownScale, Scale
from instascene_core.posing.upright import upright_rotation
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.transforms import OPENGL_FROM_OPENCV

logger = logging.getLogger(__name__)

POSED = Layout(
    kind="posed dataset",
    option="another folder with --output",
    files=re.compile(r"transforms\.json|(images|depth)/[^/]+|sparse/0/[^/]+"),
    folders=re.compile(r"images|depth|sparse|sparse/0"),
)
MODEL = "sparse/0"


@dataclass(frozen=True)
class Estimate:
    """What was found."""

    images: int  # that were looked at
    registered: int  # of them, with a pose
    error: float  # pixels, mean reprojection error
    scale: Scale | None  # None: not known; the median distance from cameras to points was made 1 m
    up: str  # what says where up is: "plane" or "cameras"


def estimate_poses(
    source: Path,
    output: Path,
    known: Sequence[KnownScale] = (),
    depth: DepthScale | None = None,
    max_images: int = 0,
    progress: ProgressCallback = no_progress,
) -> Estimate:
    """Register the images of `source`, a folder or a video, and write them with their poses to `output`.

    known: what gives the scale; the first counts, the others only say by how much they differ.  depth: depth
    images, which give the scale where nothing else does, and are written with the images.  max_images: at
    most so many, evenly spaced (0 = all).  `output` must be new, empty or of an earlier call.  Raises
    InputError where too few images fit together, or the scale was asked for and is not found; nothing is
    written then.
    """
    source, output = Path(source), Path(output)
    if not source.exists():
        raise InputError(f"There is nothing at {source}.")
    if max_images < 0:
        raise InputError("--max-images must not be negative.")
    require_pycolmap()
    scales = [*known, *([depth] if depth is not None else [])]
    with writing(output, POSED) as change, tempfile.TemporaryDirectory(prefix="instascene-poses-") as work:
        images = change.staging / "images"
        names, ordered = gather_images(source, images, max_images, progress)
        one_camera = len({image_size(images / name) for name in names}) == 1
        reconstruction = map_images(images, Path(work), ordered, one_camera, progress)
        mapped = mapped_images(reconstruction)
        found = [scale.find(mapped, images) for scale in scales]
        _compare(found)
        rotation, up = upright_rotation(mapped)
        factor = found[0].factor if found else _unit_distance(mapped)
        offset = -np.median(factor * mapped.points @ rotation.T, axis=0)
        mapped = mapped.moved(factor, rotation, offset)
        _write(mapped, change.staging, depth)
        _write_model(reconstruction, factor, rotation, offset, change.staging / MODEL)
        change.stale.update(change.owned)
        error = float(reconstruction.compute_mean_reprojection_error())
    return Estimate(len(names), len(mapped.names), error, found[0] if found else None, up)


def _compare(found: list[Scale]) -> None:
    for other in found[1:]:
        ratio = other.factor / found[0].factor
        logger.warning("the scale from %s is %.3f times that from %s", other.source, ratio, found[0].source)


def _unit_distance(mapped: MappedImages) -> float:
    """The factor that makes the median distance from cameras to the points they see 1."""
    return 1 / float(np.median(np.concatenate([mapped.depths(i) for i in range(len(mapped.names))])))


def _write(mapped: MappedImages, folder: Path, depth: DepthScale | None) -> None:
    """transforms.json, the depth of the registered images; images without a pose go."""
    for file in (folder / "images").iterdir():
        if file.name not in mapped.names:
            file.unlink()
    entries = []
    for name, lens, pose in zip(mapped.names, mapped.lenses, mapped.poses):
        entry: dict[str, Any] = {"file_path": f"images/{name}", "transform_matrix": pose @ OPENGL_FROM_OPENCV}
        camera, k = lens.camera, (*lens.coefficients, 0.0, 0.0, 0.0, 0.0)
        entry |= {"w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy}
        entry |= {"cx": camera.cx, "cy": camera.cy, "k1": k[0], "k2": k[1], "p1": k[2], "p2": k[3]}
        file = None if depth is None else depth.file_of(name)
        if file is not None and depth is not None:
            (folder / "depth").mkdir(exist_ok=True)
            shutil.copyfile(file, folder / "depth" / file.name)
            entry |= {"depth_file_path": f"depth/{file.name}", "depth_unit_scale_factor": depth.unit}
        entries.append(entry)
    write_json(folder / "transforms.json", {"camera_model": "OPENCV", "frames": entries})


def _write_model(
    reconstruction: Any, factor: float, rotation: np.ndarray, offset: np.ndarray, folder: Path
) -> None:
    """The COLMAP model in the same world, for other tools."""
    import pycolmap

    folder.mkdir(parents=True)
    matrix = np.column_stack([factor * rotation, offset])
    reconstruction.transform(pycolmap.Sim3d(matrix))
    reconstruction.write(str(folder))
