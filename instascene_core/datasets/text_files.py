"""Numbers in text files: tables and matrices, separated by blanks or commas."""

from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.untrusted import one_line, read_bytes

MAX_TEXT_BYTES = 64 * 2**20


def read_rows(path: Path, what: str) -> list[list[str]]:
    """The words of each line that is neither empty nor a comment (#); `what` begins sentences about the
    file."""
    try:
        text = read_bytes(path, what, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} is no text.") from error
    lines = (line.split("#", 1)[0].replace(",", " ").split() for line in text.splitlines())
    return [words for words in lines if words]


def numbers(words: list[str], path: Path, what: str) -> np.ndarray:
    """[N] float64 from words; infinity and NaN pass, for some formats mean something by them."""
    try:
        return np.array([float(word) for word in words], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{what} {path} holds '{one_line(' '.join(words), 80)}', not numbers.") from error


def read_matrix(path: Path, what: str, shape: tuple[int, int] = (4, 4)) -> np.ndarray:
    """A matrix of numbers, a row a line; InputError where it has another shape."""
    rows = [numbers(words, path, what) for words in read_rows(path, what)]
    if [len(row) for row in rows] != [shape[1]] * shape[0]:
        raise InputError(f"{what} {path} is not a matrix of {shape[0]}×{shape[1]} numbers.")
    return np.stack(rows)
