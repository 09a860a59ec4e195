"""The `instascene` command and its verbs; `--help` on each."""

import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from instascene_core.config_verb import ShowConfig
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError, NothingFound, outside_cause
from instascene_core.export_verb import Export
from instascene_core.instances import InstanceId
from instascene_core.settle_verb import Settle
from instascene_core.terminal import console, progress_bars, summarise, warn
from instascene_core.untrusted import one_line
from instascene_core.view_verb import View

Input = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class Run:
    """Reconstruct, segment and complete a recorded scene."""

    input: Input
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

    def __call__(self) -> None:
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
        summarise(self.output, dataset.ground_truth if self.stop_after == "complete" else None)
        if nothing := nothing_found(scene, failures):
            raise nothing


@dataclass(frozen=True)
class Poses:
    """Estimate the camera poses of images or a video that have none, with COLMAP; `run` reads the result.

    Lengths are metres only where something says the scale: --marker-size, --distance or --depth."""

    input: Input
    """Folder of images, or a video, of a scene that stands still."""
    output: Path
    """Folder to write: new, empty, or of an earlier `poses`, which is replaced."""
    marker_size: float | None = None
    """Side of the black square of ArUco or AprilTag markers, single or on a ChArUco board, metres."""
    marker_dictionary: str = "4X4_50"
    """Dictionary of the markers, by OpenCV's name: 4X4_50, 5X5_100, APRILTAG_36h11, ..."""
    distance: tuple[str, str, float] | None = None
    """Names of two images and the distance between the camera's places in them, metres."""
    depth: Path | None = None
    """Folder of depth images named like the images; the scale is theirs, and `run` uses them."""
    depth_unit: float = 0.001
    """Metres a step of the depth images."""
    max_images: int = 150
    """At most so many images, evenly spaced, of a video the sharpest ones (0 = all)."""

    def __call__(self) -> None:
        from instascene_core.posing import DepthScale, DistanceScale, MarkerScale, estimate_poses

        known = []
        if self.marker_size is not None:
            known.append(MarkerScale(self.marker_size, self.marker_dictionary))
        if self.distance is not None:
            known.append(DistanceScale(*self.distance))
        depth = None if self.depth is None else DepthScale(self.depth, self.depth_unit)
        with progress_bars() as progress:
            found = estimate_poses(self.input, self.output, known, depth, self.max_images, progress)
        console.print(
            f"{found.registered} of {found.images} images have poses (reprojection error {found.error:.2f} "
            f"pixels) in {self.output}",
            highlight=False,
        )
        if found.scale is None:
            warn(
                "the scale is not known: the median distance from the cameras is taken for 1 m; "
                "--marker-size, --distance or --depth make it metres"
            )
        else:
            spread = f", single ones {found.scale.spread:.1%} off" if found.scale.spread else ""
            console.print(f"scale from {found.scale.source}{spread}", highlight=False)
        if found.up == "cameras":
            warn("up is taken from how the cameras were held, for lack of a clear plane")
        console.print(f"next: instascene run {self.output} --output OUT", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Complete:
    """Complete one instance of a saved scene, or complete it again."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`."""
    instance: int
    """Id of the instance, as in the label images."""
    num_samples: int = 0
    """Completions to draw for the uncertainty; 0 takes the scene's setting."""
    seed: int | None = None
    """None takes the scene's setting."""

    def __call__(self) -> None:
        from instascene_core.export.saved_scene import load_scene, put_object, require_savable

        with progress_bars() as progress:
            loaded = load_scene(self.output, progress=progress)
            scene = loaded.scene
            if scene.instances is None:
                raise InputError(
                    f"The scene in {self.output} was only reconstructed; `instascene run` it again, up to "
                    "segment or complete."
                )
            require_savable(self.output)
            result = scene.complete(InstanceId(self.instance), self.num_samples or None, self.seed, progress)
        views = scene.state.labelled_views
        files = put_object(self.output, result, scene.config.export, views)
        for note in (*loaded.notes, *result.notes):
            warn(note)
        summarise(self.output, extra={"seconds": scene.metrics["seconds"]})
        console.print(f"{len(files)} files in {self.output / 'objects' / str(self.instance)}")


@dataclass(frozen=True)
class Synth:
    """Generate a procedural tabletop scene with exact ground truth, in the layout `run` reads."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder to write: new, empty, or with a scene of an earlier `synth`, which is replaced."""
    seed: int = 0
    objects: int = 8
    """Number of objects on the table."""
    views: int = 60
    width: int = 320
    height: int = 240
    sensor: str = "perfect"
    """Camera that records it: perfect, d435, kinect, tof or lidar; all but the first err in colour, depth and
    poses as real ones do."""
    glass: float = 0.0
    """Share of objects that are clear."""
    mirrors: float = 0.0
    """Share of objects that mirror."""

    def __call__(self) -> None:
        from instascene_core.synthetic import (
            SyntheticConfig,
            generate_scene,
            require_dataset_writable,
            write_dataset,
        )

        config = SyntheticConfig(
            seed=self.seed,
            num_objects=self.objects,
            num_views=self.views,
            width=self.width,
            height=self.height,
            sensor=self.sensor,
            glass_fraction=self.glass,
            mirror_fraction=self.mirrors,
        )
        require_dataset_writable(self.output)
        with progress_bars() as progress:
            write_dataset(generate_scene(config, progress), self.output, progress)
        console.print(f"Scene with {self.objects} objects and {self.views} views written to {self.output}")


@dataclass(frozen=True)
class Eval:
    """Compare a finished run with ground truth: completed meshes, or the segmentation by one of the field's
    protocols."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`."""
    ground_truth: Path
    """objects: folder with `meshes/<id>.ply` in the same world frame (as `synth` writes it); masks: folder
    of label images named like the frames; points: folder with one .ply and one .txt of instances (ScanNet);
    lerf-mask: a scene's folder with `test_mask/<view>/<object>.png`; 3d-ovs: one with
    `segmentations/<view>/<class>.png`."""
    protocol: str = "objects"
    """`objects`, `masks` (multi-view mIoU with one global matching, AP), `points` (class-agnostic AP, AP50,
    AP25), `lerf-mask` or `3d-ovs`."""
    min_region: int = 100
    """points: instances of fewer points do not count."""
    ignored_classes: tuple[int, ...] = ()
    """points: classes (id // 1000) that do not count; ScanNet leaves out 1 and 2, wall and floor."""

    def __call__(self) -> None:
        from instascene_core.metrics.protocols import evaluate_segmentation
        from instascene_core.scene import nothing_delivered

        if self.protocol == "objects":
            summarise(self.output, self.ground_truth)
        else:
            scores = evaluate_segmentation(
                self.output, self.ground_truth, self.protocol, self.min_region, self.ignored_classes
            )
            summarise(self.output, extra={f"segmentation ({self.protocol})": scores})
        if nothing := nothing_delivered(self.output, completed=self.protocol == "objects"):
            raise nothing


@dataclass(frozen=True)
class Doctor:
    """Say which parts, optional libraries and ROS pieces are there, and what to install for the rest."""

    def __call__(self) -> None:
        from instascene_core.doctor import examine

        findings = examine()
        table = Table("", "part", "found", "what to do")
        for finding in findings:
            mark = (
                ("✓", "green") if finding.found else (("✗", "red") if finding.required else ("–", "yellow"))
            )
            table.add_row(Text(*mark), finding.part, finding.version, "" if finding.found else finding.advice)
        console.print(table)
        missing = [f.part for f in findings if f.required and not f.found]
        if missing:
            raise InputError(f"Required parts are missing: {', '.join(missing)}; see the table above.")


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


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one sentence and exit status 1 for bad input, 3 where nothing was found, 130 after Ctrl-C,
    never a traceback (INSTASCENE_DEBUG=1 shows that of an internal error)."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    commands = {
        "run": Run, "poses": Poses, "complete": Complete, "export": Export, "view": View, "eval": Eval,
        "synth": Synth, "settle": Settle, "config": ShowConfig, "doctor": Doctor,
    }  # fmt: skip
    status = 1
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, args=arguments, prog="instascene", description=__doc__
        )()
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except NothingFound as error:
        sentence, status = str(error), 3
    except InputError as error:
        sentence = str(error)
    except BrokenPipeError:  # `instascene … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if _interrupted:  # while a compiled module was imported, which made another error of it
            sys.exit(130)
        known = outside_cause(error)
        if known is None and os.environ.get("INSTASCENE_DEBUG"):
            raise
        text = f"Internal error ({type(error).__name__}: {one_line(error)}); INSTASCENE_DEBUG=1 shows where."
        sentence = known or text
    sys.stderr.write(f"instascene: {one_line(sentence, 2000)}\n")
    sys.exit(status)


_interrupted: list[int] = []


def _interrupt(number: int, _frame: object) -> None:
    _interrupted.append(number)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
