"""`instascene settle`: whether a saved scene stands still in a simulator."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from instascene_core.errors import InputError
from instascene_core.terminal import console
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Settle:
    """Let the objects of a saved scene go in MuJoCo, and say how far each moves, tilts and overlaps; also
    into the scene's metrics and report."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`, with scene.xml."""
    seconds: float = 2.0
    """Of simulated time."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.export.saved_scene import put_metrics, require_savable
        from instascene_core.export.settling import settle, settling_facts
        from instascene_core.saved_facts import read_metrics

        if not 0 < self.seconds <= 60:
            raise InputError(f"--seconds takes more than 0 and at most 60, not {self.seconds:g}.")
        metrics = read_metrics(self.output)
        require_savable(self.output)
        settled = settle(self.output, self.seconds)
        facts = settling_facts(settled, self.seconds)
        put_metrics(self.output, {**metrics, "settle": facts})
        table = Table("object", "drift [mm]", "tilt [°]", "overlap at first [mm]", "at last [mm]")
        for one in settled:
            numbers = (1000 * one.drift, one.tilt, 1000 * one.start_penetration, 1000 * one.penetration)
            table.add_row(one.name, *(f"{value:.1f}" for value in numbers))
        console.print(table)
        count = sum(one.stays for one in settled)
        console.print(
            f"{count} of {len(settled)} stay within 1 cm and 5° in {self.seconds:g} s", highlight=False
        )
        return Answer(facts)
