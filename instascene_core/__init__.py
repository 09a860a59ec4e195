"""InstaScene: complete, watertight object meshes from posed images of a cluttered scene.

    import instascene_core as isc

    scene = isc.Scene()
    for frame in isc.open_dataset("recording"):
        scene.add_frame(frame)
    scene.run()
    for number, thing in scene.objects.items():
        print(number, thing.dimensions, thing.watertight)
    isc.save_scene(scene, "out")

Lengths are metres, the world frame is that of the given poses (z up unless `Config.up` says otherwise),
camera axes are OpenCV's.  `examples/01_from_python.py` shows more.

The layers, bottom to top.  A module imports only from layers below its own, never from another package of
the same layer, and no two files import each other in a circle (`test/core/test_architecture.py` holds this):

    errors progress threads lens_formulas                           layer 0
    transforms camera colors config images untrusted time_budget    layer 1: plain values
    files config_file config_listing pose_conventions local_frame   layer 2
    weights pipelines geometry owned_folder saved_facts contents    layer 3
    frame gaussians instances                                       layer 4: what one step hands to the next
    objects gaussians_ply corrections                               layer 5
    datasets rendering sparse                                       layer 6
    metrics ownership plausibility posing stereo                    layer 7
    synthetic                                                       layer 8
    registration reconstruction segmentation association features completion parts    layer 9: steps
    scene                                                           layer 10: the paper in order
    training viewer                                                 layer 11
    export                                                          layer 12
    batch browser doctor rerun_log terminal tiles                   layer 13
    verbs                                                           layer 14: of the command, a file each
    cli                                                             layer 15
    start                                                           layer 16
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instascene_core.camera import PinholeCamera
    from instascene_core.config import Config
    from instascene_core.config_file import load_config
    from instascene_core.datasets import open_dataset
    from instascene_core.errors import Cancelled, InputError, MissingDependencyError, NotReadyError
    from instascene_core.export import export_object
    from instascene_core.export.saved_scene import load_scene, save_scene
    from instascene_core.frame import Frame
    from instascene_core.gaussians import GaussianModel
    from instascene_core.geometry import Plane, TriangleMesh
    from instascene_core.instances import Instance, InstanceMap
    from instascene_core.objects import CompletedObject
    from instascene_core.scene import (
        Decomposition,
        Reconstruction,
        Scene,
        SceneState,
        complete,
        decompose,
        reconstruct,
    )

# OpenMP's threads otherwise spin after each parallel section, which on shared or few cores steals the
# time of whoever works next.  Read when torch loads its OpenMP, so it must be set before that.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# numpy's and scipy's OpenBLAS would divide every product of matrices among threads of its own, which spin
# after it.  The products here are long and thin, and objects and frames are worked on side by side anyway.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

__version__ = "0.1.0"

# Public name → where it is defined; loaded when first asked for, so that importing the package stays fast.
_DEFINED_IN = {
    "Cancelled": "errors",
    "CompletedObject": "objects",
    "Config": "config",
    "Decomposition": "scene",
    "Frame": "frame",
    "GaussianModel": "gaussians",
    "InputError": "errors",
    "Instance": "instances",
    "InstanceMap": "instances",
    "MissingDependencyError": "errors",
    "NotReadyError": "errors",
    "PinholeCamera": "camera",
    "Plane": "geometry",
    "Reconstruction": "scene",
    "Scene": "scene",
    "SceneState": "scene",
    "TriangleMesh": "geometry",
    "complete": "scene",
    "decompose": "scene",
    "export_object": "export",
    "load_config": "config_file",
    "load_scene": "export.saved_scene",
    "open_dataset": "datasets",
    "reconstruct": "scene",
    "save_scene": "export.saved_scene",
}
__all__ = [
    "Cancelled",
    "CompletedObject",
    "Config",
    "Decomposition",
    "Frame",
    "GaussianModel",
    "InputError",
    "Instance",
    "InstanceMap",
    "MissingDependencyError",
    "NotReadyError",
    "PinholeCamera",
    "Plane",
    "Reconstruction",
    "Scene",
    "SceneState",
    "TriangleMesh",
    "complete",
    "decompose",
    "export_object",
    "load_config",
    "load_scene",
    "open_dataset",
    "reconstruct",
    "save_scene",
]


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
