"""The check of recordings: `python -m benchmarks.plausibility [FOLDER] [--tuning]`.

Good recordings must pass without a word: synthetic ones through every sensor, with poses 4 pixels off, with
little overlap, far from the origin, of a camera that stands still, from images alone; and those of FOLDER
(recordings of the project).  Then 200 spoilt at random, to be named rightly: the kind, and the correction
that undoes it.  --tuning takes the
seeds that thresholds were chosen by; the table is of others.
"""

import argparse
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import plausibility_damage as damage
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import SyntheticConfig
from instascene_core.corrections import Corrections
from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.plausibility import RIGHT, UNKNOWN, Verdict, examine, verdict
from instascene_core.synthetic import generate_scene
from instascene_core.synthetic.sensors import SENSORS
from instascene_core.transforms import require_rigid

# First seeds.  Of 5000 on, the confusions were looked at to change the check: 6000 on stand for them.
REPORTED, TUNING = 6000, 100
LAYOUTS = ("pile", "spread", "shelf", "bin", "pile")
RECORDINGS = ("apc_shelf", "redkitchen", "fox", "clutter/d1", "clutter/d2", "clutter/d3")
DAMAGED = 200
FAR_M = 5e5  # as UTM coordinates are

logger = logging.getLogger("benchmarks.plausibility")


@dataclass(frozen=True)
class Good:
    """A recording that is right."""

    kind: str
    name: str
    frames: list[Frame]
    spoil: bool = True  # whether damaged ones are made from it


def without_depth(frames: Sequence[Frame]) -> list[Frame]:
    return [f.with_(depth=None) for f in frames]


def synthetic(seed: int, sensor: str, layout: str = "pile", views: int = 14, **changes) -> list[Frame]:
    """Frames of a small scene; of the next seed where one does not come out."""
    settings: dict[str, Any] = {
        "num_objects": 5,
        "num_views": views,
        "width": 160,
        "height": 120,
        "supersampling": 1,
    } | changes
    for attempt in range(5):
        config = SyntheticConfig(seed=seed + 100 * attempt, layout=layout, sensor=sensor, **settings)
        try:
            return [frame for frame, _ in generate_scene(config).observations()]
        except InputError:
            continue
    raise InputError(f"No scene of the layout '{layout}' came out from seed {seed}.")


def standing(seed: int, sensor: str) -> list[Frame]:
    """Frames of a camera on a tripod."""
    config = SyntheticConfig(seed=seed, sensor=sensor, num_objects=5, num_views=14, width=160, height=120)
    scene = generate_scene(config)
    poses = np.repeat(scene.poses[:1], len(scene), axis=0)
    seen = [frame for frame, _ in replace(scene, poses=poses).observations()]
    return damage.with_poses(seen, poses)  # of a robot's camera: its joints do not move, nor do they jitter


def synthetic_recordings(first: int) -> Iterator[Good]:
    """42 of them."""
    rng = np.random.default_rng(first)
    for k, sensor in enumerate(SENSORS):
        for j in range(4):
            seed = first + 10 * k + j
            frames = synthetic(seed, sensor, LAYOUTS[j])
            yield Good(f"RGB-D, {sensor}", f"{sensor} {seed}", frames)
            if j == 0:
                noisy = damage.with_pose_noise(frames, 4, rng)
                yield Good("RGB-D, poses 4 px off", f"{sensor} {seed}", noisy, spoil=False)
            if j == 1:
                far = damage.poses_of(frames)
                far[:, :3, 3] += [FAR_M, 10 * FAR_M, 100]
                yield Good(
                    "RGB-D, far from the origin", f"{sensor} {seed}", damage.with_poses(frames, far), False
                )
        seed = first + 10 * k + 5
        yield Good("RGB-D, camera stands still", f"{sensor} {seed}", standing(seed, sensor), spoil=False)
    for j in range(4):
        frames = synthetic(first + 60 + j, "d435", views=7, elevations_degrees=(35.0,), fov_degrees=40.0)
        yield Good("RGB-D, little overlap", f"d435 {first + 60 + j}", frames, spoil=False)
    for j, sensor in enumerate(("perfect", "d435", "kinect", "tof", "lidar", "perfect")):
        seed = first + 70 + j
        frames = synthetic(seed, sensor, views=24, width=320, height=240, elevations_degrees=(40.0,))
        yield Good("RGB only", f"{sensor} {seed}", without_depth(frames))
        if j < 3:
            noisy = damage.with_pose_noise(frames, 4, rng)
            yield Good("RGB only, poses 4 px off", f"{sensor} {seed}", without_depth(noisy), spoil=False)


def real_recordings(folder: Path) -> Iterator[Good]:
    for name in RECORDINGS:
        if not (folder / name / "transforms.json").is_file():
            logger.warning("There is no recording %s in %s; it is left out.", name, folder)
            continue
        frames = list(open_dataset(folder / name, use_masks=False))
        if frames[0].depth is not None:
            yield Good("RGB-D, real or rendered scans", name, frames)
        yield Good("RGB only, real or rendered scans", name, without_depth(frames))


def said(found: Verdict) -> str:
    """What the check says; "" for nothing."""
    return found.name if found.outcome not in (RIGHT, UNKNOWN) else ""


def named_rightly(found: Verdict, truth: damage.Damaged, period: float, width: int) -> bool:
    """The kind, and the correction within what matters."""
    if said(found) != truth.name:
        return False
    correction = found.correction or Corrections()
    if truth.name == verdict.CONVENTION:
        return correction.pose_convention == truth.value
    if truth.name == verdict.POSE_SCALE:
        return abs(np.log(correction.pose_scale / truth.value)) < 0.05
    if truth.name == verdict.DEPTH_UNIT:
        return abs(np.log(correction.depth_scale / truth.value)) < 0.01
    if truth.name == verdict.TIME:
        return abs(correction.pose_time_offset - truth.value) < 0.35 * period
    if truth.name == verdict.DEPTH_SHIFT:
        return np.abs(np.subtract(correction.depth_shift, truth.value)).max() <= 0.02 * width
    return True


def spoilt(pool: Sequence[Good], count: int, seed: int) -> Iterator[dict]:
    """One row a damaged recording."""
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        good = pool[int(rng.integers(len(pool)))]
        has_depth = good.frames[0].depth is not None
        choices = (*damage.OF_POSES, *(damage.OF_DEPTH if has_depth else ()))
        choice = int(rng.integers(len(choices) + 1))
        row = {"recording": good.name, "depth": has_depth, "case": k}
        if choice == len(choices):
            word = mirrored(good.frames)
            yield {**row, "damage": damage.LEFT_HANDED, "said": word, "right": word == damage.LEFT_HANDED}
            continue
        truth = choices[choice](good.frames, rng)
        period = float(np.median(np.diff(sorted(f.stamp for f in truth.frames))))
        start = time.process_time()
        found = examine(truth.frames)
        seconds = time.process_time() - start
        right = bool(named_rightly(found, truth, period, truth.frames[0].camera.width))
        row |= {"damage": truth.name, "said": said(found), "right": right, "cpu_seconds": seconds}
        logger.info("%3d %-22s %-16s -> %-16s %s %.2f s %s", k, good.name, truth.name, said(found),
                    "" if right else f"WRONG {truth.value} {found.sentence}", seconds, good.kind)  # fmt: skip
        yield row


def mirrored(frames: Sequence[Frame]) -> str:
    """What reading says to poses with one world axis turned round: rotations of determinant −1."""
    try:
        require_rigid(np.diag([1.0, 1, -1, 1]) @ frames[0].world_from_camera, "The pose")
    except InputError as error:
        return damage.LEFT_HANDED if damage.LEFT_HANDED in str(error) else "something else"
    return ""


def confusion(rows: Sequence[dict]) -> list[dict]:
    """One row a kind of damage: how many, how many rightly named, what was said."""
    return [
        {
            "damage": name,
            "count": len(chosen := [r for r in rows if r["damage"] == name]),
            "right": sum(r["right"] for r in chosen),
            "said": dict(Counter(r["said"] or "nothing" for r in chosen)),
        }
        for name in dict.fromkeys(sorted(r["damage"] for r in rows))
    ]


def examined(good: Good) -> dict:
    start = time.process_time()
    found = examine(good.frames)
    seconds = time.process_time() - start
    words = good.kind, good.name, found.outcome, found.agreement, seconds, found.sentence
    logger.info("%-34s %-14s %s %.2f %.2f s %s", *words)
    return {"kind": good.kind, "recording": good.name, "frames": len(good.frames), "outcome": found.outcome,
            "said": said(found), "agreement": found.agreement, "cpu_seconds": seconds}  # fmt: skip


def main() -> None:
    """Examine all, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="holds " + ", ".join(RECORDINGS))
    parser.add_argument("--tuning", action="store_true", help="other seeds; writes nothing")
    parser.add_argument("--damaged", type=int, default=DAMAGED)
    parser.add_argument("--output", type=Path, default=RESULTS / "plausibility.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by = provenance_of("plausibility")
    first = TUNING if arguments.tuning else REPORTED
    pool = list(synthetic_recordings(first))
    pool += list(real_recordings(arguments.folder)) if arguments.folder is not None else []
    good = [examined(recording) for recording in pool]
    rows = list(spoilt([r for r in pool if r.spoil], arguments.damaged, first))
    damaged = confusion(rows)
    seconds = [r["cpu_seconds"] for r in [*good, *rows] if "cpu_seconds" in r]
    alarms, right = sum(bool(r["said"]) for r in good), sum(r["right"] for r in damaged)
    words = len(good), alarms, right, len(rows), np.median(seconds), max(seconds)
    logger.info("%d good, %d alarms; %d of %d rightly named; processor %.2f s median, %.2f longest", *words)
    for row in damaged:
        logger.info("%s", row)
    if not arguments.tuning:
        found = {
            "good": good,
            "damaged": damaged,
            "median_s": float(np.median(seconds)),
            "longest_s": max(seconds),
        }
        write_results(arguments.output, "plausibility", found, made_by)


if __name__ == "__main__":
    main()
