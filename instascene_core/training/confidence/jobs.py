"""Whole jobs, from images to completed objects with the built-in masks, and what came of each object.

Small on purpose, so that many can be run: few views, few iterations, nothing that does not change the meshes.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from instascene_core.config import Config, SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.files import write_json
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.metrics import ObjectAccuracy, compare_objects
from instascene_core.scene import Scene
from instascene_core.synthetic import generate_scene
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.synthetic.unseen_assemblies import HELD_OUT_ASSEMBLIES
from instascene_core.training.segmenter.scenes import TRAINING_KINDS
from instascene_core.untrusted import read_json

logger = logging.getLogger(__name__)

FIRST_SEED = 88001  # no benchmark uses it or those that follow
RGB_ONLY = "rgb"
CONDITIONS = (
    "d435",
    "perfect",
    "kinect",
    RGB_ONLY,
    "tof",
    "lidar",
)  # in turn; sensors, poses off as theirs are
# Masks of kinds that the segmenter was trained on are better than a user's will be, so most scenes are of
# others; every second of those is kept for the benchmark.
UNSEEN = (*HELD_OUT, *HELD_OUT_ASSEMBLIES)
OWN_UNSEEN, KEPT_UNSEEN = UNSEEN[::2], UNSEEN[1::2]
UNSEEN_SHARE = 0.65  # of the scenes
LAYOUTS = (
    "pile", "heap", "spread", "stacks", "assemblies", "contents", "nested", "flush", "twins_cross", "leaning",
    "thin", "bin",
)  # fmt: skip
VIEWS = 3, 18  # least and most, few more often than many
ARCS = 360, 360, 240, 140, 80  # degrees that the cameras go round
ITERATIONS = 150  # of the reconstruction
MAX_VOXELS = 120_000  # of an object's box

Truths = Sequence[tuple[TriangleMesh, ObjectAccuracy]]


@dataclass(frozen=True)
class Job:
    """A scene, and how it is recorded."""

    condition: str  # of CONDITIONS
    scene: SyntheticConfig


def job_of(seed: int) -> Job:
    """The same for the same seed."""
    rng = np.random.default_rng([31, seed])
    condition = CONDITIONS[seed % len(CONDITIONS)]
    scene = SyntheticConfig(
        seed=seed,
        layout=str(rng.choice(LAYOUTS)),
        num_objects=int(rng.integers(4, 8)),
        num_views=round(float(np.exp(rng.uniform(*np.log(VIEWS))))),
        width=240,
        height=180,
        supersampling=1,
        kinds=OWN_UNSEEN if rng.uniform() < UNSEEN_SHARE else TRAINING_KINDS,
        sensor=sensor_of(condition),
        room=bool(rng.uniform() < 0.7),
        arc_degrees=float(rng.choice(ARCS)),
    )
    return Job(condition, scene)


def sensor_of(condition: str) -> str:
    """RGB only is the colour of a real camera, its depth left out."""
    return "d435" if condition == RGB_ONLY else condition


def cheap(config: Config) -> Config:
    """The settings with coarser voxels and few iterations, and without what changes no mesh of a recording
    that is known to be right."""
    completion = replace(
        config.completion,
        observing=replace(config.completion.observing, max_voxels=MAX_VOXELS),
        convex_parts=replace(config.completion.convex_parts, max_parts=1),
        next_view=replace(config.completion.next_view, azimuths=1, elevations=(30.0,)),
    )
    reconstruction = replace(config.reconstruction, iterations=ITERATIONS)
    plausibility = replace(config.plausibility, check="skip")
    return replace(config, completion=completion, reconstruction=reconstruction, plausibility=plausibility)


def run_job(job: Job) -> dict:
    """Facts of one scene, with a row per delivered object (see `delivered`)."""
    start = time.perf_counter()
    facts = {"condition": job.condition, "scene": asdict(job.scene)}
    try:
        made = generate_scene(job.scene)
    except InputError as error:  # not every layout comes out of every seed
        return {**facts, "reason": str(error), "true_objects": 0, "rows": []}
    truths = [(o.mesh, ObjectAccuracy(o.id, f"{o.kind} {o.id}", math.nan)) for o in made.objects]
    frames = list(made.frames())
    if job.condition == RGB_ONLY:
        frames = [frame.with_(depth=None) for frame in frames]
    try:
        rows = delivered(frames, truths, cheap(Config()))
    except InputError as error:  # few images without depth may show too little to begin with
        return {**facts, "reason": str(error), "true_objects": len(truths), "rows": []}
    return {**facts, "true_objects": len(truths), "seconds": time.perf_counter() - start, "rows": rows}


def delivered(frames: Sequence[Frame], truths: Truths, config: Config) -> list[dict]:
    """A row per object that a run on these frames delivers, without their labels: its evidence, and its
    volume IoU with the true object that it stands for (0 where it stands for none, and below `FOUND_IOU`)."""
    scene = Scene(config)
    for frame in frames:
        scene.add_frame(frame.with_(labels=None))
    scene.run()
    accuracy = compare_objects(scene.objects, truths)
    partner = {row.instance_id: row for row in accuracy.objects if row.instance_id is not None}
    rows = []
    for number, thing in scene.objects.items():
        found = partner.get(number)
        rows.append({
            "instance": int(number), "iou": found.volume_iou if found else 0.0,
            "true": found.name if found else "", "evidence": dict(thing.evidence),
        })  # fmt: skip
    return rows


def job_path(folder: Path, seed: int) -> Path:
    return Path(folder) / f"job_{seed:05d}.json"


def run_jobs(folder: Path, seeds: range) -> None:
    """Run those jobs whose files are not there yet."""
    for seed in seeds:
        path = job_path(folder, seed)
        if path.exists():
            continue
        facts = run_job(job_of(seed))
        write_json(path, facts)
        words = seed, facts["condition"], facts["scene"]["layout"], facts["true_objects"], len(facts["rows"])
        logger.info("%d %s %s: %d things, %d delivered, %.0f s", *words, facts.get("seconds", 0.0))


def read_jobs(folder: Path) -> list[dict]:
    """The facts of all jobs in a folder, by seed.  Raises InputError where there are none."""
    paths = sorted(Path(folder).glob("job_*.json"))
    if not paths:
        raise InputError(f"There are no jobs in '{folder}'; run some first.")
    return [read_json(path, "The job") for path in paths]
