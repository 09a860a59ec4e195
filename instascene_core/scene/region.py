"""Which instances the user wants: what stands on, in or at the support, within reach of the cameras.

The rest is found as well, for it hides and is hidden, but it is not completed unless asked for by id.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from instascene_core.config import Config
from instascene_core.config.region import RegionConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.segmentation import Support

logger = logging.getLogger(__name__)
MIN_PIXELS = 25  # of a mask, for its view to count


def box_of_region(region: str) -> np.ndarray | None:
    """[2, 3] metres, lower and upper corner in the world frame; None for "auto" and "all".

    Raises InputError for anything that is neither of these nor six numbers.
    """
    if region in ("auto", "all"):
        return None
    try:
        corners = np.array([float(value) for value in region.replace(",", " ").split()]).reshape(2, 3)
    except ValueError:
        raise InputError(
            f"The region '{region}' is neither auto, all nor six numbers: x y z of the lower and of the "
            "upper corner, metres in the world frame."
        ) from None
    if not np.isfinite(corners).all() or (corners[0] >= corners[1]).any():
        raise InputError(f"The region '{region}' is empty: its lower corner must be below the upper one.")
    return corners


def local_region(region: str, offset: np.ndarray) -> str:
    """The region of the world for a scene whose frame has its origin at `offset` [3] metres in the world."""
    box = box_of_region(region) if np.any(offset) else None
    return region if box is None else " ".join(repr(float(value)) for value in (box - offset).ravel())


def kinds_in_region(
    ids: Sequence[int],
    gaussian_labels: np.ndarray,
    means: np.ndarray,
    views: Sequence[Frame],
    images: Mapping[str, np.ndarray],
    support: Support | None,
    config: Config,
) -> dict[int, str]:
    """Id → "object", "fixture" (hangs at a wall) or "outside", for the instances `ids` that are no structure.

    gaussian_labels: [N] int32 ids; means: [N, 3] metres; images: frame name → [H, W] ids.  Where nothing
    would be left inside, the region was guessed wrongly and everything is an object.
    """
    if config.region == "all":
        return {i: "object" for i in ids}
    box = box_of_region(config.region)
    points = {i: means[gaussian_labels == i] for i in ids}
    if box is not None:
        inside = {
            i: len(p) > 0 and bool(((p >= box[0]) & (p <= box[1])).all(axis=1).mean() > 0.5)
            for i, p in points.items()
        }
        return {i: "object" if inside[i] else "outside" for i in ids}
    how = config.region_of_interest
    cut = _cut_shares(ids, views, images, how)
    distances = _distances(points, views, images)
    usual = _usual_distance(views, support, distances)
    kinds = {}
    for i in ids:
        over = support is None or support.extent is None or _share(support.extent.contains(points[i]))
        far = distances[i] > how.max_distance * usual
        if over < how.min_over_support or far or cut[i] > how.max_cut_views:
            kinds[i] = "outside"
        else:
            kinds[i] = "fixture" if _hangs(points[i], support, how) else "object"
    if ids and "object" not in kinds.values():
        logger.warning(
            "No object lies on the support within reach of the cameras; all that was found is kept."
        )
        return {i: "object" for i in ids}
    return kinds


def _share(inside: np.ndarray) -> float:
    return float(inside.mean()) if len(inside) else 0.0


def _hangs(points: np.ndarray, support: Support | None, how: RegionConfig) -> bool:
    """Is this at a wall and nowhere near the support?"""
    if support is None or support.plane is None or not support.walls or not len(points):
        return False
    low = float(np.percentile(support.plane.height(points), 5))
    if low < how.fixture_height * support.tolerance:
        return False
    nearest = min(float(np.percentile(wall.height(points), 5)) for wall in support.walls)
    return nearest < how.wall_reach * support.tolerance


def _cut_shares(
    ids: Sequence[int], views: Sequence[Frame], images: Mapping[str, np.ndarray], how: RegionConfig
) -> dict[int, float]:
    """Id → share of the views that show it in which the image's border cuts it."""
    top = max(ids, default=0) + 1
    shown, cut = np.zeros(top), np.zeros(top)
    for view in views:
        image = images[view.name]
        labels = np.where((image >= 0) & (image < top), image, 0)
        size = np.bincount(labels.ravel(), minlength=top)
        width = how.border_pixels
        inner = np.zeros(image.shape, dtype=bool)
        inner[width:-width, width:-width] = True
        at_border = np.bincount(labels[~inner], minlength=top) / width
        # A disc's outline is 3.5 times the root of its area.
        share = at_border / np.maximum(3.5 * np.sqrt(size), 1)
        visible = size >= MIN_PIXELS
        shown += visible
        cut += visible & (share > how.min_cut)
    return {i: float(cut[i] / max(shown[i], 1)) for i in ids}


def _distances(
    points: Mapping[int, np.ndarray], views: Sequence[Frame], images: Mapping[str, np.ndarray]
) -> dict[int, float]:
    """Id → metres from the cameras that show it, in the median; 0 where none does."""
    seen: dict[int, list[float]] = {i: [] for i in points}
    centres = {i: np.median(p, axis=0) for i, p in points.items() if len(p)}
    for view in views:
        for i in np.unique(images[view.name]).tolist():
            if i in centres:
                seen[i].append(float(np.linalg.norm(centres[i] - view.world_from_camera[:3, 3])))
    return {i: float(np.median(d)) if d else 0.0 for i, d in seen.items()}


def _usual_distance(views: Sequence[Frame], support: Support | None, distances: Mapping[int, float]) -> float:
    """Metres at which cameras see the support, or where there is none, the things they show most."""
    if support is not None and support.plane is not None and support.extent is not None:
        found = []
        for view in views:
            if view.depth is None:
                continue
            depth = view.depth[::8, ::8]
            rays = view.camera.rays[::8, ::8].astype(np.float64)
            rotation, centre = view.world_from_camera[:3, :3], view.world_from_camera[:3, 3]
            world = (rays * depth[..., None]) @ rotation.T + centre
            on = (depth > 0) & (np.abs(support.plane.height(world)) < support.tolerance)
            on &= support.extent.contains(world)
            if on.sum() >= MIN_PIXELS:
                found.append(float(np.median(np.linalg.norm(world[on] - centre, axis=-1))))
        if found:
            return float(np.median(found))
    return float(np.median(list(distances.values()))) if distances else np.inf
