"""`instascene complete`: one object of a saved scene (again)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.errors import InputError
from instascene_core.instances import InstanceId
from instascene_core.terminal import console, progress_bars, summarise, warn
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Complete:
    """Complete one instance of a saved scene, or complete it again."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`."""
    instance: int
    """Id of the instance, as in the label images."""
    num_samples: int = 0
    """Completions to draw for the uncertainty; 0 takes the scene's setting."""
    seed: int | None = None
    """None takes the scene's setting."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.export.saved_scene import load_scene, put_object, require_savable
        from instascene_core.saved_facts import read_metrics

        with progress_bars() as progress:
            loaded = load_scene(self.output, progress=progress)
            scene = loaded.scene
            if scene.instances is None:
                raise InputError(
                    f"The scene in {self.output} was only reconstructed; `instascene run` it again, up to "
                    "segment or complete."
                )
            read_metrics(self.output)
            require_savable(self.output)
            result = scene.complete(InstanceId(self.instance), self.num_samples or None, self.seed, progress)
        views = scene.state.labelled_views
        files = put_object(self.output, result, scene.config.export, views)
        for note in (*loaded.notes, *result.notes):
            warn(note)
        facts = summarise(self.output, extra={"seconds": scene.metrics["seconds"]})
        console.print(f"{len(files)} files in {self.output / 'objects' / str(self.instance)}")
        return Answer({**facts, "files": files, "notes": [*loaded.notes, *result.notes]})
