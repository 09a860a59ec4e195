"""Scenes as the network learns from them: points, superpoints and the truth, one file a scene, no pickle."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.files import TEMPORARY, atomic_path
from instascene_core.segmentation.points_network.cloud import PointCloud

NOTHING, VOID = 0, -1  # in `instance`: of no object; not annotated
FORMAT = "instascene points 1"


@dataclass(frozen=True)
class PreparedScene:
    """One scene with its truth."""

    cloud: PointCloud
    superpoint: np.ndarray  # [N] int32, 0 … S − 1
    instance: np.ndarray  # [N] int32: ≥ 1 true instance, NOTHING or VOID
    category: np.ndarray  # [N] int16 class of the point, 0 where there is but one; < 0 = none


def write_prepared(path: Path, scene: PreparedScene) -> None:
    """Atomically; normals in 1/127, colours in 1/255, opacities in 1/255."""
    cloud = scene.cloud
    arrays = {
        "format": np.array(FORMAT),
        "positions": cloud.positions,
        "normals": np.round(cloud.normals * 127).astype(np.int8),
        "colors": np.round(cloud.colors * 255).astype(np.uint8),
        "opacities": np.round(cloud.opacities * 255).astype(np.uint8),
        "scales": cloud.scales.astype(np.float16),
        "superpoint": scene.superpoint.astype(np.int32),
        "instance": scene.instance.astype(np.int32),
        "category": scene.category.astype(np.int16),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_prepared(path: Path) -> PreparedScene:
    """What `write_prepared` wrote.  Raises InputError where the file is missing or of another kind."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["format"]) != FORMAT:
                raise KeyError("format")
            normals = file["normals"].astype(np.float32)
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
            cloud = PointCloud(
                file["positions"], normals, file["colors"].astype(np.float32) / 255,
                file["opacities"].astype(np.float32) / 255, file["scales"].astype(np.float32),
            )  # fmt: skip
            scene = PreparedScene(cloud, file["superpoint"], file["instance"], file["category"])
    except FileNotFoundError as error:
        raise InputError(f"There is no prepared scene '{path}'; make it with `prepare`.") from error
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"'{path}' is not a prepared scene ({error}); make it anew with `prepare`."
        ) from error
    shape = (len(scene.cloud),)
    if not scene.superpoint.shape == scene.instance.shape == scene.category.shape == shape:
        raise InputError(f"'{path}' holds labels of other points; make it anew with `prepare`.")
    return scene


def selected(scene: PreparedScene, index: np.ndarray) -> PreparedScene:
    """The points at `index`, superpoints numbered anew without gaps."""
    _, superpoint = np.unique(scene.superpoint[index], return_inverse=True)
    return replace(
        scene,
        cloud=scene.cloud.select(index),
        superpoint=superpoint.astype(np.int32),
        instance=scene.instance[index],
        category=scene.category[index],
    )


def prepared_scenes(folder: Path) -> list[Path]:
    """The files of a folder in order, those that are whole.  Raises InputError where there are none."""
    paths = sorted(p for p in Path(folder).glob("*.npz") if not p.name.startswith(TEMPORARY))
    if not paths:
        raise InputError(f"There are no prepared scenes (*.npz) in '{folder}'; make them with `prepare`.")
    return paths
