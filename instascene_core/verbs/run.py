"""`instascene run`: from a recording to complete objects."""

import json
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.progress import ProgressCallback
from instascene_core.terminal import progress_bars, summarise, warn
from instascene_core.verbs.manner import Answer, Manner

if TYPE_CHECKING:
    from instascene_core.config.tiles import TilesConfig
    from instascene_core.datasets import Dataset
    from instascene_core.scene import Scene
    from instascene_core.tiles import Job


@dataclass(frozen=True)
class _Made:
    """A scene that was made and saved."""

    failures: Mapping[Any, str]  # id → why an object was not completed
    problem: InputError | None  # what is wrong with it all the same
    facts: Mapping[str, Any] = field(default_factory=dict)  # further ones for --json


@dataclass(frozen=True)
class Run:
    """Reconstruct, segment and complete a recorded scene."""

    input: Annotated[Path, tyro.conf.Positional]
    """Dataset folder of a known format (docs/recordings.md), COLMAP model or rosbag2."""
    output: Path
    """Folder to write: new, empty, or with an earlier scene, which is replaced; other files in it stay."""
    config: Path | None = None
    """YAML overlay on the defaults."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Single settings as KEY=VALUE, e.g. `reconstruction.iterations=500`."""
    depth: bool = True
    """Use the input's depth images where it has them."""
    masks: str | None = None
    """Folder of label images beside the frames to use as 2D masks."""
    topics: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Topics of a rosbag2 as NAME=TOPIC, NAME one of rgb, camera_info, pose, depth, masks, valid; without it
    they are found by name and type, and a masks topic is not used. Also depth_unit=METRES a step,
    depth_registered=true, map_frame=FRAME."""
    ignore: Path | None = None
    """Image of the size of the input's, black where every frame shows something that is fixed to the camera,
    a gripper, say: nothing is made of these pixels."""
    scale: float = 1.0
    """Resize the input images by this factor."""
    region: str | None = None
    """What counts as an object and is completed: `auto` (on, in or at the support, within reach of the
    cameras), `all`, or a box "x y z x y z": lower and upper corner, metres. The rest is listed only."""
    prior: str | None = None
    """What guesses the unseen, the setting `completion.prior`: `learned`, `carving`, `multiview`;
    `zero123plus` and `queue` ask public weights and another program (their settings are in completion)."""
    hold_out: int = 0
    """Keep every n-th frame out of training and report PSNR on it (0 = use all)."""
    stop_after: str = "complete"
    """Last stage to run: `reconstruct`, `segment` or `complete`."""
    tiles: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Rooms and floors are made in tiles, one after another: `auto` (the default: where frames have depth and
    the cameras roam), `off`, or SIZE, the side of a tile in metres; also NAME=VALUE, a setting of tiles
    (docs/big_scenes.md). What is done already when a run is stopped is not done again by the next."""
    rerun: str | None = None
    """Also log cameras, images, Gaussians, label images, meshes and stages for the viewer of Rerun: a file
    *.rrd (that of an earlier run is replaced), or `spawn` for a viewer that opens now (the extra `rerun`)."""
    corrections: Annotated[Corrections, tyro.conf.arg(name="")] = field(default_factory=Corrections)
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.config_file import load_config
        from instascene_core.datasets import open_dataset
        from instascene_core.export.object_files import require_formats
        from instascene_core.export.saved_scene import require_savable
        from instascene_core.scene import STAGES, Scene
        from instascene_core.scene.means import require_means
        from instascene_core.tiles import Job, tiling_of

        if self.stop_after not in STAGES:
            raise InputError(f"--stop-after takes one of {', '.join(STAGES)}, not '{self.stop_after}'.")
        if self.hold_out < 0 or self.hold_out == 1:
            raise InputError("--hold-out takes 0 (use all frames) or n >= 2 (keep every n-th out).")
        topics, tiles = bag_topics(self.topics), tiles_config(self.tiles)
        named = {"region": self.region, "completion.prior": self.prior}
        changes = (*self.set, *(f"{key}={value}" for key, value in named.items() if value is not None))
        config = load_config(self.config, changes)
        for sentence in require_means(config, self.stop_after):
            warn(sentence)
        require_formats(config.export)
        scene = Scene(config)
        reading = {
            "use_depth": self.depth,
            "use_masks": self.masks is not None or bool(topics.masks),
            "masks": self.masks,
            "scale": self.scale,
            "ignore": str(self.ignore.absolute()) if self.ignore else None,
        }
        dataset = open_dataset(self.input, **reading, topics=topics, corrections=self.corrections)
        scene.corrections = dataset.corrections
        scene.origin = {
            "source": str(self.input.absolute()), **reading, "topics": asdict(topics),
            "corrections": asdict(dataset.corrections),
        }  # fmt: skip
        require_savable(self.output, self.input, dataset.names)
        with progress_bars() as bars:
            tiling = tiling_of(dataset, config, tiles, bars)
            if tiling is None:
                made = self._one_scene(scene, dataset, bars)
            else:
                job = Job(dataset, scene.origin, config, tiles, tiling, self.output, self.stop_after)
                made = self._in_tiles(job, bars)
        for instance_id, error in made.failures.items():
            warn(f"object {instance_id} was not completed: {error}")
        facts = summarise(self.output, dataset.ground_truth if self.stop_after == "complete" else None)
        return Answer({**facts, "not_completed": made.failures, **made.facts}, made.problem)

    def _one_scene(self, scene: "Scene", dataset: "Dataset", bars: ProgressCallback) -> "_Made":
        """All frames in one scene."""
        from instascene_core.export.saved_scene import save_scene
        from instascene_core.rerun_log import NoLog, RerunLog, both
        from instascene_core.scene import nothing_found

        log = NoLog() if self.rerun is None else RerunLog(self.rerun)
        held_out = []
        with closing(log):
            progress = both(bars, log.progress)
            for index, frame in enumerate(dataset):
                progress("read", (index + 1) / len(dataset), frame.name)
                log.frame(index, frame)
                if self.hold_out and index % self.hold_out == 0:
                    held_out.append(frame)
                else:
                    scene.add_frame(frame)
            scene.note(dataset.reading_metrics)
            failures = scene.run(self.stop_after, progress)
            log.results(scene.state)
            if held_out:
                scene.evaluate_held_out(held_out)
            save_scene(scene, self.output, source=str(self.input), progress=progress)
        return _Made(dict(failures), nothing_found(scene, failures))

    def _in_tiles(self, job: "Job", bars: ProgressCallback) -> "_Made":
        """Tile by tile."""
        from instascene_core.scene import nothing_delivered
        from instascene_core.tiles import run_tiles

        if self.hold_out or self.rerun is not None:
            raise InputError(
                "--hold-out and --rerun look at one scene, and this recording is made in tiles; leave them "
                "out, or add --tiles off."
            )
        result = run_tiles(job, bars)
        for name, why in result.failed.items():
            warn(f"{name} failed: {why}")
        problem = result.problem()
        if problem is None and self.stop_after != "reconstruct":
            problem = nothing_delivered(self.output, completed=self.stop_after == "complete")
        told = {"done": result.done, "done_earlier": result.earlier, "failed": dict(result.failed)}
        return _Made(result.not_completed, problem, {"tiles": told})


def bag_topics(words: tuple[str, ...]):
    """BagTopics from NAME=TOPIC words."""
    from instascene_core.config_file import config_with
    from instascene_core.datasets import BagTopics

    given = {}
    for word in words:
        name, separator, topic = word.partition("=")
        if not separator:
            raise InputError(f"'{word}' is not of the form NAME=TOPIC, e.g. rgb=/camera/color/image_raw.")
        given[name.strip().removeprefix("topics.")] = topic.strip()
    for name, usual in asdict(BagTopics()).items():
        if name in given and not isinstance(usual, str):
            with suppress(ValueError):  # what is no number or true, false is refused with its name
                given[name] = json.loads(given[name])
    return config_with(BagTopics(), given)


def tiles_config(words: tuple[str, ...]) -> "TilesConfig":
    """From `auto`, `off`, a size in metres and NAME=VALUE words.  Raises InputError."""
    from instascene_core.config.tiles import TilesConfig
    from instascene_core.config_file import config_with
    from instascene_core.untrusted import parse_yaml

    given: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if separator:
            given[name.strip().removeprefix("tiles.")] = parse_yaml(text, f"'{word}'")
        elif word in ("auto", "off", "on"):
            given["when"] = word
        else:
            try:
                given |= {"when": "on", "size_m": float(word)}
            except ValueError:
                raise InputError(
                    f"--tiles takes auto, off, a size in metres or NAME=VALUE, not '{word}'."
                ) from None
    return config_with(TilesConfig(), given)
