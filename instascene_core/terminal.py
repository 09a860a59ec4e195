"""What a person sees in the terminal: progress, warnings, and the tables of a finished scene."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from instascene_core.progress import ProgressCallback
from instascene_core.untrusted import read_json_object

# No markup: names, units ([mm]) and extras ([cuda]) keep their brackets; styles are given as arguments.
console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)


def warn(sentence: str) -> None:
    """A sentence that a person should see, on stdout."""
    console.print(sentence, style="yellow", highlight=False)


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """A bar a stage; on a pipe or in a log file, a line every few seconds instead."""
    if not console.is_terminal:
        yield line_progress()
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


def line_progress(every_s: float = 2.0) -> ProgressCallback:
    """Progress as plain lines, at most one in `every_s` seconds within a stage."""
    last = {"stage": "", "time": 0.0}

    def update(stage: str, fraction: float, message: str = "") -> None:
        now = time.monotonic()
        if stage != last["stage"] or now - last["time"] > every_s:
            last.update(stage=stage, time=now)
            console.print(f"{stage:>12} {100 * fraction:3.0f} % {message}", highlight=False)

    return update


def summarise(folder: Path, ground_truth: Path | None = None, extra: dict | None = None) -> None:
    """Add accuracy (where ground truth is known) and `extra` groups to metrics.json and the report of
    a saved scene, and print its tables."""
    from instascene_core.export.object_loading import load_objects
    from instascene_core.export.saved_scene import put_metrics, require_savable
    from instascene_core.metrics import evaluate_objects
    from instascene_core.owned_folder import finish
    from instascene_core.viewer.report import metric_rows, object_rows

    finish(folder)
    metrics = read_json_object(folder / "metrics.json", f"There is no finished run in {folder}:") | (
        extra or {}
    )
    require_savable(folder)
    delivered = load_objects(folder) if any(folder.glob("objects/*/object.json")) else {}
    if ground_truth is not None:  # also where nothing was completed: then all true objects are missing
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
