"""`instascene synth`: a procedural scene with exact ground truth."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.terminal import console, progress_bars
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Synth:
    """Generate a procedural scene, a table or a flat, with exact ground truth, in the layout `run` reads."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder to write: new, empty, or with a scene of an earlier `synth`, which is replaced."""
    seed: int = 0
    objects: int = 8
    """Number of objects on the table; of a flat, in all rooms."""
    views: int = 60
    """Of a flat, in all rooms."""
    layout: str = "pile"
    """How things are brought together: pile, spread, twins, contents, thin, shelf, bin, stacks and more on a
    table, or `rooms`: a flat, rooms with doors between them, furniture, and a walk through."""
    rooms: int = 6
    """Of a flat."""
    width: int = 320
    height: int = 240
    sensor: str = "perfect"
    """Camera that records it: perfect, d435, kinect, tof or lidar; all but the first err in colour, depth and
    poses as real ones do."""
    glass: float = 0.0
    """Share of objects that are clear."""
    mirrors: float = 0.0
    """Share of objects that mirror."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.synthetic import (
            SyntheticConfig,
            generate_scene,
            require_dataset_writable,
            write_dataset,
        )

        config = SyntheticConfig(
            seed=self.seed,
            num_objects=self.objects,
            num_views=self.views,
            width=self.width,
            height=self.height,
            layout=self.layout,
            rooms=self.rooms,
            sensor=self.sensor,
            glass_fraction=self.glass,
            mirror_fraction=self.mirrors,
        )
        require_dataset_writable(self.output)
        with progress_bars() as progress:
            write_dataset(generate_scene(config, progress), self.output, progress)
        console.print(f"Scene with {self.objects} objects and {self.views} views written to {self.output}")
        return Answer({"folder": self.output, **asdict(config)})
