"""`instascene run`: from a recording to complete objects."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.terminal import progress_bars, summarise, warn
from instascene_core.verbs.manner import Answer, Manner


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
    corrections: Annotated[Corrections, tyro.conf.arg(name="")] = field(default_factory=Corrections)
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.config_file import load_config
        from instascene_core.datasets import open_dataset
        from instascene_core.export.saved_scene import require_savable, save_scene
        from instascene_core.scene import STAGES, Scene, nothing_found
        from instascene_core.scene.region import box_of_region

        if self.stop_after not in STAGES:
            raise InputError(f"--stop-after takes one of {', '.join(STAGES)}, not '{self.stop_after}'.")
        if self.hold_out < 0 or self.hold_out == 1:
            raise InputError("--hold-out takes 0 (use all frames) or n >= 2 (keep every n-th out).")
        topics = bag_topics(self.topics)
        named = {"region": self.region, "completion.prior": self.prior}
        changes = (*self.set, *(f"{key}={value}" for key, value in named.items() if value is not None))
        config = load_config(self.config, changes)
        box_of_region(config.region)
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
        held_out = []
        with progress_bars() as progress:
            for index, frame in enumerate(dataset):
                progress("read", (index + 1) / len(dataset), frame.name)
                if self.hold_out and index % self.hold_out == 0:
                    held_out.append(frame)
                else:
                    scene.add_frame(frame)
            failures = scene.run(self.stop_after, progress)
            if held_out:
                scene.evaluate_held_out(held_out)
            save_scene(scene, self.output, source=str(self.input), progress=progress)
        for instance_id, error in failures.items():
            warn(f"object {instance_id} was not completed: {error}")
        facts = summarise(self.output, dataset.ground_truth if self.stop_after == "complete" else None)
        return Answer({**facts, "not_completed": failures}, nothing_found(scene, failures))


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
