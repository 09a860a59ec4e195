"""Runs the public code of MaskClustering on the CPU: `python mask_clustering.py CHECKOUT IN.npz OUT.npz`.

Reads what `benchmarks.peers_clustering` writes; gives what the checkout's own export holds.  Nothing of that
code is here: what it asks of CUDA and of pytorch3d is stood in for.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import open3d
import torch
from scipy.spatial import cKDTree

CONFIG = "demo"  # a name of the checkout's configs/
MAX_DEPTH = 20.0  # what it takes for no measurement; such pixels must hold 0


def ball_query(queries, points, query_counts, point_counts, K, radius, return_nn):
    """The first K points of each batch within the radius of each query, −1 where there are fewer."""
    found = np.full((*queries.shape[:2], K), -1, dtype=np.int64)
    for b, (m, n) in enumerate(zip(query_counts.tolist(), point_counts.tolist())):
        near = cKDTree(points[b, :n].numpy()).query_ball_point(
            queries[b, :m].numpy(), radius, return_sorted=True
        )
        for row, inside in zip(found[b], near):
            row[: min(K, len(inside))] = inside[:K]
    return None, torch.from_numpy(found), None


def stand_in_for_cuda_and_pytorch3d() -> None:
    torch.set_num_threads(1)
    torch.Tensor.cuda = lambda self, *_, **__: self
    package, ops = ModuleType("pytorch3d"), ModuleType("pytorch3d.ops")
    setattr(ops, "ball_query", ball_query)  # noqa: B010  (a module has no such attribute to type)
    sys.modules.update({"pytorch3d": package, "pytorch3d.ops": ops})


class Given:
    """The frames, as the checkout asks a data set for them."""

    def __init__(self, data, folder: str) -> None:
        self.data, self.object_dict_dir = data, folder

    def get_scene_points(self) -> np.ndarray:
        return self.data["points"]

    def get_intrinsics(self, frame):
        fx, fy, cx, cy = self.data["intrinsics"]
        height, width = self.data["depth"].shape[1:]
        camera = open3d.camera.PinholeCameraIntrinsic()
        camera.set_intrinsics(width, height, fx, fy, cx - 0.5, cy - 0.5)  # open3d's pixel centres are whole
        return camera

    def get_extrinsic(self, frame) -> np.ndarray:
        return self.data["poses"][frame]

    def get_depth(self, frame) -> np.ndarray:
        depth = self.data["depth"][frame]
        return np.where(depth < MAX_DEPTH, depth, np.float32(0))

    def get_segmentation(self, frame, align_with_depth=False) -> np.ndarray:
        return self.data["labels"][frame]


def main() -> None:
    checkout, source, target = (Path(name).resolve() for name in sys.argv[1:])
    stand_in_for_cuda_and_pytorch3d()
    sys.path.insert(0, str(checkout))
    from graph import construction  # pyright: ignore[reportMissingImports] (of the checkout, as all below)
    from graph.iterative_clustering import iterative_clustering  # pyright: ignore[reportMissingImports]
    from utils.post_process import post_process  # pyright: ignore[reportMissingImports]

    settings = json.loads((checkout / "configs" / f"{CONFIG}.json").read_text())
    args = SimpleNamespace(**settings, config=CONFIG, seq_name="scene", debug=False)
    with np.load(source, allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    projecting, project = 0.0, construction.frame_backprojection

    def timed(*arguments):
        nonlocal projecting
        start = time.process_time()
        result = project(*arguments)
        projecting += time.process_time() - start
        return result

    construction.frame_backprojection = timed
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        os.chdir(folder)  # it writes below the working directory
        given, frames = Given(data, folder), list(range(len(data["poses"])))
        start, points = time.process_time(), given.get_scene_points()
        nodes, thresholds, clouds, seen = construction.mask_graph_construction(args, points, frames, given)
        found = iterative_clustering(nodes, thresholds, args.view_consensus_threshold, args.debug)
        post_process(given, found, clouds, points, seen, frames, args)
        seconds = time.process_time() - start
        written = Path(folder, "data", "prediction", f"{CONFIG}_class_agnostic", "scene.npz")
        with np.load(written, allow_pickle=False) as file:
            masks = file["pred_masks"]
        os.chdir(target.parent)
    np.savez(target, masks=masks, cpu_seconds=seconds, projecting=projecting)


if __name__ == "__main__":
    main()
