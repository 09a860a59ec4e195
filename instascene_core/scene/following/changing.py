"""The state of a scene in which things have left, moved and appeared."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.gaussians import SH_C0, GaussianModel
from instascene_core.geometry import SurfacePoints
from instascene_core.instances import Instance, InstanceId
from instascene_core.scene.background.disks import join, select
from instascene_core.scene.following.comparing import Comparison
from instascene_core.scene.following.placing_again import Placing
from instascene_core.scene.following.unexplained import NewThing, depth_of_points, passing_pixels
from instascene_core.scene.label_images import LabelImages, disks_at, label_images
from instascene_core.scene.results import LazySurface, SceneState
from instascene_core.transforms import apply, quaternion_from_matrix

_OPACITY = 4.0  # logit of a new disk's
_DISK = 0.6  # spacings: standard deviation of a new disk, as of those that cover holes


@dataclass(frozen=True)
class Findings:
    """What new frames say of a scene."""

    before: SceneState
    emptied: SceneState  # without the things that are missing
    expected: tuple[Comparison, ...]  # the new frames against `before`
    comparisons: tuple[Comparison, ...]  # the new frames against `emptied`
    missing: Mapping[InstanceId, int]  # index of the first frame without the thing
    moved: Mapping[InstanceId, tuple[NewThing, Placing]]  # of the missing ones, those that are elsewhere
    appeared: tuple[NewThing, ...]


def changed_state(found: Findings, config: Config) -> tuple[SceneState, list[InstanceId]]:
    """The scene as it is now, the new frames among its views; and the ids of what has appeared."""
    state = found.emptied
    known = state.require_decomposition()
    first_new = state.ids.next_free
    new_ids = [InstanceId(first_new + k) for k in range(len(found.appeared))]
    gaussians, labels, instances = known.gaussians, known.instances.gaussian_labels, known.instances.instances
    for number, (_, placing) in found.moved.items():
        own = _own(found.before, number)
        gaussians = join(gaussians, moved_gaussians(own, placing.motion))
        labels = np.append(labels, np.full(len(own), number, dtype=np.int32))
        before = found.before.require_decomposition().instances[number]
        instances = (*instances, _boxed(before, gaussians, labels))
    for number, thing in zip(new_ids, found.appeared):
        disks = _disks(thing.points, gaussians, number, config.following.spacing)
        gaussians = join(gaussians, disks)
        labels = np.append(labels, np.full(len(disks), number, dtype=np.int32))
        views = len(found.comparisons) - thing.since
        instances = (*instances, _instance(number, disks, views))
    gone = _pixels_of_the_past(found, config)
    frames = [_cleared(comparison.frame, gone) for comparison in found.comparisons]
    views = (*(_cleared(view, gone) for view in known.views), *frames)
    added = np.arange(len(known.gaussians), len(gaussians))
    images = LabelImages.changed(
        known.instances.label_images, views, gaussians, labels, [disks_at(gaussians, added)],
        config.pixel_labels, label_images(frames, gaussians, labels, config.pixel_labels),
    )  # fmt: skip
    decomposition = replace(
        known,
        views=views,
        gaussians=gaussians,
        instances=replace(known.instances, instances=instances, gaussian_labels=labels, label_images=images),
        surface_of=LazySurface(gaussians, views, config.click),
        masks=(),
    )
    if len(gaussians) == len(known.gaussians) and not gone:
        return replace(state, decomposition=decomposition), new_ids
    reconstruction = state.require_reconstruction()
    moved = {
        number: found.before.objects[number].moved_by(placing.motion)
        for number, (_, placing) in found.moved.items()
        if number in found.before.objects
    }
    after = replace(
        state,
        frames=tuple(_cleared(frame, gone) for frame in state.frames),
        reconstruction=replace(
            reconstruction,
            posed_frames=tuple(_cleared(frame, gone) for frame in reconstruction.posed_frames),
            gaussians=gaussians.with_features(None),
        ),
        decomposition=decomposition,
        objects={**state.objects, **moved},
        ids=state.ids.after(decomposition),
        metrics={
            **state.metrics,
            "gaussians": len(gaussians),
            "instances": len(decomposition.instances.objects),
        },
    )
    return after, new_ids


# ── Gaussians and instances ───────────────────────────────────────────────────────────────────────────


def moved_gaussians(gaussians: GaussianModel, motion: np.ndarray) -> GaussianModel:
    """The Gaussians after a rigid motion [4, 4].

    What of their colour depends on the direction of view stays behind: it was of another light.
    """
    turn = torch.from_numpy(motion[:3, :3].astype(np.float32))
    quaternions = quaternion_from_matrix((turn @ gaussians.rotations.detach()).numpy())
    sh = gaussians.sh.detach().clone()
    sh[:, 1:] = 0
    return replace(
        gaussians,
        means=torch.from_numpy(apply(motion, gaussians.means.detach().numpy()).astype(np.float32)),
        quaternions=torch.from_numpy(quaternions.astype(np.float32)),
        sh=sh,
    )


def _own(state: SceneState, number: InstanceId) -> GaussianModel:
    known = state.require_decomposition()
    return select(known.gaussians, np.flatnonzero(known.instances.gaussian_labels == number))


def _disks(points: SurfacePoints, like: GaussianModel, number: InstanceId, spacing: float) -> GaussianModel:
    """A disk at every point, with a feature of their own."""
    count = len(points)
    axes = _tangent_frames(points.normals)
    sh = torch.zeros((count, like.sh.shape[1], 3))
    sh[:, 0] = torch.from_numpy((points.column("colors") - 0.5) / SH_C0).float()
    features = None
    if like.features is not None:
        direction = np.random.default_rng(int(number)).normal(size=like.features.shape[1])
        direction = torch.from_numpy((direction / np.linalg.norm(direction)).astype(np.float32))
        features = direction.expand(count, -1).clone()
    return GaussianModel(
        means=torch.from_numpy(points.positions.astype(np.float32)),
        quaternions=torch.from_numpy(quaternion_from_matrix(axes).astype(np.float32)),
        log_scales=torch.full((count, 2), float(np.log(_DISK * spacing))),
        logit_opacities=torch.full((count,), _OPACITY),
        sh=sh,
        features=features,
    )


def _tangent_frames(normals: np.ndarray) -> np.ndarray:
    """[K, 3, 3] rotations whose third column is the normal [K, 3]."""
    aside = np.eye(3)[np.abs(normals).argmin(axis=1)]
    u = np.cross(aside, normals)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return np.stack([u, np.cross(normals, u), normals], axis=2)


def _instance(number: InstanceId, disks: GaussianModel, views: int) -> Instance:
    means = disks.means.numpy()
    feature = np.zeros(16, np.float32) if disks.features is None else disks.features[0].numpy()
    low, high = means.min(axis=0), means.max(axis=0)
    return Instance(number, "object", 1.0, low, high, feature, len(disks), views)


def _boxed(instance: Instance, gaussians: GaussianModel, labels: np.ndarray) -> Instance:
    """The instance around its Gaussians as they lie now."""
    own = gaussians.means.detach().numpy()[labels == instance.id]
    low, high = own.min(axis=0), own.max(axis=0)
    return replace(instance, box_min=low, box_max=high, num_gaussians=len(own))


# ── frames ────────────────────────────────────────────────────────────────────────────────────────────


def _pixels_of_the_past(found: Findings, config: Config) -> dict[str, np.ndarray]:
    """By frame, the pixels [H, W] that show what is no more: a thing before it left or moved, the place of
    one before it came there, and what only passed by."""
    from scipy.ndimage import binary_dilation

    outline = config.removal.outline_pixels
    gone: dict[str, np.ndarray] = {}

    def note(name: str, pixels: np.ndarray) -> None:
        if pixels.any():
            gone[name] = gone[name] | pixels if name in gone else pixels

    things = [*(thing for thing, _ in found.moved.values()), *found.appeared]
    for index, (first, now) in enumerate(zip(found.expected, found.comparisons)):
        stood = [number for number, since in found.missing.items() if index < since]
        past = np.isin(first.labels, stood) | passing_pixels(now, things, config.following)
        note(now.frame.name, np.asarray(binary_dilation(past, iterations=outline)))
    new = [comparison.frame for comparison in found.comparisons]
    for thing in things:
        older = [*found.emptied.require_decomposition().views, *new[: thing.since]]
        for frame in older:
            note(frame.name, _behind(frame, thing.points.positions, config.following.max_tolerance, outline))
    return gone


def _behind(frame: Frame, points: np.ndarray, tolerance: float, outline: int) -> np.ndarray:
    """[H, W] bool: pixels of a frame that show what lies behind points [K, 3] (all of them without depth)."""
    nearest = depth_of_points(frame, points, outline)  # they are sparse, and their outline is not sharp
    hidden = np.isfinite(nearest)
    if frame.depth is not None:
        hidden &= (frame.depth == 0) | (frame.depth > nearest + tolerance)
    return hidden


def _cleared(frame: Frame, gone: Mapping[str, np.ndarray]) -> Frame:
    pixels = gone.get(frame.name)
    return frame if pixels is None else frame.without(pixels)
