"""What a batch of recordings asks of the machines; no result depends on it."""

from dataclasses import dataclass, field

from instascene_core.config.ranges import Positive


@dataclass(frozen=True)
class StageResources:
    """Of one task.  A task is placed where so much is free."""

    cpus: Positive = 1.0  # cores; the task computes with as many threads, one at least
    gpus: float = 0.0  # CUDA devices, or a share of one; 0 = the task sees none
    memory_gb: float = (
        0.0  # of main memory; 0 = not declared, so that cores alone limit how many run at a time
    )


@dataclass(frozen=True)
class BatchConfig:
    """The stages of a recording, each a task of its own; completion is a task an object."""

    look: StageResources = field(default_factory=StageResources)  # what is there, and what is missing
    reconstruct: StageResources = field(default_factory=StageResources)
    segment: StageResources = field(default_factory=StageResources)
    complete: StageResources = field(default_factory=StageResources)
    finish: StageResources = field(default_factory=StageResources)  # laid to rest, written, drawn
