"""The network on points: `python -m benchmarks.points [--unseen FOLDER] [--recordings FOLDER] …`.

- `--unseen`: twenty prepared scenes of shapes that no training has seen (made where they are missing):
  class-agnostic mAP, mAP50 and mAP25 on points.  `--weights NAME=FILE` adds rows of other networks, such as
  those of the ablation.
- `--speed`: a scene of 100,000 points from points to instances: seconds and memory beyond the libraries.
- `--recordings`: recordings with true masks (`FOLDER/NAME/ground_truth/masks`): label images of `points`,
  `builtin` and `builtin+points` in all views, without reconstruction: mIoU, AP50, precision.
- `--convolution`: our sparse convolution, and spconv's where it is installed.

Writes benchmarks/results/points.json; a row that is there for the same thing is replaced, the others stay.
"""

import argparse
import logging
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.records import RESULTS, provenance_of, write_results
from benchmarks.streaming import resident_mb
from instascene_core.config import SegmentationConfig
from instascene_core.config.points import PointsConfig, ReadingConfig
from instascene_core.datasets import open_dataset
from instascene_core.datasets.images import read_labels
from instascene_core.metrics.protocols import fitted
from instascene_core.metrics.segmentation import multi_view_iou
from instascene_core.segmentation import segmenter_named
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.files import WEIGHTS, load_points_network
from instascene_core.segmentation.points_network.segment import segment_points
from instascene_core.segmentation.points_network.superpoints import find_superpoints
from instascene_core.sparse import Pyramid, SubmanifoldConv, voxelize
from instascene_core.training.points.evaluate import evaluate
from instascene_core.training.points.prepared import PreparedScene, prepared_scenes, read_prepared
from instascene_core.training.points.procedural import write_scenes

UNSEEN = range(1000, 1021)  # seeds of the scenes (1019 shows too little), looked at by nobody before
SPEED_POINTS = 100_000
REPEATS = 3
SEGMENTERS = ("points", "builtin", "builtin+points")
UP = np.array([0.0, 0.0, 1.0])

logger = logging.getLogger("benchmarks.points")


def unseen(folder: Path, networks: dict[str, Path]) -> list[dict]:
    """One row a network."""
    write_scenes(folder, "unseen", UNSEEN, PointsConfig())
    rows = []
    for name, path in networks.items():
        network = load_points_network(path)
        found = evaluate(network, prepared_scenes(folder), ReadingConfig())
        scores = found.scores
        rows.append(
            {
                "network": name, "architecture": network.config.architecture,
                "start": network.config.decoder.start, "ap": scores.ap, "ap50": scores.ap50,
                "ap25": scores.ap25, "instances": scores.true_instances, "seconds": found.seconds,
            }
        )  # fmt: skip
        logger.info("%s", rows[-1])
    return rows


def crowd(scenes: list[PreparedScene], count: int) -> PointCloud:
    """Scenes side by side, as many points as asked for."""
    clouds, place, total = [], 0.0, 0
    for scene in scenes:
        cloud = scene.cloud
        span = float(np.ptp(cloud.positions[:, 0])) + 0.2
        shift = np.array([place - cloud.positions[:, 0].min(), 0, 0], np.float32)
        clouds.append((cloud, shift))
        place, total = place + span, total + len(cloud)
        if total >= count:
            break
    columns = {
        name: np.concatenate([getattr(cloud, name) for cloud, _ in clouds])[:count]
        for name in ("normals", "colors", "opacities", "scales")
    }
    positions = np.concatenate([cloud.positions + shift for cloud, shift in clouds])[:count]
    return PointCloud(positions=positions, **columns)


def speed(folder: Path) -> dict:
    """From 100,000 points to instances; the least of a few runs, and the peak of memory."""
    network, config = load_points_network(WEIGHTS), PointsConfig()
    cloud = crowd([read_prepared(path) for path in prepared_scenes(folder)], SPEED_POINTS)
    segment_points(cloud.select(np.arange(2000)), network, config)
    before, seconds, of_superpoints = resident_mb(), [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        find_superpoints(cloud, config.superpoints)
        of_superpoints.append(time.perf_counter() - start)
        start = time.perf_counter()
        found = segment_points(cloud, network, config)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "points": len(cloud), "seconds": min(seconds), "superpoint_seconds": min(of_superpoints),
        "least_of": REPEATS, "peak_mb": peak, "beyond_libraries_mb": peak - before, "instances": len(found),
    }  # fmt: skip
    logger.info("%s", row)
    return row


def recording(folder: Path) -> list[dict]:
    """One row a segmenter: its label images against the true ones."""
    frames = list(open_dataset(folder, use_masks=False))
    truth = [
        fitted(read_labels(folder / "ground_truth" / "masks" / f"{f.name}.png"), f.rgb.shape[:2])
        for f in frames
    ]
    rows = []
    for name in SEGMENTERS:
        segmenter = segmenter_named(name, SegmentationConfig(), up=UP)
        start = time.perf_counter()
        segmenter.prepare(frames, lambda *_: None)
        images = [segmenter.segment(frame) for frame in frames]
        seconds = time.perf_counter() - start
        trust: dict[int, float] = {}
        for image in images:
            trust |= image.scores
        scores = multi_view_iou([image.labels for image in images], truth, trust)
        rows.append(
            {
                "recording": folder.name, "masks": name, "true_objects": scores.true_objects,
                "instances": scores.instances, "miou": scores.miou, "ap50": scores.ap50,
                "recall_50": scores.recall_50, "precision_50": scores.precision_50, "seconds": seconds,
            }
        )  # fmt: skip
        logger.info("%s", rows[-1])
    return rows


def convolution(seed: int = 0, channels: int = 32) -> list[dict]:
    """Processor milliseconds of one submanifold convolution on thirty spheres, and with gradients."""
    rng = np.random.default_rng(seed)
    centres, radii = rng.uniform(0, 100, (30, 1, 3)), rng.uniform(5, 15, (30, 1, 1))
    directions = rng.normal(size=(30, 4000, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    voxels = voxelize(torch.from_numpy((centres + radii * directions).reshape(-1, 3)), 1.0).voxels
    pairs = Pyramid(voxels, 1).neighbours[0]
    features = torch.randn(len(voxels), channels, generator=torch.Generator().manual_seed(seed))
    layer = SubmanifoldConv(channels, channels)

    def learn() -> None:
        layer(features.requires_grad_(), pairs).sum().backward()

    rows = [
        {
            "library": "ours",
            "threads": torch.get_num_threads(),
            "voxels": len(voxels),
            "channels": channels,
            "forward_ms": _processor_ms(lambda: layer(features, pairs).detach()),
            "with_gradient_ms": _processor_ms(learn),
        }
    ]
    try:
        import spconv.pytorch as spconv  # pyright: ignore[reportMissingImports] (only to compare with)
    except ImportError:
        return rows
    cells = voxels.coordinates - voxels.coordinates.amin(dim=0)
    indices = torch.cat([voxels.batch[:, None], cells], dim=1).int()
    shape = (cells.amax(dim=0) + 1).tolist()
    other = spconv.SubMConv3d(channels, channels, 3, bias=False, indice_key="same")
    with torch.no_grad():
        first = other(spconv.SparseConvTensor(features.detach(), indices, shape, 1))
        again = first.replace_feature(features.detach())
        forward = _processor_ms(lambda: other(again))
    # Its CPU wheel asks for a CUDA stream in the backward pass, so there is no training with it.
    rows.append({**rows[0], "library": "spconv", "forward_ms": forward, "with_gradient_ms": None})
    return rows


def _processor_ms(work: Callable[[], object], repeats: int = 15) -> float:
    """Processor time, median of the fastest third: what else runs on the machine only makes it slower."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(sorted(times)[: repeats // 3])


def main() -> None:
    """Measure what is asked for and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--unseen", type=Path, help="folder of the prepared scenes of unseen shapes")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--speed", action="store_true", help="needs --unseen: its scenes make the large one")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[], help="folders with true masks")
    parser.add_argument("--convolution", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "points.json")
    arguments = parser.parse_args()
    if arguments.speed and not arguments.unseen:
        parser.error("--speed needs --unseen FOLDER")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    made_by, found = provenance_of("points"), {}
    if arguments.speed:  # first: what else is loaded is not its memory
        found["speed"] = speed(arguments.unseen)
    if arguments.unseen:
        others = dict(entry.split("=", 1) for entry in arguments.weights)
        networks = {"package": WEIGHTS, **{name: Path(path) for name, path in others.items()}}
        found["unseen"] = unseen(arguments.unseen, networks)
    if arguments.recordings:
        found["recordings"] = [row for folder in arguments.recordings for row in recording(folder)]
    if arguments.convolution:
        found["convolution"] = convolution()
    write_results(arguments.output, "points", found, made_by)


if __name__ == "__main__":
    main()
