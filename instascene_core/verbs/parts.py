"""`instascene parts`: what the completed objects of a saved scene consist of."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from instascene_core.errors import InputError
from instascene_core.instances import InstanceId
from instascene_core.terminal import console, progress_bars
from instascene_core.verbs.manner import Answer, Manner

if TYPE_CHECKING:
    from instascene_core.export.part_files import PartedMesh
    from instascene_core.objects import CompletedObject
    from instascene_core.parts.segment import PartSegmenter


@dataclass(frozen=True)
class Parts:
    """Name the parts of completed objects (body, handle, lid, spout ...) at three levels, coarse to fine;
    writes objects/<id>/parts.ply, parts.glb and parts.json."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`."""
    instance: tuple[int, ...] = ()
    """Ids of the objects; all where none is given."""
    level: int = 3
    """Whose parts are coloured in the PLY and are the primitives of the GLB: 1 coarse, 2 middle, 3 fine.
    The PLY has the labels of all levels."""
    weights: Path | None = None
    """Of a network of your own (python -m instascene_core.training.parts); the package's where not given."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.config import PartsConfig
        from instascene_core.export.object_loading import load_objects
        from instascene_core.export.part_files import part_facts
        from instascene_core.export.saved_scene import put_parts
        from instascene_core.parts.segment import PartSegmenter

        saved = load_objects(self.output)
        missing = sorted(set(self.instance) - set(saved))
        if missing:
            known = ", ".join(map(str, saved))
            raise InputError(f"There is no completed object {missing[0]}; known ids: {known}.")
        config = PartsConfig()
        if self.weights is not None:
            config = replace(config, weights=str(self.weights))
        segmenter = PartSegmenter.from_config(config)
        levels = len(segmenter.trained.names)
        if not 1 <= self.level <= levels:
            raise InputError(f"--level takes 1 to {levels}, not {self.level}.")
        objects = [saved[number] for number in [InstanceId(i) for i in self.instance] or saved]
        parted = {}
        with progress_bars() as progress:
            for k, thing in enumerate(objects):
                parted[thing.instance_id] = self._parted(segmenter, thing)
                progress("parts", (k + 1) / len(objects), f"object {thing.instance_id}")
        put_parts(self.output, parted)
        console.print(_table(parted, self.level - 1))
        return Answer({str(number): part_facts(one) for number, one in parted.items()})

    def _parted(self, segmenter: "PartSegmenter", thing: "CompletedObject") -> "PartedMesh":
        from instascene_core.export.asset import in_object_frame
        from instascene_core.export.part_files import PartedMesh

        mesh = in_object_frame(thing, thing.mesh)
        labels = segmenter.label_mesh(mesh)
        return PartedMesh(f"object_{thing.instance_id}", mesh, labels, self.level - 1)


def _table(parted: "dict[InstanceId, PartedMesh]", shown: int) -> Table:
    table = Table("object", "parts")
    for number, one in parted.items():
        counts = Counter(one.labels.levels[shown].names)
        names = (name if count == 1 else f"{count} × {name}" for name, count in counts.items())
        table.add_row(str(number), ", ".join(names))
    return table
