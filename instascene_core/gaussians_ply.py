"""Gaussians as PLY files, in the layout that splat viewers and the 2DGS / 3DGS tools exchange.

Vertex properties: x y z, nx ny nz, f_dc_0..2, f_rest_* (channel-major: all of red's coefficients
first), opacity (logit), scale_0 scale_1 scale_2 (log metres), rot_0..3 (wxyz), all float32; ours
add `instance_id` (int32) and `feature_0..15`, which other readers ignore.  A disk has no third
scale; viewers of 3D Gaussians need one, so a thin one is written and dropped on reading.

The format is read and written here because the library for it, plyfile, is under the GPL, whose terms
would then hold for everyone who passes this package on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from instascene_core.errors import InputError
from instascene_core.files import write_bytes
from instascene_core.frame import UNLABELLED
from instascene_core.gaussians import GaussianModel
from instascene_core.transforms import matrix_from_quaternion, quaternion_from_matrix

# The written third scale is this factor of the smaller tangent one: it looks flat, and is always the
# smallest, so that reading back finds the disk's normal where it was.
_LOG_THICKNESS = float(np.log(1e-2))

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_MAX_HEADER_BYTES = 64 * 1024
_REQUIRED = (
    "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1",
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


@dataclass(frozen=True)
class GaussianFile:
    """What a Gaussian PLY holds."""

    gaussians: GaussianModel
    instance_ids: np.ndarray | None  # [N] int32, UNLABELLED or an id ≥ 1; None where the file has none


def write_gaussians(
    path: Path | str, gaussians: GaussianModel, instance_ids: np.ndarray | None = None
) -> None:
    """Write `gaussians` and their instance ids ([N] int32, UNLABELLED or ≥ 1) to a PLY file, atomically.

    Raises InputError when the ids do not fit the Gaussians or the file cannot be written.
    """
    path = Path(path)
    n = len(gaussians)
    if instance_ids is None:
        instance_ids = np.full(n, UNLABELLED, dtype=np.int32)
    instance_ids = np.asarray(instance_ids)
    if instance_ids.shape != (n,) or not np.issubdtype(instance_ids.dtype, np.integer):
        raise InputError(
            f"Instance ids are {instance_ids.shape} {instance_ids.dtype}, expected ({n},) integers."
        )
    columns = _columns(gaussians)
    dtype = [(name, "<f4") for name in columns] + [("instance_id", "<i4")]
    vertices = np.empty(n, dtype=dtype)
    for name, values in columns.items():
        vertices[name] = values
    vertices["instance_id"] = instance_ids
    lines = ["ply", "format binary_little_endian 1.0", "comment written by instascene", f"element vertex {n}"]
    lines += [f"property float {name}" for name in columns] + ["property int instance_id", "end_header", ""]
    write_bytes(path, "\n".join(lines).encode("ascii") + vertices.tobytes())


def read_gaussians(path: Path | str) -> GaussianFile:
    """Read a Gaussian PLY: ours, 2DGS (two scales) or 3DGS (three; the thinnest axis becomes the normal).

    Raises InputError when the file is absent, cut short, not a PLY, or not one of Gaussians.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"The Gaussian file {path} cannot be read: {error.strerror}.") from error
    vertices = _parse_ply(data, path)
    names = vertices.dtype.names or ()
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise InputError(f"{path} is not a file of Gaussians: it has no {', '.join(missing)}.")
    gaussians = _model_from_vertices(vertices, path)
    ids = vertices["instance_id"].astype(np.int32) if "instance_id" in names else None
    return GaussianFile(gaussians, ids)


def _columns(gaussians: GaussianModel) -> dict[str, np.ndarray]:
    """Property name → [N] float32, in file order."""
    model = gaussians.detached()
    n = len(model)

    def flat(tensor: torch.Tensor) -> np.ndarray:
        array = tensor.cpu().numpy().astype(np.float32)
        return array.reshape(n, int(np.prod(array.shape[1:])))

    log_scales, sh = flat(model.log_scales), model.sh.cpu()
    thin = log_scales.min(axis=1, keepdims=True) + np.float32(_LOG_THICKNESS)
    groups: list[tuple[tuple[str, ...], np.ndarray]] = [
        (("x", "y", "z"), flat(model.means)),
        (("nx", "ny", "nz"), flat(model.normals)),
        (("f_dc_0", "f_dc_1", "f_dc_2"), flat(sh[:, 0])),
    ]
    rest = flat(sh[:, 1:].transpose(1, 2).contiguous()) if sh.shape[1] > 1 else np.empty((n, 0), np.float32)
    groups += [
        (tuple(f"f_rest_{i}" for i in range(rest.shape[1])), rest),
        (("opacity",), flat(model.logit_opacities)),
        (("scale_0", "scale_1", "scale_2"), np.concatenate([log_scales, thin], axis=1)),
        (tuple(f"rot_{i}" for i in range(4)), flat(model.quaternions)),
    ]
    if model.features is not None:
        features = flat(model.features)
        groups.append((tuple(f"feature_{i}" for i in range(features.shape[1])), features))
    return {name: values[:, i] for names, values in groups for i, name in enumerate(names)}


def _model_from_vertices(vertices: np.ndarray, path: Path) -> GaussianModel:
    names = vertices.dtype.names or ()

    def stack(wanted: list[str]) -> np.ndarray:
        return np.stack([vertices[name].astype(np.float32) for name in wanted], axis=-1)

    n_rest = sum(name.startswith("f_rest_") for name in names)
    if n_rest not in (0, 9, 24, 45):
        raise InputError(f"{path} has {n_rest} f_rest_* properties; 0, 9, 24 or 45 are spherical harmonics.")
    n = len(vertices)
    sh = stack(["f_dc_0", "f_dc_1", "f_dc_2"])[:, None]
    if n_rest:
        rest = stack([f"f_rest_{i}" for i in range(n_rest)]).reshape(n, 3, n_rest // 3)
        sh = np.concatenate([sh, rest.transpose(0, 2, 1)], axis=1)
    quaternions = stack([f"rot_{i}" for i in range(4)])
    log_scales = stack([f"scale_{i}" for i in range(3 if "scale_2" in names else 2)])
    values = (stack(["x", "y", "z", "opacity"]), sh, quaternions, log_scales)
    if (
        not all(np.isfinite(v).all() for v in values)
        or (np.abs(quaternions).max(axis=1, initial=0) == 0).any()
    ):
        raise InputError(f"{path} holds Gaussians with NaN, infinite or zero-rotation parameters.")
    if log_scales.shape[1] == 3:
        quaternions, log_scales = _flatten(quaternions, log_scales)
    n_features = sum(name.startswith("feature_") for name in names)
    features = stack([f"feature_{i}" for i in range(n_features)]) if n_features else None
    return GaussianModel(
        means=torch.from_numpy(stack(["x", "y", "z"])),
        quaternions=torch.from_numpy(quaternions),
        log_scales=torch.from_numpy(np.ascontiguousarray(log_scales)),
        logit_opacities=torch.from_numpy(vertices["opacity"].astype(np.float32)),
        sh=torch.from_numpy(np.ascontiguousarray(sh)),
        features=None if features is None else torch.from_numpy(features),
    )


def _flatten(quaternions: np.ndarray, log_scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ellipsoids to disks: the thinnest axis becomes column 2 of the rotation, the others the tangents.

    Disks ([N, 3] scales whose third is the smallest) keep their bits.
    """
    thinnest = log_scales.argmin(axis=1)
    changed = np.flatnonzero(thinnest != 2)
    tangents = log_scales[:, :2].copy()
    if len(changed):
        # Cyclic permutations are rotations, so the columns stay right-handed.
        order = (thinnest[changed, None] + np.array([1, 2, 0])) % 3  # [M, 3]
        rotations = matrix_from_quaternion(quaternions[changed])
        rotations = np.take_along_axis(rotations, order[:, None, :], axis=2)
        quaternions = quaternions.copy()
        quaternions[changed] = quaternion_from_matrix(rotations).astype(np.float32)
        tangents[changed] = np.take_along_axis(log_scales[changed], order[:, :2], axis=1)
    return quaternions, tangents


def _parse_ply(data: bytes, path: Path) -> np.ndarray:
    """The vertex element of a PLY file as a structured array."""
    end = data.find(b"end_header", 0, _MAX_HEADER_BYTES)
    if not data.startswith(b"ply") or end < 0:
        raise InputError(f"{path} is not a PLY file.")
    start = data.find(b"\n", end) + 1
    byte_order, elements = _parse_header(data[:end].decode("ascii", errors="replace"), path)
    for name, count, properties in elements:
        dtype = np.dtype([(p, byte_order + t) for p, t in properties])
        if name != "vertex":
            if any(t == "list" for _, t in properties):
                break  # of unknown length: what follows cannot be found
            start += count * dtype.itemsize
            continue
        if byte_order == "":  # ascii
            return _parse_ascii(data[start:], count, dtype, path)
        if len(data) - start < count * dtype.itemsize:
            whole = max(0, len(data) - start) // dtype.itemsize
            raise InputError(f"{path} is cut short: {count} Gaussians announced, {whole} there.")
        return np.frombuffer(data, dtype, count, start)
    raise InputError(f"{path} has no vertices.")


def _parse_header(header: str, path: Path) -> tuple[str, list[tuple[str, int, list[tuple[str, str]]]]]:
    """(byte order "<", ">" or "" = ascii; elements as (name, count, [(property, numpy type)]))."""
    orders = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
    byte_order, elements = None, []
    try:
        for line in header.splitlines():
            words = line.split()
            if words[:1] == ["format"]:
                byte_order = orders[words[1]]
            elif words[:1] == ["element"]:
                elements.append((words[1], int(words[2]), []))
            elif words[:1] == ["property"]:
                if words[1] == "list" and elements[-1][0] == "vertex":
                    raise KeyError("list")
                elements[-1][2].append((words[-1], _PLY_TYPES.get(words[1], words[1])))
        if byte_order is None or any(count < 0 for _, count, _ in elements):
            raise KeyError("format")
        known = {*_PLY_TYPES.values(), "list"}
        if any(kind not in known for _, _, properties in elements for _, kind in properties):
            raise KeyError("type")
        names = [name for element, _, properties in elements if element == "vertex" for name, _ in properties]
        if len(set(names)) < len(names):
            raise KeyError("repeated property")
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"The PLY header of {path} is broken ({error}).") from error
    return byte_order, elements


def _parse_ascii(body: bytes, count: int, dtype: np.dtype, path: Path) -> np.ndarray:
    names = dtype.names or ()
    try:
        rows = np.array(body.split()[: count * len(names)], dtype=np.float64).reshape(count, len(names))
    except ValueError as error:
        raise InputError(f"{path} is cut short or holds something else than numbers.") from error
    vertices = np.empty(count, dtype=dtype)
    for i, name in enumerate(names):
        vertices[name] = rows[:, i]
    return vertices
