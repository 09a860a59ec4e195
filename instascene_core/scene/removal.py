"""An object was taken away: its Gaussians leave, and what it stood on is covered again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from instascene_core.config import Config, RemovalConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import Plane
from instascene_core.instances import THINGS, Instance, InstanceId, InstanceMap
from instascene_core.scene.label_images import LabelImages, disks_at
from instascene_core.scene.results import Decomposition, LazySurface, SceneState
from instascene_core.segmentation import Support
from instascene_core.transforms import quaternion_from_matrix


@dataclass(frozen=True)
class Removal:
    """A scene without one of its instances."""

    gaussians: GaussianModel
    instances: InstanceMap
    removed: int  # Gaussians that left
    filled: int  # Gaussians that cover the support where the object stood
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
    """Take an object's Gaussians away and cover the support plane under it.

    The new disks lie on the plane, coloured by the disks of the plane around them.  Walls and other
    objects behind the removed one stay as they were seen from the sides.  Raises InputError for what
    is not an object.
    """
    settings = config.removal
    instances, gaussians, surface = decomposition.instances, decomposition.gaussians, decomposition.surface
    instance = instances[instance_id]
    if instance.kind not in THINGS:
        raise InputError(
            f"Instance {instance_id} is the {instance.kind} and cannot be taken away; name an object."
        )
    labels = instances.gaussian_labels
    own = labels == instance_id
    # Unlabelled Gaussians among its own would be left hanging in the air.
    around = surface.neighbours @ own.astype(np.float32)
    own |= (labels == UNLABELLED) & (2 * around > np.diff(surface.neighbours.indptr))
    kept = np.flatnonzero(~own)
    rest = gaussians.select(torch.from_numpy(kept))
    fill, note = None, "No support plane is known, so what the object hid stays a hole until it is seen."
    carrier = next((i for i in instances.instances if i.kind == "support"), None)
    if instances.support is not None and carrier is not None:
        # Disks at the object's foot took on some of its colour, or the opposite.
        distance = cKDTree(surface.means[own]).query(surface.means[kept])[0]
        foot = distance < settings.foot_spacings * surface.spacing
        on_plane = np.flatnonzero((labels[kept] == carrier.id) & ~foot)
        hidden = hidden_points(
            instance_id, decomposition.views, instances.label_images, instances.support, settings
        )
        fill = cover(hidden, rest, on_plane, instances.support, decomposition.support, settings)
        note = (
            f"The support plane under and behind it is covered by {len(fill) if fill else 0} Gaussians, "
            "coloured by those around them; other surfaces that only the object hid stay holes until they "
            "are seen."
        )
    places, new_labels = [disks_at(gaussians, np.flatnonzero(own))], labels[kept]
    if fill is not None and carrier is not None:
        places.append(disks_at(fill, np.arange(len(fill))))
        rest = join(rest, fill)
        new_labels = np.r_[new_labels, np.full(len(fill), carrier.id, dtype=np.int32)].astype(np.int32)
    images = LabelImages.changed(
        instances.label_images, decomposition.views, rest, new_labels, places, config.pixel_labels
    )
    left = tuple(_count_again(i, new_labels) for i in instances.instances if i.id != instance_id)
    return Removal(
        gaussians=rest,
        instances=InstanceMap(left, new_labels, images, instances.support),
        removed=int(own.sum()),
        filled=len(fill) if fill is not None else 0,
        notes=(note,),
    )


def _count_again(instance: Instance, labels: np.ndarray) -> Instance:
    return replace(instance, num_gaussians=int((labels == instance.id).sum()))


def cover(
    hidden: np.ndarray,
    gaussians: GaussianModel,
    on_plane: np.ndarray,
    plane: Plane,
    support: Support | None,
    config: RemovalConfig,
) -> GaussianModel | None:
    """New disks at the points [K, 3] of the plane where it has none; None where it is whole.

    on_plane: indices of the plane's own Gaussians, which give colour, spacing, height and feature.
    """
    on_plane = on_plane[gaussians.opacities.detach().numpy()[on_plane] >= config.min_visible]
    if len(on_plane) < config.rim_neighbours or not len(hidden):
        return None
    axes = plane_axes(plane)  # [3, 3]: columns u, v, normal
    known = gaussians.means[torch.from_numpy(on_plane)].detach().numpy()
    tree = cKDTree(known @ axes[:, :2])
    spacing = float(np.median(tree.query(tree.data, k=4)[0][:, -1]))
    corner = np.array([-0.5, -0.5]) * spacing
    cells = np.floor((hidden @ axes[:, :2] - corner) / spacing).astype(np.int64)
    grid = corner + (np.unique(cells, axis=0) + 0.5) * spacing
    places = grid @ axes[:, :2].T + plane.offset * plane.normal
    if support is not None and support.extent is not None:
        inside = support.extent.contains(places)
        grid, places = grid[inside], places[inside]
    hole = tree.query(grid)[0] > config.covered_spacings * spacing if len(grid) else np.zeros(0, dtype=bool)
    grid, places = grid[hole], places[hole]
    if not len(places):
        return None
    distance, nearest = tree.query(grid, k=config.rim_neighbours)
    weights = 1 / np.maximum(distance, 1e-9) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    height = (weights * plane.height(known)[nearest]).sum(axis=1)
    return _disks_like(
        gaussians.select(torch.from_numpy(on_plane)),
        places + height[:, None] * plane.normal,
        axes,
        nearest,
        weights,
        spacing,
        config,
    )


def hidden_points(
    instance_id: InstanceId,
    views: Sequence[Frame],
    images: Mapping[str, np.ndarray],
    plane: Plane,
    config: RemovalConfig,
) -> np.ndarray:
    """[K, 3] points of the plane on the rays through an instance's pixels: its foot and its shadows."""
    points = [np.zeros((0, 3))]
    for view in views:
        rows, columns = np.nonzero(images[view.name] == instance_id)
        step = max(1, len(rows) // config.pixels_per_view)
        rays = view.camera.rays[rows[::step], columns[::step]] @ view.world_from_camera[:3, :3].T
        origin = view.world_from_camera[:3, 3]
        falling = rays @ plane.normal < -1e-6
        along = -plane.height(origin) / (rays[falling] @ plane.normal)
        points.append(origin + along[along > 0, None] * rays[falling][along > 0])
    return np.concatenate(points)


def _disks_like(
    around: GaussianModel,
    means: np.ndarray,
    axes: np.ndarray,
    nearest: np.ndarray,
    weights: np.ndarray,
    spacing: float,
    config: RemovalConfig,
) -> GaussianModel:
    """Flat disks at `means` [K, 3] that look like the weighted nearest [K, R] ones of `around`."""

    def mixed(values: torch.Tensor) -> torch.Tensor:
        flat = values.detach().numpy().reshape(len(around), -1)
        mean = np.einsum("kn,knd->kd", weights, flat[nearest])
        return torch.from_numpy(mean.astype(np.float32)).reshape(len(means), *values.shape[1:])

    floor = float(np.log(config.min_opacity / (1 - config.min_opacity)))
    features = None
    if around.features is not None:
        features = torch.nn.functional.normalize(mixed(around.features), dim=1)
    quaternion = torch.from_numpy(quaternion_from_matrix(axes).astype(np.float32))
    return GaussianModel(
        means=torch.from_numpy(means.astype(np.float32)),
        quaternions=quaternion.expand(len(means), 4).clone(),
        log_scales=torch.full((len(means), 2), float(np.log(config.disk_spacings * spacing))),
        logit_opacities=mixed(around.logit_opacities).clamp_min(floor),
        sh=mixed(around.sh),
        features=features,
    )


def plane_axes(plane: Plane) -> np.ndarray:
    """[3, 3] rotation whose columns are two directions in the plane and its normal."""
    normal = plane.normal / np.linalg.norm(plane.normal)
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first), normal], axis=1)


def join(first: GaussianModel, second: GaussianModel) -> GaussianModel:
    """The Gaussians of both, in this order."""
    names = ("means", "quaternions", "log_scales", "logit_opacities", "sh")
    values = {n: torch.cat([getattr(first, n), getattr(second, n)]) for n in names}
    if first.features is not None and second.features is not None:
        values["features"] = torch.cat([first.features, second.features])
    return GaussianModel(**values)


def without_pixels(frame: Frame, labels: np.ndarray, instance_id: InstanceId, config: RemovalConfig) -> Frame:
    """The frame as it stands after an object it shows was taken away: those pixels are not valid.

    labels: [H, W] int32 of before.  Later reconstruction, masks and completion leave them out.
    """
    from scipy.ndimage import binary_dilation

    gone = np.asarray(binary_dilation(labels == instance_id, iterations=config.outline_pixels), dtype=bool)
    if not gone.any():
        return frame
    return frame.without(gone)
