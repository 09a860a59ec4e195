"""A decomposed scene changed by hand: an instance made or resized by a click, or taken away.

Everything here makes new values and leaves the old ones as they are, so that whoever holds an earlier
InstanceMap reads on in peace.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instascene_core import features
from instascene_core.camera import PinholeCamera
from instascene_core.config import Config
from instascene_core.errors import InputError
from instascene_core.features import Click, Segment, Surface
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import Instance, InstanceMap
from instascene_core.scene.decomposition import label_images

DISK_REACH = 4.0  # standard deviations; the renderer draws a little over 3
RIM_PIXELS = 4  # its screen filter makes small disks this wide at most


@dataclass(frozen=True)
class Selection:
    """The answer to a click."""

    instance: Instance  # as it is now (or would be, for a preview)
    created: bool  # a new instance, not one that was known before
    gaussians: np.ndarray  # [K] int64, ascending
    point: np.ndarray  # [3] metres, world frame: what was clicked
    thresholds: tuple[float, ...]  # of the nested answers, finest first
    sizes: tuple[int, ...]  # Gaussians of each
    index: int  # which of them this is
    notes: tuple[str, ...]  # one sentence each: what the caller should know


def answer(
    click: Click,
    surface: Surface,
    instances: InstanceMap,
    gaussians: GaussianModel,
    views: Sequence[Frame],
    config: Config,
    free_id: int,
    threshold: float | None = None,
    level: int = 0,
) -> tuple[InstanceMap, Selection]:
    """(the map in which what was clicked is an instance, the answer): one that is known, or new as `free_id`.

    The map is `instances` itself where the click changes nothing.  threshold, level: see `select`.
    """
    segments, index, notes = select(click, surface, instances, config, threshold, level)
    segment = segments[index]
    match = known_instance(instances, segment.gaussians, config.click.match_overlap)
    number = match.id if match else free_id
    changed, more = with_segment(instances, number, segment, gaussians, surface, views, config.click.min_rest)
    return changed, Selection(
        instance=changed[number],
        created=match is None,
        gaussians=segment.gaussians,
        point=click.point,
        thresholds=tuple(s.threshold for s in segments),
        sizes=tuple(len(s.gaussians) for s in segments),
        index=index,
        notes=(*notes, *more),
    )


# --- selecting ---


def select(
    click: Click,
    surface: Surface,
    instances: InstanceMap,
    config: Config,
    threshold: float | None = None,
    level: int = 0,
) -> tuple[list[Segment], int, list[str]]:
    """(nested segments, finest first; index of the chosen one; notes) for a click.

    threshold: None takes τ.  level: steps from the segment at the threshold, positive to coarser ones.
    Where an object was clicked its own extent takes the place of the segment at τ.  Where no mask ever
    was, the segment is grown over what no object claims.  Raises InputError where there is no such level.
    """
    settings, labels, notes = config.click, instances.gaussian_labels, []
    known = instances[click.label] if click.label >= 1 else None
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"The threshold {threshold:g} must lie between 0 and 1.")
    if known is not None and known.kind == "object":
        at = config.features.similarity if threshold is None else threshold
        segments, index = features.feature_segments(click, surface, at, settings)
        if threshold is None:
            own = np.flatnonzero(labels == known.id)
            segments, index = _around_instance(segments, index, own, settings.same_size)
        if index == 0 and level < 0:
            finer, notes = _parts(click, surface, segments[0].gaussians, settings)
            segments, index = [*finer, *segments], index + len(finer)
    else:
        segments, index = _unclaimed(click, surface, instances, known, threshold, settings)
        notes.append(
            "No mask was ever seen here, so the features say nothing: the segment is grown over the "
            "surface up to creases, steps of colour and known instances."
        )
        if known is not None and known.kind == "support" and threshold is None:
            index, notes = len(segments) - 1, []
    chosen = index + level
    if not 0 <= chosen < len(segments):
        raise InputError(
            f"There is no level {level}: this click has {index} finer and {len(segments) - 1 - index} "
            "coarser answers; ask for one of these or give a threshold."
        )
    return segments, chosen, notes


def _around_instance(
    segments: list[Segment], index: int, own: np.ndarray, same_size: float
) -> tuple[list[Segment], int]:
    """The chain with the instance itself at `index`, still nested."""
    finer = [replace(s, gaussians=np.intersect1d(s.gaussians, own)) for s in segments[:index]]
    coarser = [replace(s, gaussians=np.union1d(s.gaussians, own)) for s in segments[index + 1 :]]
    finer = [s for s in finer if 0 < len(s.gaussians) < (1 - same_size) * len(own)]
    coarser = [s for s in coarser if len(s.gaussians) > (1 + same_size) * len(own)]
    return [*finer, replace(segments[index], gaussians=own), *coarser], len(finer)


def _parts(click, surface, members, settings) -> tuple[list[Segment], list[str]]:
    """Finer segments inside `members` where the features know none, and the note that says so."""
    allowed = np.zeros(len(surface.means), dtype=bool)
    allowed[members] = True
    grown, _ = features.grown_segments(click, surface, allowed, settings.growth, settings)
    inner = [s for s in grown if len(s.gaussians) < (1 - settings.same_size) * len(members)]
    note = "The features are the same all over this object: its parts are cut at creases and steps of colour."
    return inner, [note]


def _unclaimed(click, surface, instances, known, threshold, settings) -> tuple[list[Segment], int]:
    """Segments grown over what no object claims; coarsest of all the structure that was clicked."""
    labels = instances.gaussian_labels
    if known is not None and known.kind == "support":
        open_to = labels == known.id
    else:
        open_to = np.isin(
            labels, [UNLABELLED, *(i.id for i in instances.instances if i.kind == "background")]
        )
    at = settings.growth if threshold is None else threshold
    segments, index = features.grown_segments(click, surface, open_to, at, settings)
    if known is not None:
        whole = np.flatnonzero(labels == known.id)
        segments = [*segments, Segment(np.union1d(segments[-1].gaussians, whole), 0.0, grown=True)]
    return segments, index


# --- changing ---


def known_instance(instances: InstanceMap, members: np.ndarray, min_overlap: float) -> Instance | None:
    """The instance whose Gaussians overlap `members` with the greatest IoU ≥ `min_overlap`, if any."""
    labels = instances.gaussian_labels
    best, best_iou = None, min_overlap
    sizes = dict(zip(*np.unique(labels, return_counts=True)))
    found, counts = np.unique(labels[members], return_counts=True)
    for label, common in zip(found.tolist(), counts.tolist()):
        iou = common / (len(members) + sizes[label] - common)
        if label >= 1 and iou >= best_iou:
            best, best_iou = instances[label], iou
    return best


def with_segment(
    instances: InstanceMap,
    instance_id: int,
    segment: Segment,
    gaussians: GaussianModel,
    surface: Surface,
    views: Sequence[Frame],
    min_rest: float,
) -> tuple[InstanceMap, list[str]]:
    """The map in which `instance_id` (known, or new) is exactly the segment; and notes.

    What the instance had besides becomes unlabelled; other instances lose what the segment takes, and
    end where less than the share `min_rest` of them is left.
    """
    before = instances.gaussian_labels
    labels = np.where(before == instance_id, UNLABELLED, before)
    labels[segment.gaussians] = instance_id
    notes, result = [], []
    for instance in instances.instances:
        rest = int((labels == instance.id).sum())
        if instance.id == instance_id or rest == instance.num_gaussians:
            result.append(instance)
        elif rest < min_rest * instance.num_gaussians and instance.kind == "object":
            labels[labels == instance.id] = instance_id
            notes.append(f"Instance {instance.id} is now a part of instance {instance_id}.")
        else:
            result.append(instance)
    if all(i.id != instance_id for i in result):
        empty = np.zeros(0)
        result.append(Instance(instance_id, "object", 0.0, empty, empty, empty, 0, 0))
    changed = np.flatnonzero(labels != before)
    if not len(changed):
        return instances, notes
    touched = set(np.unique(np.r_[before[changed], labels[changed]]).tolist())
    result = [described(i, labels, gaussians, surface, segment) if i.id in touched else i for i in result]
    images = LabelImages.changed(
        instances.label_images, views, gaussians, labels, [disks(gaussians, changed)]
    )
    return InstanceMap(tuple(result), labels, images, instances.support), notes


def described(
    instance: Instance, labels: np.ndarray, gaussians: GaussianModel, surface: Surface, segment: Segment
) -> Instance:
    """The instance with box, feature, confidence and size of the Gaussians it has now."""
    own = np.flatnonzero(labels == instance.id)
    if not len(own):
        return replace(instance, num_gaussians=0, confidence=0.0)
    feature = gaussians.features[own].mean(dim=0).numpy()
    feature = (feature / max(float(np.linalg.norm(feature)), 1e-8)).astype(np.float32)
    # A box of all but the outermost percent: one stray Gaussian must not blow it up.
    low, high = np.percentile(surface.means[own], [1, 99], axis=0)
    if segment.grown and labels[segment.gaussians[0]] == instance.id:
        confidence = float(surface.smoothness[own].mean())  # its feature is that of what it was cut from
    else:
        confidence = float((surface.features[own] @ feature).mean())
    return replace(
        instance,
        confidence=float(np.clip(confidence, 0, 1)),
        box_min=low,
        box_max=high,
        feature=feature,
        num_gaussians=len(own),
    )


# --- label images ---


@dataclass(frozen=True)
class Disks:
    """Where Gaussians changed."""

    centres: np.ndarray  # [K, 3] metres, world frame
    radii: np.ndarray  # [K] metres


def disks(gaussians: GaussianModel, index: np.ndarray) -> Disks:
    """The places of some Gaussians (indices [K])."""
    scales = gaussians.scales.detach().numpy()[index].max(axis=1)
    return Disks(gaussians.means.detach().numpy()[index], DISK_REACH * scales)


class LabelImages(Mapping):
    """Frame name → [H, W] int32 instance ids; rendered anew, where Gaussians changed, when looked at.

    A click must be answered in milliseconds and rendering all views takes longer.
    """

    def __init__(
        self,
        images: Mapping[str, np.ndarray],
        views: Sequence[Frame],
        gaussians: GaussianModel,
        labels: np.ndarray,
        stale: Mapping[str, tuple[Disks, ...]],
    ) -> None:
        self._images, self._stale = dict(images), dict(stale)
        self._views = {view.name: view for view in views}
        self._gaussians, self._labels = gaussians, labels

    @classmethod
    def changed(
        cls,
        earlier: Mapping[str, np.ndarray],
        views: Sequence[Frame],
        gaussians: GaussianModel,
        labels: np.ndarray,
        places: Sequence[Disks],
    ) -> "LabelImages":
        """The images of `earlier` after the labels (or the Gaussians) at some places changed."""
        images, stale = earlier, {}
        if isinstance(earlier, LabelImages):
            images, stale = earlier._images, earlier._stale
        names = [view.name for view in views if view.name in images]
        return cls(images, views, gaussians, labels, {n: (*stale.get(n, ()), *places) for n in names})

    def __getitem__(self, name: str) -> np.ndarray:
        image = self._images[name]
        if name in self._stale:
            image = self._rendered(self._views[name], image, self._stale[name])
            self._images[name] = image
            del self._stale[name]
        return image

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def _rendered(self, view: Frame, image: np.ndarray, places: Sequence[Disks]) -> np.ndarray:
        """`image` with the rectangle around the places rendered anew."""
        boxes = [box for place in places if (box := _pixel_box(view, place)) is not None]
        if not boxes:
            return image
        (x0, y0), (x1, y1) = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
        image = image.copy()
        crop = _cropped(view, int(x0), int(y0), int(x1), int(y1))
        image[y0:y1, x0:x1] = label_images([crop], self._gaussians, self._labels)[view.name]
        return image


def _cropped(view: Frame, x0: int, y0: int, x1: int, y1: int) -> Frame:
    """The rectangle of pixels x0 … x1 − 1, y0 … y1 − 1 of a frame as a frame."""
    full, area = view.camera, (slice(y0, y1), slice(x0, x1))
    return view.with_(
        camera=PinholeCamera(x1 - x0, y1 - y0, full.fx, full.fy, full.cx - x0, full.cy - y0),
        rgb=view.rgb[area],
        depth=None if view.depth is None else view.depth[area],
        labels=None if view.labels is None else view.labels[area],
        valid=None if view.valid is None else view.valid[area],
    )


def _pixel_box(view: Frame, place: Disks) -> tuple[np.ndarray, np.ndarray] | None:
    """(first pixel, last pixel + 1), each (x, y), of the image that the disks may touch."""
    pose = view.camera_from_world
    pixels, z = view.camera.project(place.centres @ pose[:3, :3].T + pose[:3, 3])
    front = z > 1e-6
    if not front.any():
        return None
    reach = place.radii[front] * max(view.camera.fx, view.camera.fy) / z[front] + RIM_PIXELS
    low = np.floor((pixels[front] - reach[:, None]).min(axis=0)).astype(np.int64)
    high = np.ceil((pixels[front] + reach[:, None]).max(axis=0)).astype(np.int64)
    size = np.array([view.camera.width, view.camera.height])
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    return (low, high) if (high > low).all() else None
