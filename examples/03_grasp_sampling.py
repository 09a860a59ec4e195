"""Grasps of a two-finger gripper on the objects of a finished run:  python examples/03_grasp_sampling.py OUT

The best grasps of each object, between its neighbours and above the support: position of the gripper (metres,
world), its approach, width and how much of both contacts was seen.  `--save FILE` writes all as JSON with the
poses [4, 4].  grasps.py samples them, grasp_node.py does the same on a robot's `completed_objects`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from grasps import Body, Grasp, Gripper, sample_grasps

from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects


def support_of(output: Path) -> np.ndarray | None:
    """[4] a, b, c, d of the plane that things stand on, where the run found one."""
    plane = json.loads((output / "scene.json").read_text()).get("instances", {}).get("support_plane")
    return None if plane is None else np.array([*plane["normal"], -plane["offset"]])


def grasps_of(output: Path, gripper: Gripper, count: int) -> dict[int, list[Grasp]]:
    """Object → its grasps, best first.  Raises InputError where there is no finished run."""
    objects = load_objects(output)
    bodies = {
        int(number): Body(thing.mesh.vertices, thing.mesh.triangles, thing.observed)
        for number, thing in objects.items()
    }
    support = support_of(output)
    return {
        number: sample_grasps(
            body, [b for n, b in bodies.items() if n != number], gripper, count=count, support=support
        )
        for number, body in bodies.items()
    }


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("output", type=Path, help="folder that `instascene run` or save_scene wrote")
    parser.add_argument(
        "--opening", type=float, default=Gripper.opening, help="of the gripper, metres (0.08)"
    )
    parser.add_argument("--friction", type=float, default=Gripper.friction, help="coefficient (0.5)")
    parser.add_argument("--count", type=int, default=5, help="grasps an object (5)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write them as JSON")
    arguments = parser.parse_args(words)
    gripper = Gripper(opening=arguments.opening, friction=arguments.friction)
    try:
        found = grasps_of(arguments.output, gripper, arguments.count)
    except (InputError, OSError) as error:
        sys.exit(str(error))
    for number, grasps in found.items():
        for grasp in grasps[:1]:
            print(
                f"object {number}: at {grasp.pose[:3, 3].round(3)}, approach {grasp.pose[:3, 2].round(2)}, "
                f"{1000 * grasp.width:.0f} mm wide, {100 * grasp.observed:.0f} % of the contacts seen"
            )
        if not grasps:
            print(f"object {number}: no grasp")
    if arguments.save:
        facts = {
            n: [{"pose": g.pose.tolist(), "width_m": g.width} for g in all_] for n, all_ in found.items()
        }
        arguments.save.write_text(json.dumps(facts, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
