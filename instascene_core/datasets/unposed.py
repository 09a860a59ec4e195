"""Recordings without poses: what they are, and the sentence about them."""

from pathlib import Path

from instascene_core.datasets.listed_files import IMAGE_SUFFIXES
from instascene_core.datasets.video import VIDEO_SUFFIXES

IMAGE_FOLDERS = ("", "images", "rgb", "color")  # in which a folder keeps its images


def is_video(path: Path) -> bool:
    """Whether it is a file that is named like a video."""
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def images_in(path: Path) -> list[Path]:
    """The image files of a folder, or of images/, rgb/ or color/ in it, by name."""
    for name in IMAGE_FOLDERS:
        folder = path / name
        inside = folder.iterdir() if folder.is_dir() else ()
        if files := sorted(f for f in inside if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()):
            return files
    return []


def how_to_get_poses(path: Path) -> str | None:
    """The sentence for a video or a folder of images, which have no poses; None for anything else."""
    if is_video(path):
        what = "a video"
    elif files := images_in(path):
        what = f"a folder of {len(files)} images"
    else:
        return None
    posed = path.with_name(f"{path.stem}_posed")
    return (
        f"{path} is {what} without camera poses; make them first: `instascene poses {path} --output "
        f"{posed}`, then `instascene run {posed} --output OUT`."
    )
