"""Folders that requests may name."""

from pathlib import Path, PurePosixPath

from instascene_core.errors import InputError


def folder_under(data_folder: Path, name: str, default: str = "scene") -> Path:
    """The folder `name` below `data_folder`; InputError when the name would leave it."""
    name = name.strip() or default
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name or name == ".":
        raise InputError(
            f"The name '{name}' must be a folder name under the node's data_dir, "
            "without '..' or a leading '/'."
        )
    if not name.isprintable():
        raise InputError(f"The name {name!r} must be of letters that can be printed.")
    if any(part.startswith(".") for part in parts):
        raise InputError(f"The name '{name}' must not begin with a dot.")
    folder = data_folder.joinpath(*parts)
    if not folder.resolve().is_relative_to(data_folder.resolve()):
        raise InputError(f"The name '{name}' leads out of the node's data_dir through a link.")
    return folder
