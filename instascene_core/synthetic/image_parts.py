"""A mask cut into parts as a part segmenter cuts: along prints and creases, otherwise in every view."""

import numpy as np
from scipy import ndimage

from instascene_core.synthetic.image_edges import ImageContent

ROUNDS = 4  # of k-means: the parts need not settle, only follow the content
MAX_SAMPLES = 1500  # pixels that the centres are fitted to
MIN_PART = 0.12  # share of the mask's pixels, less than this joins what it touches
NORMAL_UNITS = 25.0  # Lab units that a right angle between normals counts as much as
POSITION_UNITS = 8.0  # ... and the mask's own width


def parts_by_content(
    mask: np.ndarray, content: ImageContent, max_parts: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """([K] int part 0, 1, … of the mask's pixels in row order, step in Lab units between its parts).

    k-means of colour, normal and place, with weights and seeds that are drawn anew.  One part and a step of
    0 where the mask does not come apart.
    """
    rows, columns = np.nonzero(mask)
    place = np.column_stack([rows, columns]).astype(np.float32)
    place = (place - place.mean(axis=0)) / max(place.std().item(), 1e-6)
    weights = rng.uniform(0.3, 1.7, size=3)
    # Lightness counts half: shading runs over a part without ending it.
    look = content.lab[rows, columns] * np.array([0.5, 1, 1], dtype=np.float32)
    turn = content.normals[rows, columns] * np.float32(NORMAL_UNITS)
    features = np.concatenate(
        [weights[0] * look, weights[1] * turn, weights[2] * POSITION_UNITS * place], axis=1
    )
    count = int(rng.integers(2, max(max_parts, 2) + 1))
    if len(features) < 4 * count:
        return np.zeros(len(rows), dtype=np.int64), 0.0
    sample = features[:: max(1, len(features) // MAX_SAMPLES)]
    centres = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(ROUNDS):
        nearest = ((sample[:, None] - centres[None]) ** 2).sum(-1).argmin(axis=1)
        for index in np.unique(nearest):
            centres[index] = sample[nearest == index].mean(axis=0)
    nearest = ((features[:, None] - centres[None]) ** 2).sum(-1).argmin(axis=1)
    part = _connected(mask, rows, columns, nearest)
    if part.max() == 0:
        return part, 0.0
    seen = np.concatenate([look, turn], axis=1)
    means = np.stack([seen[part == index].mean(axis=0) for index in range(part.max() + 1)])
    steps = np.linalg.norm(means[:, None] - means[None], axis=-1)
    return part, float(steps[np.triu_indices(len(means), 1)].max())


def _connected(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[K] int: connected pieces of the groups, numbered from 0; those below `MIN_PART` join the nearest."""
    import cv2

    low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
    image = np.full((high[0] - low[0], high[1] - low[1]), -1)
    image[rows - low[0], columns - low[1]] = group
    pieces = np.zeros(image.shape, dtype=np.int64)
    total = 0
    for index in range(group.max() + 1):
        found, count = ndimage.label(cv2.medianBlur((image == index).astype(np.uint8), 3))
        size = np.bincount(found.ravel(), minlength=count + 1)
        for piece in np.flatnonzero(size >= MIN_PART * len(rows)):
            if piece > 0:
                total += 1
                pieces[found == piece] = total
    if total < 2:
        return np.zeros(len(rows), dtype=np.int64)
    _, nearest = ndimage.distance_transform_edt(pieces == 0, return_indices=True)
    filled = pieces[tuple(nearest)][rows - low[0], columns - low[1]]
    return np.unique(filled, return_inverse=True)[1].ravel()
