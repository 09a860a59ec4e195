"""One instance from frames to a closed mesh, in order."""

import time
from collections.abc import Sequence

import numpy as np

from instascene_core import mesh as meshes
from instascene_core.completion import appearance, fusion
from instascene_core.completion.carving import CarvingPrior
from instascene_core.completion.observation import Observation, grown, observe
from instascene_core.completion.prior import CompletionPrior, Prediction
from instascene_core.config import CompletionConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane
from instascene_core.objects import CompletedObject, TriangleMesh
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.transforms import apply, inverse

PRIORS = {"carving": CarvingPrior}


def make_prior(name: str) -> CompletionPrior:
    """The prior called `name`; raises InputError naming the known ones."""
    if name not in PRIORS:
        raise InputError(f"Unknown completion prior '{name}'; known are {', '.join(PRIORS)}.")
    return PRIORS[name]()


def complete(
    frames: Sequence[Frame],
    instance_id: int,
    support: Plane | None = None,
    config: CompletionConfig | None = None,
    *,
    up: np.ndarray | None = None,
    num_samples: int | None = None,
    seed: int | None = None,
    progress: ProgressCallback = no_progress,
) -> CompletedObject:
    """Complete one instance from frames with depth (metres) and labels (instance ids per pixel).

    support: plane it stands on; up: direction against gravity (both world frame; without `up` the
    support's normal is taken, without both a guess from the cameras, which the notes then say).
    num_samples, seed: None takes the config's.
    Raises InputError in one sentence when too little of it was seen; never returns an open mesh.
    """
    config = config or CompletionConfig()
    prior = make_prior(config.prior)
    start = time.perf_counter()
    progress("complete", 0.0, f"observing instance {instance_id}")
    observation = observe(frames, instance_id, support, up, config)
    return complete_observation(
        observation,
        prior,
        config,
        config.num_samples if num_samples is None else num_samples,
        config.seed if seed is None else seed,
        progress,
        start,
    )


def complete_observation(
    observation: Observation,
    prior: CompletionPrior,
    config: CompletionConfig,
    num_samples: int,
    seed: int,
    progress: ProgressCallback = no_progress,
    start: float | None = None,
) -> CompletedObject:
    """Complete what was observed with any prior (see `complete`)."""
    start = time.perf_counter() if start is None else start
    if num_samples < 1:
        raise InputError(f"The number of completion samples must be at least 1, got {num_samples}.")
    # 1. The prior's guess, in a box grown until the body fits.
    progress("complete", 0.35, f"predicting with the prior '{prior.name}'")
    observation, prediction, fields = _predict(observation, prior, config, num_samples, seed)
    # 2. Observed surface and guess become one closed mesh.
    progress("complete", 0.55, "meshing")
    mesh = fusion.body_mesh(observation, fields[0], config)
    # 3. What is known about each vertex.
    spread = fields.std(axis=0) if num_samples > 1 else prediction.uncertainty
    facts = appearance.vertex_facts(observation, mesh, np.asarray(spread, dtype=np.float32))
    # 4. Convex parts for collision checks.
    progress("complete", 0.75, "convex parts")
    parts = meshes.convex_parts(
        mesh, config.convex_threshold, config.max_convex_parts, config.convex_max_triangles, seed
    )
    progress("complete", 1.0, f"instance {observation.instance_id} is complete")
    return _completed(observation, prior, mesh, facts, parts, time.perf_counter() - start)


def _predict(
    observation: Observation, prior: CompletionPrior, config: CompletionConfig, num_samples: int, seed: int
) -> tuple[Observation, Prediction, np.ndarray]:
    """Prediction and fused fields [S, nx, ny, nz] in a box that the body does not touch."""
    for attempt in range(config.max_growths + 1):
        prediction = prior.predict(observation, num_samples, seed)
        fields = np.stack([fusion.fused_field(observation, field) for field in prediction.fields])
        touching = any(fusion.touches_unseen_face(observation, field) for field in fields[:1])
        if not touching or attempt == config.max_growths:
            break
        observation = grown(observation)
    return observation, prediction, fields


def _completed(observation, prior, mesh, facts, parts, duration_s) -> CompletedObject:
    world_from_object, dimensions = _object_pose(mesh, observation.up)
    fraction = appearance.observed_fraction(mesh, facts.observed)
    confidence = float(np.clip(1.25 * fraction, 0, 1) * np.clip(observation.num_views / 4, 0.25, 1))
    notes = observation.notes
    if fraction < 0.3:
        notes = (*notes, f"Only {100 * fraction:.0f} % of the surface was observed: low confidence.")
    return CompletedObject(
        instance_id=observation.instance_id,
        mesh=mesh,
        colors=facts.colors,
        observed=facts.observed,
        vertex_uncertainty=facts.uncertainty,
        world_from_object=world_from_object,
        dimensions=dimensions,
        watertight=meshes.to_trimesh(mesh).is_watertight,
        volume=meshes.volume(mesh),
        observed_fraction=fraction,
        uncertainty=float(facts.uncertainty.mean()),
        confidence=confidence,
        prior=f"{prior.name} ({prior.licence})",
        duration_s=duration_s,
        convex_parts=parts,
        notes=notes,
    )


def _object_pose(mesh: TriangleMesh, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`world_from_object` (origin at the bottom centre of the smallest upright box) and its size [3]."""
    pose = np.eye(4)
    pose[:3, :3] = meshes.smallest_rectangle(mesh.vertices, up)
    local = apply(inverse(pose), mesh.vertices)
    low, high = local.min(axis=0), local.max(axis=0)
    bottom_center = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    pose[:3, 3] = pose[:3, :3] @ bottom_center
    return pose, high - low
