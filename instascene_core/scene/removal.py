"""An object was taken away: its Gaussians leave, and the planes that it hid are covered again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from instascene_core.config import Config, RemovalConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import THINGS, Instance, InstanceId, InstanceMap
from instascene_core.scene.background.disks import join, select
from instascene_core.scene.background.filling import Fill, Hidden, fill_plane, structural_planes
from instascene_core.scene.background.painters import Painter, make_painter
from instascene_core.scene.label_images import LabelImages, disks_at
from instascene_core.scene.results import Decomposition, LazySurface, SceneState


@dataclass(frozen=True)
class Removal:
    """A scene without one of its instances."""

    gaussians: GaussianModel
    instances: InstanceMap
    removed: int  # Gaussians that left
    filled: int  # Gaussians that cover what the object hid of the planes
    notes: tuple[str, ...]  # one sentence each


def remove_instance(state: SceneState, instance_id: InstanceId, config: Config) -> tuple[SceneState, Removal]:
    """The scene without an object: see `without_instance`; in all frames its pixels no longer count."""
    known, reconstruction = state.require_decomposition(), state.require_reconstruction()
    images = known.instances.label_images

    def clear(frames: Sequence[Frame]) -> tuple[Frame, ...]:
        return tuple(
            without_pixels(f, images[f.name], instance_id, config.removal) if f.name in images else f
            for f in frames
        )

    views = clear(known.views)
    result = without_instance(instance_id, replace(known, views=views), config)
    after = replace(
        known,
        views=views,
        gaussians=result.gaussians,
        instances=result.instances,
        surface_of=LazySurface(result.gaussians, views, config.click),
    )
    state = replace(
        state,
        frames=clear(state.frames),
        reconstruction=replace(
            reconstruction,
            posed_frames=clear(reconstruction.posed_frames),
            gaussians=result.gaussians.with_features(None),
        ),
        decomposition=after,
        objects={k: v for k, v in state.objects.items() if k != instance_id},
        ids=state.ids.after(after),
        metrics={
            **state.metrics,
            "gaussians": len(result.gaussians),
            "instances": len(result.instances.objects),
        },
    )
    return state, result


def without_instance(instance_id: InstanceId, decomposition: Decomposition, config: Config) -> Removal:
    """Take an object's Gaussians away and cover the planes under and behind it (see `background`).

    Surfaces that are no plane stay as they were seen from the sides.  Raises InputError for what is not an
    object, and where the painter that the settings name cannot paint.
    """
    settings = config.removal
    instances, gaussians, surface = decomposition.instances, decomposition.gaussians, decomposition.surface
    instance = instances[instance_id]
    if instance.kind not in THINGS:
        raise InputError(
            f"Instance {instance_id} is the {instance.kind} and cannot be taken away; name an object."
        )
    painter = make_painter(settings)
    labels = instances.gaussian_labels
    own = labels == instance_id
    # Unlabelled Gaussians among its own would be left hanging in the air.
    around = surface.neighbours @ own.astype(np.float32)
    own |= (labels == UNLABELLED) & (2 * around > np.diff(surface.neighbours.indptr))
    kept = np.flatnonzero(~own)
    rest, rest_labels = select(gaussians, kept), labels[kept]
    fills: list[Fill] = []
    if painter is not None:
        # Disks at the object's foot took on some of its colour, or the opposite.
        distance = cKDTree(surface.means[own]).query(surface.means[kept])[0] if own.any() else np.inf
        foot = np.broadcast_to(distance < settings.foot_spacings * surface.spacing, kept.shape)
        left = replace(instances, gaussian_labels=rest_labels)
        planes = structural_planes(rest, left, decomposition.support, settings)
        tolerance = decomposition.support.tolerance if decomposition.support is not None else surface.spacing
        others = [i.id for i in instances.instances if i.kind in THINGS and i.id != instance_id]
        hidden = Hidden(instance_id, decomposition.views, instances.label_images, others, tolerance)
        for structure in planes:
            bounds = [other.plane for other in planes if other is not structure]
            fill = fill_plane(structure, bounds, rest, foot, hidden, painter, settings)
            if fill is not None:
                fills.append(fill)
    places = [disks_at(gaussians, np.flatnonzero(own))]
    places += [disks_at(fill.disks, np.arange(len(fill.disks))) for fill in fills]
    rest = join(with_colors(rest, fills), *(fill.disks for fill in fills))
    new_labels = np.concatenate(
        [rest_labels, *(np.full(len(fill.disks), fill.label, dtype=np.int32) for fill in fills)]
    ).astype(np.int32)
    images = LabelImages.changed(
        instances.label_images, decomposition.views, rest, new_labels, places, config.pixel_labels
    )
    remaining = tuple(_count_again(i, new_labels) for i in instances.instances if i.id != instance_id)
    return Removal(
        gaussians=rest,
        instances=InstanceMap(remaining, new_labels, images, instances.support),
        removed=int(own.sum()),
        filled=sum(len(fill.disks) for fill in fills),
        notes=(_note(painter, fills, instances.support is not None),),
    )


def with_colors(gaussians: GaussianModel, fills: Sequence[Fill]) -> GaussianModel:
    """The Gaussians with the new colours of the disks at the object's foot."""
    sh = gaussians.sh.detach().clone()
    for fill in fills:
        sh[torch.from_numpy(fill.foot)] = fill.foot_sh
    return replace(gaussians, sh=sh)


def _note(painter: Painter | None, fills: Sequence[Fill], has_support: bool) -> str:
    """One sentence on what was filled and what was not."""
    if painter is None:
        return "Nothing was painted where it stood (removal.painter: none): what it hid stays a hole."
    if not fills and not has_support:
        return "No support plane is known, so what the object hid stays a hole until it is seen."
    count = sum(len(fill.disks) for fill in fills)
    return (
        f"What it hid of the support plane and the walls is covered by {count} Gaussians, painted by "
        f"{painter.name}; other surfaces that only the object hid stay holes until they are seen."
    )


def _count_again(instance: Instance, labels: np.ndarray) -> Instance:
    return replace(instance, num_gaussians=int((labels == instance.id).sum()))


def without_pixels(frame: Frame, labels: np.ndarray, instance_id: InstanceId, config: RemovalConfig) -> Frame:
    """The frame as it stands after an object it shows was taken away: those pixels are not valid.

    labels: [H, W] int32 of before.  Later reconstruction, masks and completion leave them out.
    """
    from scipy.ndimage import binary_dilation

    gone = np.asarray(binary_dilation(labels == instance_id, iterations=config.outline_pixels), dtype=bool)
    if not gone.any():
        return frame
    return frame.without(gone)
