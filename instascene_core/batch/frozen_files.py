"""The pipeline's frozen values as files: exact to the last bit, without pickle, opened without reading.

A file is safetensors.  Its arrays are the leaves of the value, each stored once however often the value holds
it; the header's note "tree" is JSON that says how they make the value.  `read_frozen` maps the file into
memory: pages come from the disk when they are first looked at, processes of one machine share them, and what
is written to an array stays with the process.

A value may stand on another file, its `base`: arrays that come from there are referred to, not stored again.
"""

import dataclasses
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config import ClickConfig
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.files import atomic_path
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.instances import Instance, InstanceMap
from instascene_core.objects import CompletedObject, Texture
from instascene_core.scene import Decomposition, IdHistory, Reconstruction, SceneState
from instascene_core.scene.results import LazySurface
from instascene_core.segmentation import Support
from instascene_core.segmentation.support import Extent

FORM = "instascene frozen values 1"
# What a file may hold besides numbers, texts, lists, mappings and arrays.
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        ClickConfig, CompletedObject, Corrections, Decomposition, Extent, Frame, GaussianModel, IdHistory,
        Instance, InstanceMap, LazySurface, PinholeCamera, Plane, Reconstruction, SceneState, Support,
        Texture, TriangleMesh,
    )
}  # fmt: skip
_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32,
    "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
    "BOOL": np.bool_,
}  # fmt: skip
Array = np.ndarray | torch.Tensor


@dataclass(frozen=True, eq=False)
class FrozenFile:
    """A value that was read, and the arrays that it is made of."""

    value: Any
    # Leaf of the tree ("array 3", "tensor 4", "base array 1") → what stands for it in `value`
    leaves: Mapping[str, Array] = field(repr=False)


def write_frozen(path: Path, value: Any, base: FrozenFile | None = None) -> None:
    """Write `value` to `path`, the whole file or none.

    base: a file whose arrays `value` holds as well; it has to be given again on reading.  Raises InputError
    where the folder cannot be written, TypeError for a value of another kind than KINDS.
    """
    from safetensors.numpy import save_file

    writer = _Writer(base)
    tree = writer.tree_of(value)
    notes = {"format": FORM, "tree": json.dumps(tree, separators=(",", ":"))}
    with atomic_path(Path(path)) as temporary:
        save_file(writer.arrays or {"0": np.zeros(0)}, str(temporary), notes)


def read_frozen(path: Path, base: FrozenFile | None = None) -> FrozenFile:
    """The value of a file of `write_frozen`.

    Raises InputError where it is missing, cut short or another's.
    """
    arrays, tree = _mapped(Path(path))
    reader = _Reader(arrays, base)
    try:
        value = reader.value_of(tree)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"its tree does not fit it: {error!r}") from error
    return FrozenFile(value, reader.leaves)


def is_whole(path: Path) -> bool:
    """Whether `read_frozen` would find a file there that is not cut short."""
    try:
        _mapped(Path(path))
    except InputError:
        return False
    return True


class _Writer:
    """Takes a value apart."""

    def __init__(self, base: FrozenFile | None) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        # id of an array or tensor → its leaf; the objects are held, so that no id is given twice
        self._leaves = {id(array): f"base {leaf}" for leaf, array in (base.leaves if base else {}).items()}
        self._held: list[Any] = [base]

    def tree_of(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | str) or type(value) in (int, float):
            return value
        if isinstance(value, np.ndarray | torch.Tensor):
            return {"leaf": self._leaf(value)}
        if isinstance(value, np.generic):
            return {"number": self._leaf(np.asarray(value))}
        if isinstance(value, tuple | list):
            name = "tuple" if isinstance(value, tuple) else "list"
            return {name: [self.tree_of(item) for item in value]}
        if isinstance(value, Mapping):
            return {"map": [[self.tree_of(key), self.tree_of(item)] for key, item in value.items()]}
        return self._fields(value)

    def _fields(self, value: Any) -> dict:
        name = type(value).__name__
        if KINDS.get(name) is not type(value):
            raise TypeError(f"A file of frozen values holds no {type(value).__module__}.{name}.")
        if isinstance(value, LazySurface):
            return {name: self.tree_of(value.__getstate__())}
        fields = dataclasses.fields(value)
        return {name: {f.name: self.tree_of(getattr(value, f.name)) for f in fields}}

    def _leaf(self, array: Array) -> str:
        if id(array) not in self._leaves:
            number = str(len(self.arrays))
            is_tensor = isinstance(array, torch.Tensor)
            plain = array.detach().cpu().numpy() if is_tensor else array
            self.arrays[number] = np.array(plain, order="C")
            self._leaves[id(array)] = f"{'tensor' if is_tensor else 'array'} {number}"
            self._held.append(array)
        return self._leaves[id(array)]


class _Reader:
    """Puts a value together.  Not by its classes' constructors: what they check and repair was checked when
    the value was made, and a pose that is repaired twice may differ in its last bit."""

    def __init__(self, arrays: Mapping[str, np.ndarray], base: FrozenFile | None) -> None:
        self.leaves: dict[str, Array] = {}
        self._arrays, self._base = arrays, base

    def value_of(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        ((name, content),) = tree.items()
        if name == "leaf":
            return self._leaf(content)
        if name == "number":
            return self._leaf(content)[()]
        if name in ("tuple", "list"):
            items = [self.value_of(item) for item in content]
            return tuple(items) if name == "tuple" else items
        if name == "map":
            return {self.value_of(key): self.value_of(item) for key, item in content}
        kind = KINDS[name]
        made = object.__new__(kind)
        if kind is LazySurface:
            made.__setstate__(self.value_of(content))
            return made
        for f in dataclasses.fields(kind):
            object.__setattr__(made, f.name, self.value_of(content[f.name]))
        return made

    def _leaf(self, leaf: str) -> Any:
        if leaf.startswith("base "):
            if self._base is None:
                raise ValueError("the file that it stands on was not given")
            return self._base.leaves[leaf.removeprefix("base ")]
        if leaf not in self.leaves:
            kind, _, number = leaf.partition(" ")
            array = self._arrays[number]
            self.leaves[leaf] = torch.from_numpy(array) if kind == "tensor" else array
        return self.leaves[leaf]


def _mapped(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays of a safetensors file, mapped into memory, and the tree of its header."""
    try:
        size = path.stat().st_size
        if size < 8:
            raise _damaged(path, "it is cut short")
        content = np.memmap(path, dtype=np.uint8, mode="c")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    start = 8 + struct.unpack("<Q", content[:8].tobytes())[0]
    if start > size:
        raise _damaged(path, "it is cut short")
    try:
        header = json.loads(content[8:start].tobytes())
        notes = header.pop("__metadata__")
        if notes["format"] != FORM:
            raise ValueError(f"its format is {notes['format']!r}")
        arrays = {name: _array(content, start, entry) for name, entry in header.items()}
        return arrays, json.loads(notes["tree"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, str(error)) from error


def _array(content: np.ndarray, start: int, entry: Mapping[str, Any]) -> np.ndarray:
    """The array of an entry of the header, a view of `content` [bytes of the file] uint8."""
    first, last = (start + offset for offset in entry["data_offsets"])
    kind, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    if last - first != kind.itemsize * math.prod(shape) or not 8 <= first <= last <= len(content):
        raise ValueError("it is cut short")
    return np.asarray(content[first:last]).view(kind).reshape(shape)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is no whole file of frozen values ({why}); remove it, it will be made again.")
