"""Masks of a segmenter of your own:  python examples/06_custom_segmenter.py INPUT OUTPUT

`segment` takes an image and gives a label image: here things that stand out from a plain ground by their
colour; in its place goes what you have.  Ids need not agree between the frames, association joins the masks
of all views.  Masks that lie in a folder need no program: `instascene run INPUT --output OUT --masks FOLDER`.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab

import instascene_core as isc

UNLABELLED = -1
FAR = 22.0  # CIELAB distance from the ground's colour from which on a pixel belongs to a thing
LEAST = 60  # pixels of a mask


def segment(rgb: np.ndarray) -> np.ndarray:
    """[H, W] int32 of an image [H, W, 3] uint8: UNLABELLED, or an id ≥ 1 a thing."""
    lab = rgb2lab(rgb)
    ground = np.median(lab.reshape(-1, 3), axis=0)  # most of the image shows it
    apart = np.linalg.norm(lab - ground, axis=2) > FAR
    parts, count = ndimage.label(ndimage.binary_opening(apart, iterations=1))
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, np.arange(count + 1))
    return np.where((parts > 0) & (sizes[parts] >= LEAST), parts, UNLABELLED).astype(np.int32)


def main(source: Path, output: Path, settings: list[str]) -> None:
    scene = isc.Scene(isc.load_config(overrides=["segmentation.segmenter=labels", *settings]))
    for frame in isc.open_dataset(source):
        scene.add_frame(frame.with_(labels=segment(frame.rgb)))
    scene.run()
    print(f"{len(scene.objects)} objects from masks of our own")
    isc.save_scene(scene, output)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except isc.InputError as error:
        sys.exit(str(error))
