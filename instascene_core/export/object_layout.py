"""The names of an object's files, and whose they are."""

import re
from pathlib import Path

from instascene_core.owned_folder import Layout
from instascene_core.untrusted import read_json

# The names of all files that `write_object` and `write_parts` make, and of the folders; see
# `object_files.WRITERS` and `part_files`.
OBJECT_FILES = (
    r"mesh\.(ply|glb|stl|obj|mtl|png)|mesh_lod\d\.glb|object\.(json|urdf|xml|usda)|model\.(sdf|config)"
    r"|parts\.(ply|glb|json)"
    r"|collision/(part_\d{3,}|visual)\.obj"  # visual: of earlier versions
)
OBJECT_FOLDERS = r"collision"


def _earlier_object(folder: Path) -> frozenset[str]:
    """The object's files in a folder that was written before there were manifests."""
    try:
        known = isinstance(read_json(folder / "object.json")["instance_id"], int)
    except (ValueError, KeyError, TypeError):
        return frozenset()
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*")) if known else ()
    return frozenset(name for name in names if re.fullmatch(OBJECT_FILES, name))


OBJECT = Layout(
    "object",
    "another folder with --to",
    re.compile(OBJECT_FILES),
    re.compile(OBJECT_FOLDERS),
    _earlier_object,
)


def stale_collision(written: frozenset[str], owned: frozenset[str]) -> set[str]:
    """Which of the files `owned` are collision bodies of an object whose bodies are written anew.

    Names may begin with the object's own folder.
    """
    renewed = {start for name in written for start, found, _ in [name.rpartition("collision/")] if found}
    return {name for name in owned if any(name.startswith(f"{start}collision/") for start in renewed)}
