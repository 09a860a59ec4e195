"""Files that anyone may have written, read with limits.

What a header says is checked before memory is taken for it, what refers to itself or grows out of proportion
is refused, and every fault is an InputError of one sentence.  All readers of the package use these: JSON,
YAML, .npy and images; `datasets.bag_limits` does the same for bags, `weights` for weights.
"""

import functools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from instascene_core.errors import DamagedImage, InputError

if TYPE_CHECKING:
    from PIL import Image

MAX_JSON_BYTES = 64 * 2**20  # a frame takes 1 to 2 kB; Python takes up to 25 times as much for what is in it
MAX_YAML_BYTES = 4 * 2**20
MAX_DEPTH = 50  # of YAML; settings have four
MAX_YAML_NODES = 200_000  # with what every alias stands for
MAX_PIXELS = 120_000_000  # of one image: the largest cameras have 102 million
MAX_INTEGER = 2**63 - 1
# The formats of cameras and datasets, those that `preinit` loads first; others that PIL knows run programs
# (EPS) or hold documents.
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "TIFF", "WEBP")


def read_bytes(path: Path, what: str, limit: int) -> bytes:
    """A file's contents.  InputError, beginning with `what`, where it cannot be read or has more than `limit`
    bytes."""
    path = Path(path)
    try:
        if not path.is_file():  # also a device or pipe, which would never end
            raise InputError(f"{what} {path} cannot be read: {_no_file(path)}.")
        size = path.stat().st_size
        if size > limit:
            raise InputError(f"{what} {path} has {size:,} bytes; at most {limit:,} are read.")
        with path.open("rb") as file:
            return file.read(limit + 1)[:limit]
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}.") from error


def _no_file(path: Path) -> str:
    """What is there in place of a file."""
    if path.is_dir():
        return "it is a folder"
    return "it is a pipe or a device, not a file" if path.exists() else "there is no such file"


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────


def read_json(path: Path, what: str = "The file") -> Any:
    """The value in a JSON file, with or without a byte order mark."""
    return parse_json(read_bytes(path, what, MAX_JSON_BYTES), f"{what} {path}")


def read_json_object(path: Path, what: str = "The file") -> dict[str, Any]:
    """The object in a JSON file."""
    value = read_json(path, what)
    if not isinstance(value, dict):
        raise InputError(f"{what} {path} holds no JSON object.")
    return value


def parse_json(content: bytes, where: str) -> Any:
    """The value that JSON text stands for; `where` begins the sentences about it."""
    try:
        return json.loads(content.decode("utf-8-sig"), parse_int=_integer, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not readable JSON (it is no UTF-8 text).") from error
    except RecursionError as error:
        raise InputError(f"{where} is nested too deeply.") from error
    except ValueError as error:
        raise InputError(f"{where} is not readable JSON ({error}).") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one key neither is taken: Python would take the last, other readers the first."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key '{one_line(twice, 80)}' stands twice in one object")
    return made


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) < 21 else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        raise ValueError(f"the number {digits[:12]}… is out of range")
    return number


# ── YAML ──────────────────────────────────────────────────────────────────────────────────────────


def read_yaml(path: Path, what: str = "The file") -> Any:
    """The value in a YAML file."""
    try:
        text = read_bytes(path, what, MAX_YAML_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} is not valid YAML (it is no UTF-8 text).") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The value that YAML text stands for; `where` begins the sentences about it.

    Plain values only.  Aliases count as what they stand for: ten lists of ten aliases each of the one before
    are ten thousand million values in a kilobyte.
    """
    import yaml

    kind = _yaml_loader()
    loader = kind(text)
    try:
        _require_shallow(yaml.parse(text, kind), where)  # libyaml's composer would overflow the stack
        node = loader.get_single_node()
        if node is None:
            return None
        _require_small(node, where)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise InputError(f"{where} is not valid YAML{line}.") from error
    except RecursionError as error:
        raise InputError(f"{where} is nested too deeply.") from error
    except (ValueError, OverflowError) as error:  # a date or number that there is not
        raise InputError(f"{where} is not valid YAML ({error}).") from error
    finally:
        loader.dispose()


@functools.cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader, to which 1e-3 is a number as it is to people and ROS; YAML 1.1 wants 1.0e-3."""
    import yaml

    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    number = r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|[-+]?\.[0-9]+[eE][-+]?[0-9]+"
    loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"(?:{number})$"), "-+.0123456789")
    return loader


def _require_shallow(events: Iterable[Any], where: str) -> None:
    """InputError where YAML collections lie deeper than MAX_DEPTH in one another."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith(("SequenceStartEvent", "MappingStartEvent"))
        depth -= name.endswith(("SequenceEndEvent", "MappingEndEvent"))
        if depth > MAX_DEPTH:
            raise InputError(f"{where} is nested too deeply.")


def _require_small(node: Any, where: str) -> None:
    """InputError where a composed YAML document refers to itself or stands for too many values."""
    sizes: dict[int, int | None] = {}

    def size(node: Any) -> int:
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise InputError(f"{where} holds a value that refers to itself.")
            return known
        sizes[id(node)] = None  # on the way
        if isinstance(node.value, str):
            if node.tag.endswith(":int") and len(node.value) > 70:  # the longest are binary
                raise InputError(f"{where} holds the number {node.value[:12]}…, which is out of range.")
            total = 1
        else:
            _require_once(node, where)
            parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            total = 1 + sum(size(part) for part in parts)
        if total > MAX_YAML_NODES:
            raise InputError(f"{where} stands for more than {MAX_YAML_NODES:,} values.")
        sizes[id(node)] = total
        return total

    size(node)


def _require_once(node: Any, where: str) -> None:
    """InputError where a YAML mapping has a key twice, of which the last would win."""
    known: set[tuple[str, str]] = set()
    for item in node.value:
        key = item[0] if isinstance(item, tuple) else None
        if key is not None and isinstance(key.value, str):
            if (key.tag, key.value) in known:
                line = key.start_mark.line + 1
                raise InputError(f"{where} says '{one_line(key.value, 60)}' twice (line {line}); leave one.")
            known.add((key.tag, key.value))


# ── arrays ────────────────────────────────────────────────────────────────────────────────────────


def read_npy(path: Path, what: str = "The file") -> np.ndarray:
    """The numbers in an .npy file, whose header must agree with the file's size."""
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{what} {path} is missing.")
        with path.open("rb") as file:
            return parse_npy(file, os.fstat(file.fileno()).st_size, f"{what} {path}")
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}.") from error


def parse_npy(file: IO[bytes], size: int, where: str) -> np.ndarray:
    """The numbers in a stream of `size` bytes in .npy format; `where` begins the sentences about it."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, column_major, dtype = read_header(file)
        there = size - file.tell()
        count = 1
        for side in shape:
            count *= side
        if dtype.kind not in "uifb":
            raise InputError(f"{where} holds {dtype}, not numbers.")
        if min(shape, default=0) < 0 or count > MAX_PIXELS or count * dtype.itemsize != there:
            raise InputError(
                f"{where} says that it holds {_by(shape)} values {dtype}; it has {there:,} bytes."
            )
        values = np.frombuffer(file.read(there), dtype, count)
        order = "F" if column_major else "C"
        return values.reshape(shape, order=order).astype(dtype.newbyteorder("="))
    except InputError:
        raise
    except Exception as error:  # numpy's header parser raises many kinds (also of Python's own parser)
        raise InputError(f"{where} is not a readable .npy array.") from error


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "no"


# ── images ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def opened_image(path: Path, what: str = "The image") -> "Iterator[Image.Image]":
    """A PIL image of a file, its pixels not yet decoded; errors of the block name the file."""
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{what} {path} is missing.")
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}.") from error
    with _opened(path, f"{what} {path}", f"The file {path}") as image:
        yield image


@contextmanager
def decoded_image(data: bytes, what: str) -> "Iterator[Image.Image]":
    """The same of an encoded image in memory; `what` begins the sentences about it."""
    with _opened(BytesIO(data), what, what) as image:
        yield image


@contextmanager
def _opened(source: Path | BytesIO, what: str, file: str) -> "Iterator[Image.Image]":
    from PIL import Image

    try:
        Image.preinit()  # asked for a format that is not loaded, PIL loads all that it knows: 50 ms
        image = Image.open(source, formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{what} has more pixels than the {MAX_PIXELS // 10**6} million that are read; make it smaller."
        ) from error
    except Exception as error:  # the many formats' headers raise many kinds
        raise DamagedImage(f"{file} cannot be decoded: it is not an image that can be read.") from error
    with image:
        require_pixels(*image.size, what)
        try:
            yield image
        except (InputError, MemoryError):
            raise
        except Exception as error:  # PIL decodes late, and its decoders raise many kinds
            raise DamagedImage(f"{what} is truncated or corrupt.") from error


def require_pixels(width: int, height: int, what: str) -> None:
    """InputError where an image of that size is empty or more than is read."""
    if width < 1 or height < 1:
        raise InputError(f"{what} is empty ({width}×{height}).")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{what} has {width}×{height} pixels; at most {MAX_PIXELS // 10**6} million are read: make it "
            "smaller."
        )


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def one_line(text: object, limit: int = 300) -> str:
    """Text for a sentence: a single line of at most `limit` characters that any terminal takes."""
    line = re.sub(r"\s+", " ", str(text)).strip()[:limit]
    return line.encode("utf-8", "backslashreplace").decode()
