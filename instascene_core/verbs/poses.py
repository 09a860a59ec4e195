"""`instascene poses`: camera poses of images that have none."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.terminal import console, progress_bars, warn
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Poses:
    """Estimate the camera poses of images or a video that have none, with COLMAP; `run` reads the result.

    Lengths are metres only where something says the scale: --marker-size, --distance or --depth."""

    input: Annotated[Path, tyro.conf.Positional]
    """Folder of images, or a video, of a scene that stands still."""
    output: Path
    """Folder to write: new, empty, or of an earlier `poses`, which is replaced."""
    marker_size: float | None = None
    """Side of the black square of ArUco or AprilTag markers, single or on a ChArUco board, metres."""
    marker_dictionary: str = "4X4_50"
    """Dictionary of the markers, by OpenCV's name: 4X4_50, 5X5_100, APRILTAG_36h11, ..."""
    distance: tuple[str, str, float] | None = None
    """Names of two images and the distance between the camera's places in them, metres."""
    depth: Path | None = None
    """Folder of depth images named like the images; the scale is theirs, and `run` uses them."""
    depth_unit: float = 0.001
    """Metres a step of the depth images."""
    max_images: int = 150
    """At most so many images, evenly spaced, of a video the sharpest ones (0 = all)."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.posing import DepthScale, DistanceScale, MarkerScale, estimate_poses

        known = []
        if self.marker_size is not None:
            known.append(MarkerScale(self.marker_size, self.marker_dictionary))
        if self.distance is not None:
            known.append(DistanceScale(*self.distance))
        depth = None if self.depth is None else DepthScale(self.depth, self.depth_unit)
        with progress_bars() as progress:
            found = estimate_poses(self.input, self.output, known, depth, self.max_images, progress)
        console.print(
            f"{found.registered} of {found.images} images have poses (reprojection error {found.error:.2f} "
            f"pixels) in {self.output}",
            highlight=False,
        )
        if found.scale is None:
            warn(
                "the scale is not known: the median distance from the cameras is taken for 1 m; "
                "--marker-size, --distance or --depth make it metres"
            )
        else:
            spread = f", single ones {found.scale.spread:.1%} off" if found.scale.spread else ""
            console.print(f"scale from {found.scale.source}{spread}", highlight=False)
        if found.up == "cameras":
            warn("up is taken from how the cameras were held, for lack of a clear plane")
        console.print(f"next: instascene run {self.output} --output OUT", highlight=False, soft_wrap=True)
        return Answer(
            {
                "folder": self.output,
                "images": found.images,
                "registered": found.registered,
                "reprojection_error_pixels": found.error,
                "scale": None if found.scale is None else asdict(found.scale),
                "up_from": found.up,
            }
        )
