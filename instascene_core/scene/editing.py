"""A decomposed scene changed by hand: an instance made or resized by a click.

Everything here makes new values and leaves the old ones as they are: whoever holds an earlier InstanceMap can
go on reading it.
"""

from dataclasses import dataclass, replace

import numpy as np

from instascene_core import features
from instascene_core.config import ClickConfig, Config
from instascene_core.errors import InputError
from instascene_core.features import Click, Segment, Surface
from instascene_core.frame import UNLABELLED
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import THINGS, Instance, InstanceId, InstanceMap
from instascene_core.scene.label_images import LabelImages, disks_at
from instascene_core.scene.results import Decomposition, SceneState


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


def click_on(
    state: SceneState,
    config: ClickConfig,
    frame: str = "",
    pixel: tuple[int, int] | None = None,
    point: np.ndarray | None = None,
) -> Click:
    """What lies at a pixel (column, row) of a frame ("" = the newest), or at a point [3] in metres.

    Raises NotReadyError before there are instances, InputError where nothing was clicked, or too much.
    """
    known = state.require_decomposition()
    labels = known.instances.gaussian_labels
    if pixel is not None and point is None:
        view = state.posed_frame(frame)
        return features.click_pixel(
            known.surface, known.gaussians, view.camera, view.world_from_camera, pixel, labels, config
        )
    if point is not None and pixel is None:
        return features.click_point(known.surface, point, labels, config)
    raise InputError("Give either a pixel of a frame or a point.")


def answer_click(
    click: Click,
    decomposition: Decomposition,
    config: Config,
    free_id: InstanceId,
    threshold: float | None = None,
    level: int = 0,
) -> tuple[InstanceMap, Selection]:
    """(the instances in which what was clicked is one, the answer): one that is known, or new as `free_id`.

    The instances are those of the decomposition themselves where the click changes nothing.  threshold,
    level: see `select`.
    """
    instances, surface = decomposition.instances, decomposition.surface
    segments, index, notes = select(click, surface, instances, config, threshold, level)
    segment = segments[index]
    match = known_instance(instances, segment.gaussians, config.click.match_overlap)
    number = match.id if match else free_id
    changed, more = with_segment(decomposition, number, segment, config)
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
    known = instances[InstanceId(click.label)] if click.label >= 1 else None
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"The threshold {threshold:g} must lie between 0 and 1.")
    if known is not None and known.kind in THINGS:
        at = config.features.similarity if threshold is None else threshold
        segments, index = features.feature_segments(click, surface, at, settings)
        if threshold is None:
            segments, index = _around_instance(segments, index, labels == known.id, settings.same_size)
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
    segments: list[Segment], index: int, mine: np.ndarray, same_size: float
) -> tuple[list[Segment], int]:
    """The chain with the instance itself, `mine` [N] bool, at `index`, still nested."""
    own = np.flatnonzero(mine)
    finer = [replace(s, gaussians=s.gaussians[mine[s.gaussians]]) for s in segments[:index]]
    coarser = [replace(s, gaussians=_with(mine, s.gaussians)) for s in segments[index + 1 :]]
    finer = [s for s in finer if 0 < len(s.gaussians) < (1 - same_size) * len(own)]
    coarser = [s for s in coarser if len(s.gaussians) > (1 + same_size) * len(own)]
    return [*finer, replace(segments[index], gaussians=own), *coarser], len(finer)


def _with(mine: np.ndarray, more: np.ndarray) -> np.ndarray:
    """[K] int64, ascending: where `mine` [N] bool holds, and the indices `more` besides."""
    both = mine.copy()
    both[more] = True
    return np.flatnonzero(both)


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
        whole = _with(labels == known.id, segments[-1].gaussians)
        segments = [*segments, Segment(whole, 0.0, grown=True)]
    return segments, index


# --- changing ---


def known_instance(instances: InstanceMap, members: np.ndarray, min_overlap: float) -> Instance | None:
    """The instance whose Gaussians overlap `members` with the greatest IoU ≥ `min_overlap`, if any."""
    labels = instances.gaussian_labels
    best, best_iou = None, min_overlap
    common = np.bincount(labels[members][labels[members] >= 1])
    for label in np.flatnonzero(common):
        size = int(np.count_nonzero(labels == label))
        iou = common[label] / (len(members) + size - common[label])
        if iou >= best_iou:
            best, best_iou = instances[InstanceId(int(label))], iou
    return best


def with_segment(
    decomposition: Decomposition, instance_id: InstanceId, segment: Segment, config: Config
) -> tuple[InstanceMap, list[str]]:
    """The map in which `instance_id` (known, or new) is exactly the segment; and notes.

    What the instance had besides becomes unlabelled; other instances lose what the segment takes, and
    end where less than the share `click.min_rest` of them is left.
    """
    instances, gaussians, surface = decomposition.instances, decomposition.gaussians, decomposition.surface
    before = instances.gaussian_labels
    labels = np.where(before == instance_id, UNLABELLED, before)
    labels[segment.gaussians] = instance_id
    notes, result = [], []
    for instance in instances.instances:
        rest = int((labels == instance.id).sum())
        if instance.id == instance_id or rest == instance.num_gaussians:
            result.append(instance)
        elif rest < config.click.min_rest * instance.num_gaussians and instance.kind in THINGS:
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
    percentile = config.association.box_percentile
    result = [
        describe_again(i, labels, gaussians, surface, segment, percentile) if i.id in touched else i
        for i in result
    ]
    images = LabelImages.changed(
        instances.label_images,
        decomposition.views,
        gaussians,
        labels,
        [disks_at(gaussians, changed)],
        config.pixel_labels,
    )
    return InstanceMap(tuple(result), labels, images, instances.support), notes


def describe_again(
    instance: Instance,
    labels: np.ndarray,
    gaussians: GaussianModel,
    surface: Surface,
    segment: Segment,
    percentile: float,
) -> Instance:
    """The instance with box, feature, confidence and size of the Gaussians it has now."""
    own = np.flatnonzero(labels == instance.id)
    if not len(own):
        return replace(instance, num_gaussians=0, confidence=0.0)
    feature = gaussians.require_features()[own].mean(dim=0).numpy()
    feature = (feature / max(float(np.linalg.norm(feature)), 1e-8)).astype(np.float32)
    # A box of all but the outermost percent: one stray Gaussian must not blow it up.
    low, high = np.percentile(surface.means[own], [percentile, 100 - percentile], axis=0)
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
