"""The state of a scene that was reconstructed before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from instascene_core import segmentation
from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.scene.dense_views import dense_views
from instascene_core.scene.results import (
    Decomposition,
    IdHistory,
    LazySurface,
    Reconstruction,
    SceneState,
    merged_metrics,
)


def restored_state(
    config: Config,
    gaussians: GaussianModel,
    frames: Sequence[Frame],
    instances: InstanceMap | None,
    objects: Mapping[InstanceId, CompletedObject] | None = None,
    background: torch.Tensor | None = None,
    highest_id: int = 0,
    metrics: Mapping | None = None,
    world_offset: np.ndarray | None = None,
) -> SceneState:
    """As `Scene.restore` is given it."""
    offset = np.zeros(3) if world_offset is None else np.asarray(world_offset, dtype=np.float64)
    if offset.any():
        metrics = {**(metrics or {}), "world_offset_m": offset.tolist()}
    counts = {"gaussians": len(gaussians), "frames": len(frames)}
    known = Reconstruction(tuple(frames), gaussians.with_features(None), background, counts)
    state = replace(
        SceneState(), frames=tuple(frames), ids=IdHistory(highest=highest_id), world_offset=offset
    ).with_reconstruction(known)
    if instances is not None:
        decomposition = _restored_decomposition(config, known, gaussians, instances)
        state = replace(state.with_decomposition(decomposition), objects=dict(objects or {}))
    return replace(state, metrics=merged_metrics(state.metrics, metrics or {}))


def _restored_decomposition(
    config: Config, known: Reconstruction, gaussians: GaussianModel, instances: InstanceMap
) -> Decomposition:
    """gaussians: with instance features."""
    views = dense_views(known, config)
    support, up = segmentation.find_support_and_up(views, config.up, config.segmentation.support)
    return Decomposition(
        views=tuple(views),
        support=support,
        up=up.direction,
        masks=(),
        gaussians=gaussians,
        instances=instances,
        surface_of=LazySurface(gaussians, views, config.click),
        metrics={"instances": len(instances.objects)},
    )
