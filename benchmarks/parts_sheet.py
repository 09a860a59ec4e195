"""A picture sheet of parts, docs/images/parts.png: unseen things, one a kind, and ContactDB's meshes.

Points coloured by their part at the finest level, with the parts' names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import parts
from instascene_core.colors import part_color
from instascene_core.config import PartsConfig
from instascene_core.files import write_image
from instascene_core.geometry.sampling import even_samples
from instascene_core.parts.segment import PartLabels, PartSegmenter

if TYPE_CHECKING:
    from benchmarks.parts import Case

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "parts.png"
SIDE, COLUMNS = 190, 8
MOST_NAMES = 6  # that are written


def write_sheet(segmenter: PartSegmenter, shown: Sequence["Case"], meshes: Path | None) -> None:
    """Rows of eight pictures."""
    tiles, known = [], set()
    for case in shown:
        if case.seen == parts.SEEN[0] and case.kind not in known:
            known.add(case.kind)
            points, normals = case.thing.points, case.thing.normals
            tiles.append(picture(points, normals, segmenter.label_points(points, normals), case.kind))
    for name in parts.handles_by_hand() if meshes else ():
        mesh = parts.read_mesh(meshes or Path(), name)
        points, normals, _ = even_samples(mesh, PartsConfig.points, np.random.default_rng(0))
        tiles.append(picture(points, normals, segmenter.label_points(points, normals), f"ContactDB {name}"))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[k : k + COLUMNS]) for k in range(0, len(tiles), COLUMNS)]
    write_image(PICTURE, np.vstack(rows))


def picture(points: np.ndarray, normals: np.ndarray, labels: PartLabels, title: str) -> np.ndarray:
    """[SIDE, SIDE, 3] uint8: points [N, 3] from obliquely above, in their parts' colours."""
    import cv2

    ahead = -np.array([np.cos(0.6) * np.cos(0.5), np.sin(0.6) * np.cos(0.5), np.sin(0.5)])
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    low, high = points.min(axis=0), points.max(axis=0)
    placed = (points - (low + high) / 2) / np.linalg.norm(high - low)
    x, y = placed @ right, placed @ np.cross(right, ahead)
    pixel = np.round(SIDE / 2 + 0.9 * SIDE * np.stack([x, -y], axis=1)).astype(int)
    level, image = labels.levels[-1], np.full((SIDE, SIDE, 3), 255, np.uint8)
    bright = 0.55 + 0.45 * np.clip(-(normals @ ahead), 0, 1)
    for i in np.argsort(-(placed @ ahead)):
        if normals[i] @ ahead < 0.2:
            color = [int(c) for c in part_color(int(level.part[i])) * bright[i]]
            cv2.circle(image, tuple(map(int, pixel[i])), 2, color, -1)
    cv2.putText(image, title, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    for k, name in enumerate(level.names[:MOST_NAMES]):
        color = [int(0.8 * c) for c in part_color(k)]
        cv2.putText(image, name, (4, 25 + 12 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.36, color, 1, cv2.LINE_AA)
    return image
