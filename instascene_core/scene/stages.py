"""The steps of the paper, in order, as functions from frozen values to one frozen value.

`reconstruct`, `decompose` and `complete` can be used by themselves; `Scene.run` calls them in this order.
"""

import logging
import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np

from instascene_core import completion, reconstruction, registration, segmentation
from instascene_core.config import Config
from instascene_core.errors import InputError, NotReadyError
from instascene_core.frame import Frame
from instascene_core.instances import THINGS, InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress, told
from instascene_core.reconstruction import ReconstructionResult
from instascene_core.scene.decomposition import find_instances
from instascene_core.scene.dense_views import dense_views
from instascene_core.scene.depth_bend import straighten
from instascene_core.scene.results import Decomposition, IdHistory, LazySurface, Reconstruction
from instascene_core.threads import side_by_side
from instascene_core.time_budget import within

logger = logging.getLogger(__name__)

_NO_TIME = 1e-3  # seconds: what is left of a time budget that is over; 0 would mean no limit


def reconstruct(
    frames: Sequence[Frame],
    config: Config | None = None,
    progress: ProgressCallback = no_progress,
    *,
    iterations: int | None = None,
    time_budget_s: float | None = None,
    optimise: Callable[..., ReconstructionResult | None] | None = None,
) -> Reconstruction:
    """Section 3: optimise 2D Gaussians on posed frames (depth in metres where they have any).

    iterations, time_budget_s: None takes the configuration's; the budget counts the correction of poses, too.
    optimise: called first with the frames, the progress callback and these limits; it may finish what was
    begun before, or return None.
    Raises NotReadyError with fewer than 2 frames, InputError where the budget is over before the optimisation
    begins.
    """
    config = config or Config()
    if len(frames) < 2:
        raise NotReadyError(
            f"The scene has {len(frames)} frame(s) with a pose; at least 2 are needed, "
            "so move the camera and check the pose topic."
        )
    metrics: dict = {"seconds": {}}
    budget = config.reconstruction.time_budget_s if time_budget_s is None else time_budget_s
    end = time.perf_counter() + budget if budget > 0 else math.inf
    with timed("register", metrics):
        registered = registration.register(frames, config.registration, within(progress, end))
    with timed("straighten", metrics):
        straight = straighten(registered.frames, config.depth_bend, within(progress, end))
    frames = list(straight.frames)
    if straight.bends:
        optimise = None  # what was begun explains depth that bends
    limits = {"iterations": iterations, "time_budget_s": time_budget_s}
    if budget > 0:
        limits["time_budget_s"] = max(end - time.perf_counter(), _NO_TIME)
    with timed("reconstruct", metrics):
        result = optimise(frames, progress, **limits) if optimise is not None else None
        if result is None:
            result = reconstruction.reconstruct(frames, config.reconstruction, progress, **limits)
    metrics.update(
        psnr=result.psnr_train,
        gaussians=len(result.gaussians),
        frames=len(frames),
        iterations=result.iterations,
        depth_bend=list(straight.metrics),
        poses={"corrected": registered.corrected, "pixels": registered.pixels, "gain": registered.gain},
    )
    estimated = result.estimated_depth or [None] * len(frames)
    posed = tuple(
        frame.with_(world_from_camera=pose, estimated_depth=depth)
        for frame, pose, depth in zip(frames, result.world_from_camera, estimated, strict=True)
    )
    return Reconstruction(posed, result.gaussians, result.background, metrics, straight.bends)


def decompose(
    reconstructed: Reconstruction,
    config: Config | None = None,
    progress: ProgressCallback = no_progress,
    *,
    ids: IdHistory | None = None,
) -> Decomposition:
    """Sections 3.1 and 3.2: find every object once.

    ids: those given before, so that instances keep theirs.  Raises InputError where the frames lack what
    the configured 2D segmenter needs.
    """
    config, ids = config or Config(), ids or IdHistory()
    metrics: dict = {"seconds": {}}
    with timed("depth", metrics):
        views = dense_views(reconstructed, config, progress)
        support, up = segmentation.find_support_and_up(views, config.up, config.segmentation.support)
        metrics["up"] = up.as_dict()
    with timed("masks", metrics):
        masks, scores, ids_agree = _masks(views, support, up.direction, config, metrics, progress)
    with timed("decompose", metrics):
        found = find_instances(
            views, masks, reconstructed.gaussians, support, config, ids, progress,
            ids_agree=ids_agree, scores=scores,
        )  # fmt: skip
    metrics["instances"] = len(found.instances.objects)
    gaussians = reconstructed.gaussians.with_features(found.features)
    return Decomposition(
        views=tuple(views),
        support=support,
        masks=tuple(_compact(mask) for mask in masks),
        gaussians=gaussians,
        instances=found.instances,
        surface_of=LazySurface(gaussians, views, config.click),
        up=up.direction,
        metrics=metrics,
    )


def complete(
    decomposition: Decomposition,
    instance_id: InstanceId,
    config: Config | None = None,
    progress: ProgressCallback = no_progress,
    *,
    num_samples: int | None = None,
    seed: int | None = None,
) -> CompletedObject:
    """Section 4: the closed mesh of one object, metres, world frame.

    num_samples, seed: None takes the configuration's.  Raises InputError for an unknown id, for what is
    no object, and where too little was seen.
    """
    config = config or Config()
    instance = decomposition.instances[instance_id]
    if instance.kind not in THINGS:
        raise InputError(
            f"Instance {instance_id} is the {instance.kind} and cannot be completed; ask for an object."
        )
    return completion.complete(
        decomposition.labelled_views,
        instance.id,  # a plain int, whatever kind of integer was asked for
        instance=instance,
        support=decomposition.instances.support,
        up=decomposition.up,
        config=config.completion,
        num_samples=num_samples,
        seed=seed,
        progress=progress,
    )


# ── what the steps share ──────────────────────────────────────────────────────────────────────────────


def _masks(
    views: Sequence[Frame],
    support: segmentation.Support | None,
    up: np.ndarray | None,
    config: Config,
    metrics: dict,
    progress: ProgressCallback,
) -> tuple[list[np.ndarray], list[dict[int, float]], bool]:
    """One label image a view from the configured 2D segmenter, the scores of its masks (id → 0 … 1), and
    whether ids agree between the views."""
    segmenter = segmentation.make_segmenter(
        config.segmentation, views, support, progress, up=up, seek_support=False
    )
    metrics["mask_warnings"], masks, scores = 0, [], []
    with closing(side_by_side(segmenter.segment, views, None if segmenter.side_by_side else 1)) as each:
        for _, found in zip(told(views, progress, "masks"), each):
            masks.append(found.labels)
            scores.append(found.scores)
            for warning in found.warnings:
                logger.warning("%s", warning)
            metrics["mask_warnings"] += len(found.warnings)
    # The built-in masks are cut in the fused surface; association still checks them view by view.
    return masks, scores, segmenter.name == "labels" and segmenter.ids_are_global


def _compact(labels: np.ndarray) -> np.ndarray:
    """The same ids in half the memory where they fit."""
    fits = labels.size == 0 or labels.max() < np.iinfo(np.int16).max
    return labels.astype(np.int16) if fits else labels


@contextmanager
def timed(stage: str, metrics: dict) -> Iterator[None]:
    """Note the stage's wall time in `metrics["seconds"]`, and the process' peak memory until its end."""
    clock = Stopwatch(stage)
    yield
    measured = clock.metrics()
    metrics["seconds"].update(measured["seconds"])
    metrics.setdefault("memory_mb", {}).update(measured["memory_mb"])
    metrics["peak_memory_mb"] = measured["peak_memory_mb"]


class Stopwatch:
    """Wall time of a stage since it was made, or last asked."""

    def __init__(self, stage: str) -> None:
        self._stage, self._since = stage, time.perf_counter()

    def metrics(self) -> dict:
        """`seconds` of the stage, and the process' peak memory until now."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        logger.info("%s: %.1f s", self._stage, seconds)
        return {
            "seconds": {self._stage: seconds},
            "memory_mb": {self._stage: peak},
            "peak_memory_mb": peak,
        }
