"""What the report tells of, read from the files of a saved scene."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from instascene_core.instances import instance_id_from
from instascene_core.saved_facts import read_object_facts
from instascene_core.untrusted import read_json_object
from instascene_core.viewer.report.figures import group, listed, number

LIKELY, DOUBTFUL = 0.7, 0.4  # of the confidence: from which on an object is likely, or doubtful


@dataclass(frozen=True)
class Facts:
    """A saved scene as its files describe it."""

    folder: Path
    metrics: Mapping[str, Any]  # what metrics.json holds, or will
    description: Mapping[str, Any]  # scene.json; empty where it was not written
    objects: tuple[Mapping[str, Any], ...]  # object.json of each, by id

    @classmethod
    def of(cls, folder: Path, metrics: Mapping) -> "Facts":
        """Read them.  InputError where an object's description is damaged."""
        path = folder / "scene.json"
        description = read_json_object(path) if path.is_file() else {}
        return cls(folder, metrics, description, read_objects(folder))

    @property
    def name(self) -> str:
        """What the recording is called."""
        return Path(str(self.description.get("source", ""))).name or self.folder.resolve().name

    @property
    def is_segmented(self) -> bool:
        return "instances" in self.metrics or bool(self.instances)

    @cached_property
    def instances(self) -> list[Mapping[str, Any]]:
        """The entries of scene.json that describe an instance."""
        entries = group(self.description, "instances").get("list")
        return [e for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []

    @property
    def unfinished(self) -> list[str]:
        """Ids of the objects that have no mesh."""
        done = {str(o["instance_id"]) for o in self.objects}
        return [
            str(e.get("id"))
            for e in self.instances
            if e.get("kind") == "object" and str(e.get("id")) not in done
        ]

    @cached_property
    def accuracy(self) -> list[Mapping[str, Any]]:
        """One entry an object, and one for each true one that was missed; none where no truth is known."""
        entries = group(self.metrics, "accuracy").get("objects")
        return [e for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []

    @property
    def warnings(self) -> list[str]:
        """What a person should know before they trust the scene."""
        found = []
        warning = group(self.metrics, "plausibility").get("warning")
        if warning:
            found.append(str(warning))
        damaged = group(self.metrics, "damaged_frames").get("frames")
        if names := [str(f["name"]) for f in damaged or () if isinstance(f, Mapping) and "name" in f]:
            found.append(f"Left out, as their images are damaged: {listed(names)}; metrics.json says why.")
        if count := int(number(self.metrics.get("mask_warnings")) or 0):
            found.append(f"The 2D segmenter warned {count} times; the log says of what.")
        if self.unfinished:
            found.append(f"Without a mesh: object {', '.join(self.unfinished)}.")
        open_ones = [str(o["instance_id"]) for o in self.objects if not o["watertight"]]
        if open_ones:
            found.append(f"Not watertight: object {', '.join(open_ones)}.")
        return found


def read_objects(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """object.json of all completed objects by id; InputError where one is damaged."""
    found = [read_object_facts(path.parent) for path in folder.glob("objects/*/object.json")]
    return tuple(sorted(found, key=lambda o: instance_id_from(o["instance_id"])))
