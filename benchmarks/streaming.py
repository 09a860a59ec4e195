"""Reconstruction while frames arrive: `python -m benchmarks.streaming [--seeds 1 2] [--hz 2] [--long]`
`[--recordings FOLDER …]`.

Plays procedural RGB-D scenes (60 views of 320×240, 8 more held out) to a `Scene` in real time, lets it work
ahead between frames, and measures how long after the last frame the scene is ready and how far its held-out
PSNR is from that of an offline run on the same frames.  `--recordings` plays recordings with ground truth
instead, on to their complete objects.  `--long` measures memory instead, over 2,000 frames.  Writes
benchmarks/results/streaming.json.
"""

import argparse
import logging
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.reconstruction import split
from benchmarks.records import RESULTS, provenance_of, write_results
from instascene_core.config import Config, SyntheticConfig
from instascene_core.datasets import open_dataset
from instascene_core.frame import Frame
from instascene_core.metrics import compare_objects, load_truth
from instascene_core.scene import Scene
from instascene_core.synthetic import generate_scene

logger = logging.getLogger("benchmarks.streaming")


def play(scene: Scene, frames: list[Frame], period: float) -> float:
    """Give `frames` to the scene, one every `period` seconds; the seconds that frames had to wait at most."""
    start, late = time.perf_counter(), 0.0
    for index, frame in enumerate(frames):
        due = start + index * period
        while (left := due - time.perf_counter()) > 0:
            if not scene.work_ahead(min(left, 0.1)):
                time.sleep(max(0.0, due - time.perf_counter()))
        late = max(late, time.perf_counter() - due)
        scene.add_frame(frame)
    return late


def objects(folder: Path, hz: float) -> dict:
    """A recording, streamed, and how long after its last frame all objects are complete, stage by stage."""
    frames = [frame.with_(labels=None) for frame in open_dataset(folder, use_masks=False)]
    scene = Scene()
    late = play(scene, frames, 1 / hz)
    last = time.perf_counter()
    scene.run()
    complete = time.perf_counter() - last
    accuracy = compare_objects(scene.objects, load_truth(folder / "ground_truth"))
    ious = [row.volume_iou if row.instance_id is not None else 0.0 for row in accuracy.objects]
    camera = frames[0].camera
    logger.info("%s at %g Hz: all complete %.1f s after the last frame", folder.name, hz, complete)
    return {
        "recording": folder.name, "hz": hz, "frames": len(frames), "width": camera.width,
        "height": camera.height, "complete_s": complete, "late_s": late,
        "seconds": dict(scene.metrics["seconds"]), "true_objects": len(ious), "objects": len(scene.objects),
        "volume_iou": float(np.mean(ious)),
    }  # fmt: skip


def held_out(scene: Scene, frames: list[Frame]) -> dict[str, float]:
    """psnr, depth_error … on frames the scene has not seen."""
    scene.evaluate_held_out(frames)
    measured = {k.removeprefix("held_out_"): v for k, v in scene.metrics.items() if k.startswith("held_out_")}
    return {name: float(value) for name, value in measured.items()}


def stream(seed: int, hz: float) -> dict:
    """One scene, streamed and offline."""
    source = generate_scene(SyntheticConfig(seed=seed, num_views=68))
    train, test = split(list(source.frames()))
    scene = Scene()
    late = play(scene, train, 1 / hz)
    last = time.perf_counter()
    scene.reconstruct()
    ready = time.perf_counter() - last
    streamed = held_out(scene, test)
    offline = Scene()
    for frame in train:
        offline.add_frame(frame)
    start = time.perf_counter()
    offline.reconstruct()
    seconds = time.perf_counter() - start
    wanted = held_out(offline, test)
    logger.info(
        "seed %d at %g Hz: ready %.1f s after the last frame (offline %.1f s), %.2f dB (offline %.2f), "
        "depth %.2f mm (%.2f); frames waited %.2f s at most",
        seed, hz, ready, seconds, streamed["psnr"], wanted["psnr"], 1e3 * streamed["depth_error"],
        1e3 * wanted["depth_error"], late,
    )  # fmt: skip
    return {
        "seed": seed, "hz": hz, "frames": len(train), "ready_s": ready, "offline_s": seconds, "late_s": late,
        "streamed": streamed, "offline": wanted,
    }  # fmt: skip


def endless(frames: int, width: int, height: int) -> dict:
    """Peak memory of a stream while the camera circles; each frame has its own image, as a driver's would."""
    source = generate_scene(SyntheticConfig(seed=1, num_views=60, width=width, height=height))
    views = list(source.frames())
    scene = Scene(Config(reconstruction=replace(Config().reconstruction, online_iterations=1)))
    before, curve = resident_mb(), []
    for index in range(frames):
        view, wobble = views[index % len(views)], np.eye(4)
        assert view.depth is not None, "the frames of a generated scene have depth"
        wobble[:3, 3] = 1e-4 * np.array([np.sin(index), np.cos(index), 0])  # no two poses are the same
        scene.add_frame(
            view.with_(
                name=f"{index:06d}", rgb=view.rgb.copy(), depth=view.depth.copy(),
                world_from_camera=wobble @ view.world_from_camera,
            )
        )  # fmt: skip
        scene.work_ahead(0.05)
        if index % 100 == 99:
            curve.append(resident_mb() - before)
            logger.info(
                "%5d frames in, %d held, %.0f MB beyond the start", index + 1, len(scene.frames), curve[-1]
            )
    start = time.perf_counter()
    scene.reconstruct()
    return {
        "frames": frames, "held": len(scene.frames), "width": width, "height": height, "start_mb": before,
        "growth_mb": curve, "polish_s": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def resident_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--hz", type=float, default=2.0)
    parser.add_argument("--recordings", type=Path, nargs="*", default=[], help="with ground truth")
    parser.add_argument("--long", action="store_true", help="memory of 2,000 frames instead")
    parser.add_argument("--size", type=int, nargs=2, default=[320, 240], help="of the images of --long")
    parser.add_argument("--output", type=Path, default=RESULTS / "streaming.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    record = "streaming_memory" if arguments.long else "streaming"
    made_by = provenance_of(record)
    if arguments.long:
        found = {"long": endless(2000, *arguments.size)}
        path = arguments.output.with_stem(arguments.output.stem + "_memory")
    elif arguments.recordings:
        found = {"objects": [objects(folder, arguments.hz) for folder in arguments.recordings]}
        path = arguments.output
    else:
        found = {"runs": [stream(seed, arguments.hz) for seed in arguments.seeds]}
        path = arguments.output
    write_results(path, record, found, made_by)
    logger.info("written to %s", path)


if __name__ == "__main__":
    main()
