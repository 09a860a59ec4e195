"""Writes docs/gallery.md, and pictures of finished runs: `tools/run python tools/gallery.py [NAME=OUT …]`.

NAME is one of ENTRIES, OUT the folder that its command wrote; without them only the page is written.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gallery.md"
COMMAND = "tools/run python tools/gallery.py"
WIDTH = 1600  # pixels of a picture at most


@dataclass(frozen=True)
class Entry:
    """A picture, or two, and the command that makes them."""

    title: str
    command: str
    text: str
    pictures: dict[str, str]  # file in docs/images → file of the run


ENTRIES = {
    "demo": Entry(
        "A procedural scene through ROS 2 topics",
        "make demo",
        "Input view, rendered Gaussians, instances, completed meshes, and the same by what was observed and "
        "what was generated.",
        {"demo.png": "overview.png"},
    ),
    "apc_shelf": Entry(
        "A shelf of the Amazon Picking Challenge",
        "instascene run apc_shelf --output OUT",
        "15 views of a robot's wrist camera, no setting; the pictures are of an earlier version. The backs, "
        "which no camera saw, are guesses.",
        {"apc_shelf.png": "overview.png", "apc_shelf_sides.png": "objects.png"},
    ),
    "generated": Entry(
        "Colours that no camera saw",
        "python -m benchmarks.generation_sheet",
        "Observed views, and sides that the multi-view prior has made.",
        {"generated.png": "generated.png"},
    ),
}


def page() -> str:
    """The whole page."""
    parts = [
        f"# Gallery\n\n<!-- written by `{COMMAND}`; do not edit -->\n",
        "Each picture is made by a command, and looks as that command's result looks, good or bad.\n",
    ]
    for entry in ENTRIES.values():
        parts.append(f"## {entry.title}\n\n    {entry.command}\n\n{entry.text}\n")
        parts += [f"![{entry.title}](images/{name})\n" for name in entry.pictures]
    parts.append(
        "## Your own\n\n`instascene run` writes `overview.png` and `objects.png` of every scene; "
        "`make demo INPUT=recording` makes the first picture of this page of yours.\n"
    )
    return "\n".join(parts)


def take_pictures(entry: Entry, run: Path, images: Path) -> None:
    """Copy the pictures of a finished run, made smaller than WIDTH.  OSError where one is not there."""
    from PIL import Image

    for name, source in entry.pictures.items():
        with Image.open(run / source) as image:
            image.thumbnail((WIDTH, WIDTH))
            image.save(images / name, optimize=True)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("runs", nargs="*", metavar="NAME=OUT", help=f"NAME: {', '.join(ENTRIES)}")
    for word in parser.parse_args(words).runs:
        name, _, run = word.partition("=")
        if name not in ENTRIES or not run:
            parser.error(f"'{word}' is not NAME=OUT with NAME one of {', '.join(ENTRIES)}")
        take_pictures(ENTRIES[name], Path(run), ROOT / "docs" / "images")
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
