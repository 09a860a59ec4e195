"""What a person sees in the terminal: progress, warnings, and the tables of a finished scene."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from instascene_core.progress import ProgressCallback, no_progress


def _console() -> Console:
    # No markup: names, units ([mm]) and extras ([cuda]) keep their brackets; styles are given as arguments.
    return Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)


console = _console()  # progress, results
warnings = _console()


def speak(as_json: bool = False, quiet: bool = False) -> None:
    """How the command speaks from here on: on stdout.

    as_json: stdout is for the JSON at the end, all else goes to stderr.  quiet: neither progress nor results,
    only warnings, on stderr.
    """
    console.stderr, console.quiet = as_json, quiet
    warnings.stderr = as_json or quiet


def warn(sentence: str) -> None:
    """A sentence that a person should see."""
    warnings.print(sentence, style="yellow", highlight=False)


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """A bar a stage; on a pipe or in a log file, a line every few seconds instead."""
    if console.quiet:
        yield no_progress
        return
    if not console.is_terminal:
        lines = LineProgress()
        yield lines
        lines.finish()
        return
    columns = (TextColumn("{task.description:>12}", markup=False), BarColumn(),
               TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(),
               TextColumn("{task.fields[message]}", markup=False))  # fmt: skip
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, fraction: float, message: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0, message="")
            bars.update(tasks[stage], completed=fraction, message=message)

        yield update


class LineProgress:
    """Progress as plain lines: at most one in `every_s` seconds within a stage, and always the last
    that a stage said, before the next one begins."""

    def __init__(self, every_s: float = 2.0) -> None:
        self._every_s, self._stage, self._time = every_s, "", 0.0
        self._unsaid = ""  # the stage's newest line, where it was not printed

    def __call__(self, stage: str, fraction: float, message: str = "") -> None:
        if stage != self._stage:
            self.finish()
        now = time.monotonic()
        line = f"{stage:>12} {100 * fraction:3.0f} % {message}"
        if stage != self._stage or now - self._time > self._every_s:
            self._stage, self._time, self._unsaid = stage, now, ""
            console.print(line, highlight=False)
        else:
            self._unsaid = line

    def finish(self) -> None:
        """Print the newest line, where it was not."""
        if self._unsaid:
            console.print(self._unsaid, highlight=False)
            self._unsaid = ""


def summarise(folder: Path, ground_truth: Path | None = None, extra: dict | None = None) -> dict[str, Any]:
    """Add accuracy (where ground truth is known) and `extra` groups to metrics.json and the report of
    a saved scene, and print its tables; the same as facts: `folder`, `report`, `objects` (each as in its
    object.json) and `metrics`."""
    from instascene_core.export.object_loading import load_objects
    from instascene_core.export.saved_scene import put_metrics, require_savable
    from instascene_core.instances import instance_id_from
    from instascene_core.metrics import evaluate_objects
    from instascene_core.owned_folder import finish
    from instascene_core.saved_facts import read_metrics, read_object_facts
    from instascene_core.viewer.report import metric_rows, object_rows

    finish(folder)
    metrics = read_metrics(folder) | (extra or {})
    require_savable(folder)
    objects = [read_object_facts(path.parent) for path in folder.glob("objects/*/object.json")]
    if ground_truth is not None:  # also where nothing was completed: then all true objects are missing
        delivered = load_objects(folder) if objects else {}
        metrics["accuracy"] = evaluate_objects(delivered, ground_truth).as_dict()
    report = put_metrics(folder, metrics)
    header, rows = object_rows(folder, metrics)
    for columns, lines in ((header, rows), (("measured", "value"), metric_rows(metrics))):
        if lines:
            table = Table(*columns)
            for line in lines:
                table.add_row(*line)
            console.print(table)
    console.print(f"Files, pictures and report: {report}")
    objects.sort(key=lambda facts: instance_id_from(facts["instance_id"]))
    return {"folder": folder, "report": report, "objects": objects, "metrics": metrics}
