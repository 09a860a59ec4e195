"""What a task is: of its own file, so that whoever hands out tasks loads nothing that does them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from instascene_core.batch.recordings import Recording

STAGES = ("look", "reconstruct", "segment", "complete", "finish")


@dataclass(frozen=True)
class Task:
    """One stage of one recording; completion of one object."""

    stage: str  # of STAGES
    recording: Recording
    key: str = ""  # of the result (`Plan.key`), once `look` has told it
    instance: int = 0  # of `complete`
    broken: Mapping[int, str] = field(default_factory=dict)  # of `finish`: objects that no worker survived

    def __str__(self) -> str:
        thing = f" object {self.instance}" if self.instance else ""
        return f"{self.recording.name}: {self.stage}{thing}"


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""  # the recording's fault, in one sentence: nothing is tried again
    broken: str = ""  # the worker's end or a fault of the program: worth another try
