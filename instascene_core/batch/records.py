"""How a recording ended: a small file a recording, of which table and report are made."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from instascene_core.batch.plan import STATE, Plan
from instascene_core.errors import InputError
from instascene_core.files import write_json
from instascene_core.saved_facts import require_facts
from instascene_core.untrusted import read_json_object

DONE, EMPTY, FAILED = "done", "empty", "failed"  # empty: the work was done, and there is no object
RECORD = "record.json"
# Of an object, as in its object.json.
OBJECT_FACTS = (
    "instance_id", "confidence", "observed_fraction", "watertight", "volume_m3", "mass_kg", "dimensions_m",
    "position_m", "orientation_wxyz", "prior",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The end of a recording."""

    name: str
    source: str  # absolute path of the recording
    status: str  # DONE, EMPTY or FAILED
    sentence: str = ""  # why it failed or is empty
    stage: str = ""  # in which it failed
    key: str = ""  # of the result, `Plan.key`; "" where the recording could not be read
    code: str = ""  # `code_version`
    finished: str = ""  # UTC, ISO 8601
    frames: int = 0
    gaussians: int = 0
    psnr: float | None = None  # dB, mean over the frames
    seconds: dict[str, float] = field(default_factory=dict)  # of wall time, by stage; objects together
    processor_seconds: dict[str, float] = field(default_factory=dict)  # of all threads, by stage
    objects: tuple[dict[str, Any], ...] = ()  # the completed ones: OBJECT_FACTS of each
    not_completed: dict[str, str] = field(default_factory=dict)  # instance id → why

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to do any more."""
        return self.status in (DONE, EMPTY)


def now() -> str:
    """The time, as records tell it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_record(path: Path, record: Record) -> None:
    """Write it, the whole file or none."""
    write_json(path, asdict(record))


def read_record(path: Path) -> Record | None:
    """The record at `path`; None where there is none, or none that this version can read: then the recording
    is done again."""
    if not path.is_file():
        return None
    try:
        return _record(read_json_object(path), path)
    except (InputError, TypeError):
        return None


def all_records(plan: Plan) -> Iterator[Record]:
    """Of every recording that the output knows, this call's and those of earlier ones, by name."""
    for folder, folders, files in os.walk(plan.output / STATE):
        folders.sort()
        if RECORD in files:
            folders.clear()
            record = read_record(Path(folder, RECORD))
            if record is not None:
                yield record


def _record(facts: Mapping[str, Any], path: Path) -> Record:
    require_facts(dict(facts), Record, f"{path} does not describe how a recording ended")
    return Record(**{**facts, "objects": tuple(facts.get("objects", ()))})
