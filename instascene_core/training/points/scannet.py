"""ScanNet v2 as it is downloaded → prepared scenes; its 18 classes of things.

    <scene>_vh_clean_2.ply                     vertices with colours, faces
    <scene>_vh_clean_2.0.010000.segs.json      segIndices: the segment of each vertex, our superpoints
    <scene>.aggregation.json                   segGroups: which segments are one instance, and its label
    <scene>_vh_clean_2.labels.ply              label: NYU40 class of each vertex, 0 = not annotated
    scannetv2-labels.combined.tsv              raw_category → nyu40id

The scenes lie in one folder (a split) or in a folder each; the table beside them or one folder up.  Scenes of
the test split have the mesh alone: all of them is void.
Source: https://github.com/ScanNet/ScanNet#scannet-data
"""

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from instascene_core.config.points import SuperpointConfig
from instascene_core.errors import InputError
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.superpoints import find_superpoints
from instascene_core.training.points.prepared import NOTHING, VOID, PreparedScene, write_prepared
from instascene_core.untrusted import read_bytes, read_json_object

logger = logging.getLogger(__name__)

CLASSES = (
    "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "desk",
    "curtain", "refrigerator", "shower curtain", "toilet", "sink", "bathtub", "otherfurniture",
)  # fmt: skip
NYU40 = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)  # of the classes, in order
NO_CLASS = -1
MESH, TABLE = "_vh_clean_2.ply", "scannetv2-labels.combined.tsv"
MAX_TABLE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class _Mesh:
    positions: np.ndarray  # [N, 3] float32 metres
    normals: np.ndarray  # [N, 3] float32
    colors: np.ndarray  # [N, 3] float32 RGB in [0, 1]


def prepare_scannet(source: Path, output: Path, table: Path | None = None) -> int:
    """Write every scan under `source` into the folder `output`; how many.

    table: the label TSV; None = found at the scans or above.  Raises InputError for what is missing or does
    not fit, with the file's name.
    """
    meshes = sorted(Path(source).rglob(f"*{MESH}"))
    if not meshes:
        raise InputError(f"There are no ScanNet scans (<scene>{MESH}) in '{source}'.")
    Path(output).mkdir(parents=True, exist_ok=True)
    nyu40 = read_table(table or _found_table(Path(source)))
    for mesh in meshes:
        name = mesh.name.removesuffix(MESH)
        scene = read_scan(mesh.parent, name, nyu40)
        write_prepared(Path(output) / f"{name}.npz", scene)
        logger.info("%s: %d points, %d instances", name, len(scene.cloud), max(scene.instance.max(), 0))
    return len(meshes)


def _found_table(source: Path) -> Path:
    for folder in (source, source.parent, source.parent.parent):
        if (folder / TABLE).is_file():
            return folder / TABLE
    raise InputError(f"There is no {TABLE} in '{source}' or above; say where it is with --table.")


def read_table(path: Path) -> dict[str, int]:
    """raw_category → nyu40id of ScanNet's label table."""
    text = read_bytes(path, "ScanNet's label table", MAX_TABLE_BYTES).decode("utf-8", errors="replace")
    rows = csv.DictReader(StringIO(text), delimiter="\t")
    try:
        return {row["raw_category"]: int(row["nyu40id"]) for row in rows if row["nyu40id"]}
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"'{path}' is not ScanNet's label table (raw_category, nyu40id): {error}."
        ) from error


def read_scan(folder: Path, name: str, nyu40: Mapping[str, int]) -> PreparedScene:
    """One scan.  Where it has no aggregation at all, as in the test split, everything is void, and where it
    has no segments superpoints are found."""
    mesh = _read_mesh(folder / f"{name}{MESH}")
    count = len(mesh.positions)
    spacing = cKDTree(mesh.positions).query(mesh.positions, k=min(2, count))[0].max(axis=-1)
    cloud = PointCloud(
        mesh.positions, mesh.normals, mesh.colors, np.ones(count, np.float32), spacing.astype(np.float32)
    )
    aggregation, segments = _file(folder, name, ".aggregation.json"), _file(folder, name, ".segs.json")
    if aggregation is None:
        superpoint = find_superpoints(cloud, SuperpointConfig())
        if segments is not None:
            superpoint = np.unique(_read_segments(segments, count), return_inverse=True)[1]
        nothing = np.full(count, VOID, np.int32)
        return PreparedScene(cloud, superpoint.astype(np.int32), nothing, np.full(count, NO_CLASS, np.int16))
    if segments is None:
        raise InputError(
            f"The scan '{name}' in '{folder}' has instances but no {name}{MESH[:-4]}*.segs.json."
        )
    segment = _read_segments(segments, count)
    instance, category = _instances(aggregation, segment, nyu40)
    known = _known(folder / f"{name}_vh_clean_2.labels.ply", count)
    instance[(instance == NOTHING) & ~known] = VOID
    superpoint = np.unique(segment, return_inverse=True)[1].astype(np.int32)
    return PreparedScene(cloud, superpoint, instance, category)


def _file(folder: Path, name: str, suffix: str) -> Path | None:
    """The one file of a scan with that ending: their middle parts differ between releases."""
    found = [p for p in sorted(folder.glob(f"{name}*{suffix}")) if p.name[len(name)] in "._"]
    # The high resolution mesh has files of its own.
    fine = [p for p in found if "_vh_clean_2" in p.name or p.name == f"{name}{suffix}"]
    return (fine or found or [None])[0]


def _read_ply(path: Path) -> Any:
    import trimesh

    if not path.is_file():
        raise InputError(f"There is no '{path}', which a ScanNet scan needs.")
    try:
        loaded = trimesh.load(path, process=False)
    except Exception as error:  # trimesh raises several kinds for damaged files
        raise InputError(f"'{path}' cannot be read ({error}).") from error
    if not isinstance(loaded, trimesh.Trimesh) or not len(loaded.vertices):
        raise InputError(f"'{path}' holds no mesh.")
    return loaded


def _read_mesh(path: Path) -> _Mesh:
    loaded = _read_ply(path)
    positions = np.asarray(loaded.vertices, dtype=np.float32)
    colors = getattr(loaded.visual, "vertex_colors", None)
    colors = np.zeros((0, 4)) if colors is None else colors
    colors = np.asarray(colors, dtype=np.float32)[:, :3] / 255
    normals = np.nan_to_num(np.asarray(loaded.vertex_normals, dtype=np.float32))
    if colors.shape != positions.shape or not np.isfinite(positions).all():
        raise InputError(f"'{path}' holds no finite vertices with a colour each.")
    return _Mesh(positions, normals, colors)


def _known(path: Path, count: int) -> np.ndarray:
    """[N] bool: vertices with a label."""
    raw = _read_ply(path).metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    names = getattr(getattr(raw, "dtype", None), "names", None) or ()
    labels = raw["label"] if "label" in names else None
    if labels is None or len(labels) != count:
        raise InputError(f"'{path}' does not hold a label for each of the scan's {count} vertices.")
    return np.asarray(labels).ravel() > 0


def _read_segments(path: Path, count: int) -> np.ndarray:
    """[N] int64 segment of each vertex."""
    values = read_json_object(path, "ScanNet's segments").get("segIndices")
    if not isinstance(values, list) or len(values) != count or not all(type(v) is int for v in values):
        raise InputError(f"'{path}' does not hold the segment (segIndices) of each of the {count} vertices.")
    return np.array(values, dtype=np.int64)


def _instances(path: Path, segment: np.ndarray, nyu40: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """([N] int32 instance, NOTHING where it is of none of the classes; [N] int16 class or NO_CLASS)."""
    groups = read_json_object(path, "ScanNet's aggregation").get("segGroups")
    instance = np.full(len(segment), NOTHING, np.int32)
    category = np.full(len(segment), NO_CLASS, np.int16)
    try:
        if not isinstance(groups, list):
            raise TypeError("no segGroups")
        number = 0
        for group in groups:
            members, label = [int(s) for s in group["segments"]], str(group["label"])
            if label not in nyu40:
                raise KeyError(f"the label table has no '{label}'")
            if nyu40[label] not in NYU40:
                continue
            number += 1
            mine = np.isin(segment, members)
            instance[mine], category[mine] = number, NYU40.index(nyu40[label])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{path}' is not an aggregation of ScanNet ({error}).") from error
    return instance, category
