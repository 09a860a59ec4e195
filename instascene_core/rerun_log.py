"""What a run does, for the viewer of Rerun (rerun.io): an .rrd file, or a viewer that is open.

Two timelines: `frame`, the recording frame by frame, and `stage`, what was made of it, in order.  The log
grows as the work goes on: after an error it holds what came before.

    world/camera             pose and lens; /image, /depth and /labels in its pixels, on `frame`
    world/gaussians          the reconstruction as points in its colours, from stage 1 on
    world/instances          the same points in the colours of their instances, from stage 2 on
    world/objects/<id>       completed meshes, from stage 3 on
    world/evidence/<id>      the same, what was observed blue, what was generated orange
    stages                   a line for what each stage said; progress/<stage> its share done
"""

import secrets
import struct
from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.colors import instance_color, observed_colors
from instascene_core.errors import InputError, needs
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback
from instascene_core.scene import SceneState

SPAWN = "spawn"
MARKER = "instascene-run-"  # begins the id of every recording of ours
# An .rrd is a header, then messages: kind and length (two u64), and so many bytes.
RRD_MAGIC, RRD_HEADER = b"RRF2", 12
MESSAGE = struct.Struct("<QQ")
RRD_END, STORE_INFO = 0, 1  # kinds of messages; the second holds, as text, whose recording it begins
MAX_STORE_INFO, MAX_MESSAGE = 2**16, 2**40  # bytes; ours have a hundred of the first kind
STAGES = ("read", "reconstruct", "segment", "complete")
SHADE = 90  # grey of what belongs to no instance
JPEG_QUALITY = 85
RADII = 1.0  # of a point, in the smaller deviation of its disk


class RerunLog:
    """Logs of one run.  `target`: a file *.rrd, or SPAWN for a viewer that opens now.

    A file of an earlier run is replaced.  Raises MissingDependencyError without rerun-sdk, InputError for a
    target that is neither, and for a file that is there already and another's.
    """

    def __init__(self, target: str) -> None:
        if target != SPAWN and Path(target).suffix.lower() != ".rrd":
            raise InputError(f"--rerun takes a file *.rrd or the word '{SPAWN}', not '{target}'.")
        if target != SPAWN and Path(target).exists() and not is_own_recording(Path(target)):
            raise InputError(
                f"There is a file '{target}' already, and no run wrote it; name another one with --rerun."
            )
        self._rr = _rerun()
        self._recording = self._rr.RecordingStream("instascene", recording_id=MARKER + secrets.token_hex(8))
        try:
            if target == SPAWN:
                self._recording.spawn()
            else:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                self._recording.save(target)
        except (OSError, RuntimeError) as error:  # a folder that is none, no viewer, no display
            raise InputError(f"--rerun {target} is not possible: {error}.") from error
        self._stages: list[str] = []  # that have said something
        self._log("world", self._rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._at_stage(0)

    def close(self) -> None:
        """Write what is not written yet."""
        self._recording.flush()
        self._recording.disconnect()

    def progress(self, stage: str, fraction: float, message: str) -> None:
        """A callback: what a stage says when it begins and ends, and its share done."""
        rr = self._rr
        self._log(f"progress/{stage}", rr.Scalars([fraction]))
        if stage not in self._stages or fraction >= 1:
            self._stages.append(stage)
            self._log("stages", rr.TextLog(f"{stage}: {message}" if message else stage))

    def frame(self, number: int, frame: Frame, labels: np.ndarray | None = None) -> None:
        """A frame of the recording.  labels: [H, W] int32 in place of the frame's own."""
        rr, camera = self._rr, frame.camera
        self._recording.set_time("frame", sequence=number)
        pose = frame.world_from_camera
        self._log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        self._log(
            "world/camera",
            rr.Pinhole(
                focal_length=[camera.fx, camera.fy], principal_point=[camera.cx, camera.cy],
                resolution=[camera.width, camera.height], camera_xyz=rr.ViewCoordinates.RDF,
            ),
        )  # fmt: skip
        self._log("world/camera/image", rr.Image(frame.rgb).compress(jpeg_quality=JPEG_QUALITY))
        if frame.depth is not None:
            self._log("world/camera/depth", rr.DepthImage(frame.depth, meter=1.0))
        labels = frame.labels if labels is None else labels
        if labels is not None:
            shown = np.where(labels == UNLABELLED, 0, labels).astype(np.uint16)
            self._log("world/camera/labels", rr.SegmentationImage(shown))

    def results(self, state: SceneState) -> None:
        """What a run has made, stage by stage, as far as it got."""
        if state.reconstruction is None:
            return
        self._at_stage(1)
        points, colors, radii = _points(state)
        self._log("world/gaussians", self._rr.Points3D(points, colors=colors, radii=radii))
        if state.decomposition is None:
            return
        self._at_stage(2)
        self._instances(state, points, radii)
        self._at_stage(3)
        for number, thing in state.objects.items():
            self._object(int(number), thing)

    def _instances(self, state: SceneState, points: np.ndarray, radii: np.ndarray) -> None:
        found = state.require_decomposition().instances
        self._log(
            "world/instances", self._rr.Points3D(points, colors=shades(found.gaussian_labels), radii=radii)
        )
        ids = [int(instance.id) for instance in found.instances]
        classes = [(number, str(number), instance_color(number)) for number in ids]
        self._log("world", self._rr.AnnotationContext(classes), static=True)
        for number, frame in enumerate(state.posed_frames):
            self.frame(number, frame, found.label_images[frame.name])

    def _object(self, number: int, thing: CompletedObject) -> None:
        rr, mesh = self._rr, thing.mesh
        evidence = observed_colors(np.clip(thing.observed, 0, 1)).astype(np.uint8)
        for place, colors in (
            (f"world/objects/{number}", thing.colors),
            (f"world/evidence/{number}", evidence),
        ):
            self._log(
                place,
                rr.Mesh3D(
                    vertex_positions=mesh.vertices, triangle_indices=mesh.triangles, vertex_colors=colors
                ),
            )

    def _at_stage(self, number: int) -> None:
        self._recording.disable_timeline("frame")  # what follows is of all frames
        self._recording.set_time("stage", sequence=number)
        self._log("stages", self._rr.TextLog(f"stage {number}: {STAGES[number]}"))

    def _log(self, place: str, what: Any, static: bool = False) -> None:
        self._recording.log(place, what, static=static)


def is_own_recording(path: Path) -> bool:
    """Whether a file holds recordings of runs and no other's, or nothing at all; without the SDK."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(RRD_HEADER)
        if not header:
            return True
        if len(header) < RRD_HEADER or not header.startswith(RRD_MAGIC):
            return False
        begun = False
        while len(head := file.read(MESSAGE.size)) == MESSAGE.size:
            kind, length = MESSAGE.unpack(head)
            if kind == RRD_END:
                break
            if kind != STORE_INFO and length <= MAX_MESSAGE:
                file.seek(length, 1)
                continue
            if length > MAX_STORE_INFO or MARKER.encode() not in file.read(length):
                return False
            begun = True
        return begun


class NoLog:
    """In place of a RerunLog where none is wanted."""

    def close(self) -> None:
        """Nothing is open."""

    def progress(self, stage: str, fraction: float, message: str) -> None:
        """Ignored."""

    def frame(self, number: int, frame: Frame) -> None:
        """Ignored."""

    def results(self, state: SceneState) -> None:
        """Ignored."""


def both(first: ProgressCallback, second: ProgressCallback) -> ProgressCallback:
    """A callback that tells two."""

    def tell(stage: str, fraction: float, message: str) -> None:
        first(stage, fraction, message)
        second(stage, fraction, message)

    return tell


def shades(labels: np.ndarray) -> np.ndarray:
    """[N, 3] uint8: each instance of labels [N] in its colour, what belongs to none grey."""
    names, index = np.unique(labels, return_inverse=True)
    colors = [(SHADE,) * 3 if name == UNLABELLED else instance_color(int(name)) for name in names]
    return np.array(colors, dtype=np.uint8)[index.reshape(-1)]


def _points(state: SceneState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres [N, 3] metres, colours [N, 3] uint8 and radii [N] metres of the Gaussians."""
    model = state.require_reconstruction().gaussians
    colors = np.round(255 * np.clip(model.base_colors.numpy(), 0, 1)).astype(np.uint8)
    return model.means.numpy(), colors, RADII * model.scales.numpy().min(axis=1)


def _rerun() -> Any:
    """The module; MissingDependencyError that says how to install it."""
    with needs("rerun", "--rerun needs the Rerun SDK; install it with `pip install rerun-sdk`."):
        import rerun  # pyright: ignore[reportMissingImports] (optional: the extra rerun)
    return rerun
