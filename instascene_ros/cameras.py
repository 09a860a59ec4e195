"""Several cameras that look at one scene, as one source of frames."""

from collections.abc import Callable

from instascene_ros.frame_assembly import AssembledFrame, FrameCounters
from instascene_ros.frame_building import Decoding
from instascene_ros.frame_source import FrameSource
from instascene_ros.parameters import InputParameters


class Cameras:
    """A FrameSource for each camera, with its own lens, rates, poses and masks; thread-safe as they are.

    `parameters.cameras` names their namespaces; with none there is one camera, whose topics are the node's.
    """

    def __init__(
        self, node, parameters: InputParameters, map_frame: str, on_error: Callable[[str, str], None]
    ) -> None:
        self._sources = {
            camera: FrameSource(node, parameters, map_frame, on_error, camera)
            for camera in parameters.camera_names
        }

    def start(self, on_frame: Callable[[AssembledFrame], None]) -> None:
        """Subscribe.  `on_frame` is called from callbacks of the node; it must be quick."""
        for source in self._sources.values():
            source.start(on_frame)

    def stop(self) -> None:
        """Hear nothing more, and forget what waits."""
        for source in self._sources.values():
            source.stop()

    def clear(self) -> None:
        """Forget what waits and start the counters anew."""
        for source in self._sources.values():
            source.clear()

    def set_keyframes(self, translation_m: float, rotation_deg: float) -> None:
        """From the next frame on: how far a camera must have moved or turned."""
        for source in self._sources.values():
            source.set_keyframes(translation_m, rotation_deg)

    def decoding_of(self, frame: AssembledFrame) -> Decoding:
        """How the messages of a frame are to be understood."""
        return self._sources[frame.camera].decoding_of(frame)

    def drop(self, reason: str, sentence: str = "") -> None:
        """Count a frame of any camera that was handed over but not used after all."""
        next(iter(self._sources.values())).drop(reason, sentence)

    def count_used(self) -> None:
        """Count a frame of any camera as used."""
        next(iter(self._sources.values())).count_used()

    @property
    def counters(self) -> FrameCounters:
        """Of all cameras together."""
        total = FrameCounters()
        for source in self._sources.values():
            total = total + source.counters
        return total
