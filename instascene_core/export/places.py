"""How descriptions name the files they refer to."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from instascene_core.errors import InputError

RELATIVE, FILE, MODEL, PACKAGE = "relative", "file://", "model://", "package://"


def require_mesh_uri(kind: str) -> None:
    """InputError for what is no way to name a mesh."""
    if kind not in (RELATIVE, FILE, MODEL) and not re.fullmatch(rf"{PACKAGE}[A-Za-z][\w-]*", kind):
        raise InputError(
            f"Meshes are named by {RELATIVE}, {FILE}, {MODEL} or {PACKAGE}NAME (a ROS package), not '{kind}'."
        )


@dataclass(frozen=True)
class Places:
    """An output: folders of objects below one root."""

    root: Path  # absolute; where the files will be, also while they lie elsewhere
    mesh_uri: str = RELATIVE

    def uri(self, beside: str, kind: str | None = None):
        """(folder of an object, file in it) → how a description in the folder `beside` names it.

        Folders are relative to the root, with '/'.  kind: None takes that of the output.
        """
        kind = self.mesh_uri if kind is None else kind

        def name(folder: str, file: str) -> str:
            path = f"{folder}/{file}" if folder else file
            if kind == RELATIVE:
                return os.path.relpath(path, beside or ".")
            if kind == FILE:
                return (self.root / path).as_uri()
            if kind == MODEL:  # Gazebo finds a model by the name of its folder
                return f"{MODEL}{folder.rpartition('/')[2] or self.root.name}/{file}"
            return f"{kind}/{path}"

        return name


@dataclass(frozen=True)
class ObjectPlace:
    """Where the files of one object will be: an output, and a folder in it, with '/'."""

    places: Places
    folder: str

    @classmethod
    def alone(cls, folder: Path, mesh_uri: str) -> "ObjectPlace":
        """Of a folder that is no part of a scene's."""
        path = folder.absolute()
        return cls(Places(path.parent, mesh_uri), path.name)
