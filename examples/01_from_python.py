"""From a recording to complete meshes, in Python: `python examples/01_from_python.py INPUT OUTPUT`.

INPUT is a folder of images with poses (nerfstudio's transforms.json, a COLMAP model) or a rosbag2.  OUTPUT
gets one folder an object with its mesh, and the scene.  Words KEY=VALUE after these change settings, such as
`reconstruction.iterations=300`.  `instascene synth INPUT` makes a recording to try it on.
"""

import sys
from pathlib import Path

import numpy as np

import instascene_core as isc


def main(source: Path, output: Path, settings: list[str]) -> isc.Scene:
    """The whole job, one call a step; returns the scene."""
    scene = isc.Scene(isc.load_config(overrides=settings))
    for frame in isc.open_dataset(source):  # images, poses [4, 4], depth in metres if any
        scene.add_frame(frame)
    failures = scene.run()  # reconstruct, find the instances, complete every object
    for number, thing in scene.objects.items():
        size = " × ".join(f"{100 * length:.1f}" for length in thing.dimensions)
        print(f"object {number}: {size} cm, {100 * thing.observed_fraction:.0f} % of it seen")
    for number, reason in failures.items():
        print(f"object {number} was not completed: {reason}")
    isc.save_scene(scene, output)
    return scene


def the_steps_by_themselves(source: Path) -> dict[int, np.ndarray]:
    """The same without `Scene`: each step is a function from frozen values to one frozen value.

    Returns the vertices [V, 3] (metres, world frame) of every object's closed mesh.
    """
    frames = list(isc.open_dataset(source))
    reconstruction = isc.reconstruct(frames)
    decomposition = isc.decompose(reconstruction)
    return {
        instance.id: isc.complete(decomposition, instance.id).mesh.vertices
        for instance in decomposition.instances.objects
    }


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except isc.InputError as error:
        sys.exit(str(error))
