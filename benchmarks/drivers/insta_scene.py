"""Runs the public mask clustering of InstaScene on the CPU: `python insta_scene.py CHECKOUT IN.npz OUT.npz`.

Reads what `benchmarks.peers_clustering` writes.  Nothing of that code is here: what it asks of CUDA is stood
in for, and what it asks of its renderer, which Gaussians make up which pixels, comes with IN.npz.
"""

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch


def stand_in_for_cuda_and_renderer(render) -> None:
    torch.set_num_threads(1)
    torch.Tensor.cuda = lambda self, *_, **__: self
    of_cpu = torch.tensor
    torch.tensor = lambda *values, device=None, **options: of_cpu(*values, **options)
    for name, attribute, value in (
        ("gaussian_renderer", "render", render),
        ("scene", "GaussianModel", SimpleNamespace),
        ("scene.cameras", "Camera", SimpleNamespace),
    ):
        module = ModuleType(name)
        setattr(module, attribute, value)
        sys.modules[name] = module


def main() -> None:
    checkout, source, target = (Path(name).resolve() for name in sys.argv[1:])
    with np.load(source, allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    bounds, pairs = data["pair_bounds"], torch.from_numpy(data["pairs"].astype(np.int64))
    views = [
        SimpleNamespace(image_name=f"{i:06d}", index=i, segmap=torch.from_numpy(labels.astype(np.int32)))
        for i, labels in enumerate(data["labels"])
    ]

    def render(view, *_):
        return {"gau_related_pixels": pairs[bounds[view.index] : bounds[view.index + 1]]}

    stand_in_for_cuda_and_renderer(render)
    sys.path.insert(0, str(checkout))
    from spatial_track.spatialtrack import (  # pyright: ignore[reportMissingImports] (of the checkout)
        GausCluster,
    )

    found = {}
    GausCluster.export = lambda self, association, save_dir: found.update(association)
    points = torch.from_numpy(data["points"].astype(np.float32))
    start = time.process_time()
    with torch.no_grad():
        GausCluster(SimpleNamespace(get_xyz=points, pipelineparams=None), views, debug=False).maskclustering()
    seconds = time.process_time() - start
    masks = np.zeros((len(points), len(found["total_point_ids_list"])), dtype=bool)
    for column, members in zip(masks.T, found["total_point_ids_list"]):
        column[list(members)] = True
    np.savez(target, masks=masks, cpu_seconds=seconds, projecting=0.0)


if __name__ == "__main__":
    main()
