"""OpenSplat on the CPU beside our reconstruction: PSNR of views that neither has seen, over seconds.

Both get the same undistorted images and poses, cropped so that the principal point is the middle: OpenSplat
takes it to be there.  OpenSplat starts from points that it does not find itself: it is given those that our
reconstruction triangulates, and their time is not counted for it; for ours it is.
"""

import json
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.peers_ellipsoids import read_ellipsoids, render_ellipsoids
from instascene_core.config import ReconstructionConfig
from instascene_core.frame import Frame
from instascene_core.reconstruction import evaluate, reconstruct
from instascene_core.stereo import triangulate
from instascene_core.transforms import OPENGL_FROM_OPENCV

ITERATIONS = 100, 200, 400, 800, 1200  # ours, each a run of its own: its schedules end with it
CHECKPOINTS = 10  # files that OpenSplat writes on its way
# Of OpenSplat, options and iterations.  By default it trains at a quarter of the size for 3,000 of them and
# at half of it for 3,000 more; the whole size takes it seconds an iteration.
SETTINGS = {
    "its defaults": ((), 1000),
    "finer sooner": (("--resolution-schedule", "250"), 600),
}
BACKGROUND = np.array([0.6130, 0.0101, 0.3984])  # that it trains before

logger = logging.getLogger("benchmarks.peers")


@dataclass(frozen=True)
class Moment:
    """How long a process had run when it said that it was at a step."""

    seconds: float  # by the wall
    cpu_seconds: float


def ours(train: list[Frame], test: list[Frame], iterations: int) -> dict:
    """One reconstruction, triangulation and stereo included."""
    start = time.process_time()
    result = reconstruct(train, replace(ReconstructionConfig(), iterations=iterations))
    cpu_seconds = time.process_time() - start
    psnr = evaluate(result.gaussians, test, result.background).summary()["psnr"]
    return _row("ours", iterations, Moment(result.seconds, cpu_seconds), psnr, len(result.gaussians))


def opensplat(executable: Path, train: list[Frame], test: list[Frame], setting: str) -> list[dict]:
    """A row per file written on the way.  setting: of SETTINGS.  Raises RuntimeError where it fails."""
    options, iterations = SETTINGS[setting]
    every = iterations // CHECKPOINTS
    with tempfile.TemporaryDirectory(prefix="instascene_") as name:
        folder = Path(name)
        write_project(folder, train)
        command = [
            str(executable), str(folder), "--cpu", "--keep-crs", "-n", str(iterations), "-o",
            str(folder / "splat.ply"), "--save-every", str(every), *options,
        ]  # fmt: skip
        moments = follow(command)
        rows = []
        for step in range(every, iterations + 1, every):
            scene = read_ellipsoids(folder / f"splat_{step}.ply")
            psnr = float(np.mean([psnr_of(frame, render_ellipsoids(
                scene, frame.camera, frame.world_from_camera, BACKGROUND)) for frame in test]))  # fmt: skip
            rows.append(_row(f"OpenSplat, {setting}", step, moments[step], psnr, len(scene.means)))
    return rows


def centred(frame: Frame) -> Frame:
    """The largest part of the image in whose middle, to half a pixel, its principal point lies."""
    camera = frame.camera
    left, top = round(2 * camera.cx - camera.width), round(2 * camera.cy - camera.height)
    return frame.cropped(max(left, 0), max(top, 0), camera.width + min(left, 0), camera.height + min(top, 0))


def write_project(folder: Path, frames: list[Frame]) -> None:
    """A nerfstudio project: undistorted images, poses, triangulated points with their colours."""
    points = triangulate(frames)
    colors = np.full((len(points.positions), 3), 128, dtype=np.uint8)
    listed = []
    for index, frame in enumerate(frames):
        camera, name = frame.camera, f"{index:05d}.png"
        cv2.imwrite(str(folder / name), cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
        listed.append({
            "file_path": name, "transform_matrix": (frame.world_from_camera @ OPENGL_FROM_OPENCV).tolist(),
            "w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx,
            "cy": camera.cy,
        })  # fmt: skip
        seen = points.observations[index]
        at = frame.locate(points.positions[seen])
        colors[seen] = frame.rgb[at.row, at.column]
    (folder / "transforms.json").write_text(
        json.dumps({"camera_model": "PINHOLE", "ply_file_path": "points.ply", "frames": listed})
    )
    lines = [f"element vertex {len(colors)}", *(f"property float {axis}" for axis in "xyz")]
    lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    rows = [f"{x} {y} {z} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(points.positions, colors, strict=True)]
    (folder / "points.ply").write_text(
        "\n".join(["ply", "format ascii 1.0", *lines, "end_header", *rows, ""])
    )


def follow(command: Sequence[str]) -> dict[int, Moment]:
    """Run a command; when it printed "Step N", for every N."""
    start, moments, said = time.perf_counter(), {}, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Step "):
                step = int(line.split()[1].rstrip(":"))
                moments[step] = Moment(time.perf_counter() - start, _cpu_seconds(process.pid))
            else:
                said.append(line.strip())
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {' '.join(said[-2:])}")
    return moments


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system


def psnr_of(frame: Frame, color: np.ndarray) -> float:
    """As `reconstruction.evaluate` has it: over the frame's valid pixels, colours cut to [0, 1]."""
    error = (np.clip(color, 0, 1) - frame.rgb.astype(np.float32) / 255) ** 2
    return float(-10 * np.log10(error.mean() if frame.valid is None else error[frame.valid].mean()))


def _row(method: str, iterations: int, at: Moment, psnr: float, gaussians: int) -> dict:
    row = {"method": method, "iterations": iterations, "seconds": at.seconds, "cpu_seconds": at.cpu_seconds,
           "psnr": psnr, "gaussians": gaussians}  # fmt: skip
    logger.info(
        "%-22s %5d iterations  %6.1f s  %6.1f processor s  %5.2f dB  %6d Gaussians",
        method, iterations, at.seconds, at.cpu_seconds, psnr, gaussians,
    )  # fmt: skip
    return row
