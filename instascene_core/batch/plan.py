"""What is to be done with every recording of a batch, and where."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from instascene_core.batch.recordings import Recording
from instascene_core.config import Config
from instascene_core.config.batch import BatchConfig
from instascene_core.contents import (
    code_version,
    content_of,
    digest_of,
    settings_digest,
    weights_digest,
    with_absolute_files,
)
from instascene_core.corrections import Corrections
from instascene_core.datasets import BagTopics, Dataset, open_dataset

STATE = ".batch"  # folder of the output that holds what a batch remembers
TABLE, REPORT = "results.parquet", "report.html"  # files of the output
KEY_DIGITS = 16  # of a key, in the name of a folder


@dataclass(frozen=True)
class Reading:
    """How recordings are opened: the options of `open_dataset` that `instascene run` has, too."""

    use_depth: bool = True
    masks: str | None = None  # folder of label images beside the frames
    scale: float = 1.0
    ignore: str | None = None  # absolute path of an image, black where a pixel is to be ignored
    topics: BagTopics = field(default_factory=BagTopics)
    corrections: Corrections = field(default_factory=Corrections)

    def open(self, path: Path) -> Dataset:
        """The recording at `path`.  Raises InputError."""
        return open_dataset(path, **self._options, topics=self.topics, corrections=self.corrections)

    def origin(self, dataset: Dataset) -> dict[str, Any]:
        """`Scene.origin` of a scene that is made of `dataset`."""
        return {
            "source": str(dataset.path), **self._options, "topics": asdict(self.topics),
            "corrections": asdict(dataset.corrections),
        }  # fmt: skip

    def as_facts(self) -> dict[str, Any]:
        """What a result depends on: for `ignore` what is in the file."""
        ignored = self.ignore and content_of(Path(self.ignore)).digest
        return {**asdict(self), "ignore": ignored}

    @property
    def _options(self) -> dict[str, Any]:
        use_masks = self.masks is not None or bool(self.topics.masks)
        return {
            "use_depth": self.use_depth, "use_masks": use_masks, "masks": self.masks, "scale": self.scale,
            "ignore": self.ignore,
        }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The same for all recordings; made once, by `Plan.of`."""

    output: Path  # absolute; on a cluster in a folder that all nodes share
    config: Config
    reading: Reading
    batch: BatchConfig
    code: str  # `code_version` of whoever made the plan
    digest: str  # of everything that a result depends on, its recording aside

    @classmethod
    def of(cls, output: Path, config: Config, reading: Reading, batch: BatchConfig) -> "Plan":
        """Raises InputError where a file that a setting names cannot be read."""
        config, code = with_absolute_files(config), code_version()
        digest = digest_of([code, weights_digest(), settings_digest(config), reading.as_facts()])
        return cls(Path(output).absolute(), config, reading, batch, code, digest)

    def key(self, content: str) -> str:
        """Names the result that a recording with files of this digest has."""
        return digest_of([content, self.digest])


@dataclass(frozen=True)
class Places:
    """Where what belongs to one recording lies."""

    scene: Path  # the saved scene
    state: Path  # what the batch remembers of it

    @classmethod
    def of(cls, plan: Plan, recording: Recording) -> "Places":
        return cls(plan.output / recording.name, plan.output / STATE / recording.name)

    @property
    def content(self) -> Path:
        """The memo of `content_of`."""
        return self.state / "content.json"

    @property
    def record(self) -> Path:
        """How it ended."""
        return self.state / "record.json"

    def stages(self, key: str) -> Path:
        """The folder of the files that stages hand to the next, of the result that `key` names."""
        return self.state / f"stages-{key[:KEY_DIGITS]}"
