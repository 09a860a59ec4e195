"""Weights that come with the package, or that a user trained: safetensors with a format in the header."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.files import atomic_path


def read_weights(
    path: Path, form: str, of: str, advice: str = ""
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, half precision made single, and the header's notes.

    form: the header's entry "format"; of: what the weights are of; advice: what else to do, for the errors.
    Raises InputError when the file is missing, unreadable or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path, tail = Path(path), f"; {advice}." if advice else "."
    if not path.is_file():
        raise InputError(f"There are no weights of the {of} at '{path}'{tail}")
    try:
        with safe_open(str(path), framework="np") as file:
            notes = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"'{path}' is not a readable weights file ({error}){tail}") from error
    if notes.get("format") != form:
        raise InputError(f"'{path}' does not hold weights of the {of} ({form}){tail}")
    arrays = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in arrays.items()}
    return arrays, notes


def write_weights(
    path: Path, arrays: Mapping[str, np.ndarray], form: str, notes: Mapping[str, str], half: bool = True
) -> None:
    """Write arrays by name, atomically.  half: store single precision as half, which a network's weights
    do not feel."""
    from safetensors.numpy import save

    stored = {k: v.astype(np.float16) if half and v.dtype == np.float32 else v for k, v in arrays.items()}
    stored = {k: np.ascontiguousarray(v) for k, v in stored.items()}
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(save(stored, metadata={"format": form, **notes}))
