"""How far poses are off before and after registration.

`python -m benchmarks.registration`: scenes whose seeds no one tuned on, with errors of known size added to
exact poses, and as simulated sensors report them.  Writes benchmarks/results/registration.json.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common_motion import best_motion
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import SyntheticConfig
from instascene_core.frame import Frame
from instascene_core.registration import register
from instascene_core.registration.solver import motions, moved
from instascene_core.synthetic import generate_scene

SEEDS = (81001, 81002, 81003)
VIEWS = 40
# Pixels by which every pose of an exact recording is off at random, mean over the image.
ADDED = (0.0, 1.0, 2.0, 4.0)
SENSORS = ("d435", "kinect", "tof", "lidar")

logger = logging.getLogger("benchmarks.registration")


@dataclass(frozen=True)
class Case:
    """A recording with the poses it reports and the true ones."""

    name: str
    frames: Sequence[Frame]
    true_poses: np.ndarray  # [N, 4, 4]


def cases(seed: int) -> list[Case]:
    """Of one seed: added errors, then sensors."""
    found = []
    for sensor in ("perfect", *SENSORS):
        noise = "millimetre" if sensor == "perfect" else "none"
        scene = generate_scene(
            SyntheticConfig(seed=seed, num_views=VIEWS, supersampling=1, sensor=sensor, depth_noise=noise)
        )
        frames = list(scene.frames())
        if sensor != "perfect":
            found.append(Case(sensor, frames, scene.poses))
            continue
        found += [Case(f"{pixels:g} px", with_errors(frames, pixels, seed), scene.poses) for pixels in ADDED]
    return found


def with_errors(frames: Sequence[Frame], pixels: float, seed: int) -> list[Frame]:
    """Poses off at random and independently, half by shifting and half by turning."""
    if pixels == 0:
        return list(frames)
    rng = np.random.default_rng(seed)
    # Both together have √2 of this deviation along each axis, and √(π/2) of that as their mean length.
    angle = pixels / frames[0].camera.fx / np.sqrt(np.pi)
    twists = rng.normal(0.0, angle, (len(frames), 6)) * ([typical_depth(frames)] * 3 + [1.0] * 3)
    poses = moved(np.stack([frame.world_from_camera for frame in frames]), twists)
    return [frame.with_(world_from_camera=pose) for frame, pose in zip(frames, poses)]


def typical_depth(frames: Sequence[Frame]) -> float:
    return float(np.median([np.median(frame.require_depth()[frame.require_depth() > 0]) for frame in frames]))


def pose_error(frames: Sequence[Frame], truth: np.ndarray) -> tuple[float, float]:
    """(pixels, millimetres) by which what lies at the typical depth is misplaced, after the one motion of
    all cameras together that fits best; means over the frames."""
    depth = typical_depth(frames)
    poses = np.stack([frame.world_from_camera for frame in frames])
    ahead = np.array([[0, 0, 1], [0.25, 0, 1], [-0.25, 0, 1], [0, 0.2, 1], [0, -0.2, 1]]) * depth
    ours, true = (np.einsum("nij,pj->npi", p[:, :3, :3], ahead) + p[:, None, :3, 3] for p in (poses, truth))
    best = best_motion(ours.reshape(-1, 3), true.reshape(-1, 3))
    twists = motions(best @ poses, truth)
    shifts = twists[:, None, :3] + np.cross(twists[:, None, 3:], ahead[None])
    focal = np.array([frame.camera.fx for frame in frames])[:, None]
    pixels = np.linalg.norm(shifts[..., :2], axis=-1) / depth * focal
    return float(pixels.mean()), 1e3 * float(np.linalg.norm(shifts, axis=-1).mean())


def main() -> None:
    """Run all cases and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--output", type=Path, default=RESULTS / "registration.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made_by = provenance_of("registration")
    runs = []
    for seed in arguments.seeds:
        for case in cases(seed):
            start = time.process_time()
            result = register(case.frames)
            seconds = time.process_time() - start
            before, after = (pose_error(frames, case.true_poses) for frames in (case.frames, result.frames))
            runs.append(
                {
                    "case": case.name, "seed": seed, "before_px": before[0], "after_px": after[0],
                    "before_mm": before[1], "after_mm": after[1], "corrected": result.corrected,
                    "gain": result.gain, "cpu_seconds": seconds,
                }
            )  # fmt: skip
            logger.info(
                "%s, seed %d: %.2f -> %.3f px, %.2f -> %.2f mm, %.1f s of processor",
                case.name, seed, before[0], after[0], before[1], after[1], seconds,
            )  # fmt: skip
    write_results(arguments.output, "registration", {"views": VIEWS, "runs": runs}, made_by)


if __name__ == "__main__":
    main()
