"""`instascene batch`: many recordings, on this machine or a cluster."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.table import Table

from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.terminal import console, progress_bars, warn
from instascene_core.verbs.manner import Answer, Manner
from instascene_core.verbs.run import bag_topics

if TYPE_CHECKING:
    from instascene_core.batch import BatchResult, Reading
    from instascene_core.config.batch import BatchConfig

LINES = 30  # of the table in the terminal
MAX_RETRIES = 100


@dataclass(frozen=True)
class Batch:
    """Complete the objects of many recordings; what an earlier call has done is not done again."""

    input: Annotated[Path, tyro.conf.Positional]
    """Folder that holds recordings, at any depth; or a text file that lists such: a path a line, relative to
    the file's folder, `#` begins a comment, after a tab a name for its folder."""
    output: Path
    """Folder to write: new, empty or of an earlier batch. Each recording gets a folder in it, as `run` writes
    it; results.parquet and report.html tell of all. On a cluster all nodes must share it and the input."""
    address: str = "local"
    """Ray cluster that does the work: HOST:PORT, ray://HOST:PORT, or `auto` for the one this machine is part
    of. `local`: processes of this machine."""
    workers: int = 0
    """How many tasks at a time; 0 = one a core."""
    retries: int = 2
    """How often a task is tried again whose process died or whose program failed."""
    resources: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What a task asks for, as STAGE.KIND=VALUE: stages look, reconstruct, segment, complete (an object),
    finish; kinds cpus, gpus, memory_gb. E.g. `reconstruct.cpus=4`, `complete.gpus=0.25`."""
    config: Path | None = None
    """YAML overlay on the defaults, for all recordings."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Single settings as KEY=VALUE, e.g. `reconstruction.iterations=500`."""
    depth: bool = True
    """Use the depth images of recordings that have them."""
    masks: str | None = None
    """Folder of label images beside the frames to use as 2D masks."""
    topics: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Topics of rosbag2s as NAME=TOPIC, see `instascene run --help`."""
    ignore: Path | None = None
    """Image of the size of the inputs', black where every frame shows something fixed to the camera."""
    scale: float = 1.0
    """Resize the input images by this factor."""
    region: str | None = None
    """What counts as an object: `auto`, `all`, or a box "x y z x y z", metres."""
    prior: str | None = None
    """What guesses the unseen, the setting `completion.prior`."""
    corrections: Annotated[Corrections, tyro.conf.arg(name="")] = field(default_factory=Corrections)
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.batch import Plan, list_recordings, run_batch
        from instascene_core.batch.ray_workers import RayWorkers
        from instascene_core.config import Config
        from instascene_core.config_file import load_config

        if self.workers < 0 or not 0 <= self.retries <= MAX_RETRIES:
            raise InputError(f"--workers takes 0 or more, --retries 0 to {MAX_RETRIES}.")
        named = {"region": self.region, "completion.prior": self.prior}
        changes = (*self.set, *(f"{key}={value}" for key, value in named.items() if value is not None))
        config, batch = load_config(self.config, changes), batch_config(self.resources)
        if config != Config():  # the check loads all of the pipeline
            from instascene_core.export.object_files import require_formats
            from instascene_core.scene.means import require_means

            for sentence in require_means(config):
                warn(sentence)
            require_formats(config.export)
        plan = Plan.of(self.output, config, self._reading(), batch)
        listing = list_recordings(self.input, self.output)
        for remark in listing.remarks:
            warn(remark)
        with progress_bars() as progress:
            result = run_batch(
                listing.recordings,
                plan,
                lambda: RayWorkers(plan, self.address, self.workers),
                self.retries,
                progress,
            )
        _show(result)
        return Answer(self._facts(result, listing.remarks), _problem(result, len(listing.recordings)))

    def _reading(self) -> "Reading":
        from instascene_core.batch import Reading

        ignore = None if self.ignore is None else str(self.ignore.absolute())
        topics = bag_topics(self.topics)
        return Reading(self.depth, self.masks, self.scale, ignore, topics, self.corrections)

    def _facts(self, result: "BatchResult", remarks: tuple[str, ...]) -> dict[str, Any]:
        return {
            "folder": self.output,
            "table": result.table,
            "report": result.report,
            "recordings": result.count,
            "done_earlier": result.earlier,
            "objects": result.summary.objects,
            "seconds": result.seconds,
            "failed": {one.recording.name: one.sentence for one in result.failed},
            "remarks": remarks,
        }


def batch_config(words: tuple[str, ...]) -> "BatchConfig":
    """What tasks ask for, from STAGE.KIND=VALUE words.  Raises InputError."""
    from instascene_core.config.batch import BatchConfig
    from instascene_core.config_file import config_with
    from instascene_core.untrusted import parse_yaml

    given = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise InputError(f"'{word}' is not of the form STAGE.KIND=VALUE, e.g. reconstruct.cpus=4.")
        given[name.strip()] = parse_yaml(text, f"'{word}'")
    return config_with(BatchConfig(), given)


def _show(result: "BatchResult") -> None:
    """The recordings in the terminal, what failed first."""
    from instascene_core.batch.report import HEADER, recording_row

    table, records = Table(*HEADER), result.summary.ordered
    for record in records[:LINES]:
        table.add_row(*recording_row(record))
    console.print(table)
    if result.summary.total > LINES:
        console.print(f"… and {result.summary.total - LINES:,} more in {result.table}", highlight=False)
    for sentence in result.summary.sentences():
        console.print(sentence, highlight=False)
    console.print(f"Table: {result.table}\nReport: {result.report}", highlight=False, soft_wrap=True)


def _problem(result: "BatchResult", total: int) -> InputError | None:
    """Where any of this call's recordings failed, so that the exit status says so."""
    if not result.failed:
        return None
    first = result.failed[0]
    return InputError(
        f"{len(result.failed)} of {total} recordings failed; the first, {first.recording.name}: "
        f"{first.sentence}"
    )
