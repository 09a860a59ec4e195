"""A recording in no known format: images, a list of poses, a camera.

    python examples/02_own_recording.py FOLDER OUTPUT

FOLDER holds `camera.json` (width, height, fx, fy, cx, cy in pixels), `rgb/NAME.png`, where there is a depth
camera `depth/NAME.png` (16 bits, millimetres, registered to the image, 0 = none) and `poses.txt`, a line an
image: NAME x y z qx qy qz qw.  That is the camera in the world: metres, z up, optical axes (x right, y down,
z forward), as ROS and SLAM systems write it.  What your program has instead goes into `frames`.  Words
KEY=VALUE after these change settings.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import instascene_core as isc


def pose_of(numbers: list[float]) -> np.ndarray:
    """[4, 4] world_from_camera of x y z qx qy qz qw."""
    position, (x, y, z, w) = numbers[:3], np.array(numbers[3:]) / np.linalg.norm(numbers[3:])
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = position
    return pose


def frames(folder: Path) -> Iterator[isc.Frame]:
    """Each image with its pose; an image without lens distortion (cv2.undistort removes it)."""
    camera = isc.PinholeCamera(**json.loads((folder / "camera.json").read_text()))
    for number, line in enumerate((folder / "poses.txt").read_text().splitlines()):
        name, *numbers = line.split()
        rgb = np.array(Image.open(folder / "rgb" / f"{name}.png").convert("RGB"))
        depth, file = None, folder / "depth" / f"{name}.png"
        if file.exists():
            depth = np.array(Image.open(file)).astype(np.float32) / 1000
        yield isc.Frame(name, float(number), camera, pose_of([float(n) for n in numbers]), rgb, depth)


def main(folder: Path, output: Path, settings: list[str]) -> None:
    scene = isc.Scene(isc.load_config(overrides=settings))
    for frame in frames(folder):
        scene.add_frame(frame)
    scene.run()
    for number, thing in scene.objects.items():
        print(f"object {number}: {1e6 * thing.volume:.0f} cm³ at {thing.world_from_object[:3, 3].round(3)}")
    isc.save_scene(scene, output)  # `instascene export`, `settle` and `view` take it from here


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except (isc.InputError, OSError) as error:
        sys.exit(str(error))
