"""One instance from frames to a closed mesh, in order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.completion.explanations import primitives, revolution
from instascene_core.completion.meshing import appearance, fusion
from instascene_core.completion.observing import view_selection
from instascene_core.completion.observing.observation import Observation, covering, finer, grown, observe
from instascene_core.completion.priors.carving import CarvingPrior, carve
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.prior import CompletionPrior, Prediction
from instascene_core.config import CompletionConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.transforms import apply, inverse

PRIORS = {"carving": CarvingPrior, "learned": LearnedPrior}


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
    # 1. What is guessed of the unseen, in a box grown until the body fits.
    progress("complete", 0.35, f"predicting with the prior '{prior.name}'")
    guess = _guess(observation, prior, config, num_samples, seed)
    observation = guess.observation
    # 2. Observed surface and the first guess become one closed mesh, the other guesses closed surfaces.
    progress("complete", 0.55, "meshing")
    mesh = fusion.body_mesh(observation, guess.fields[0], config)
    others = tuple(fusion.closed_body(observation, field, config) for field in guess.fields[1:])
    # 3. What is known about each vertex.
    if others:
        expected = _spread(mesh, others)
    else:
        expected = observation.grid.sample(guess.uncertainty, mesh.vertices)
    facts = appearance.vertex_facts(observation, mesh, expected)
    # 4. Where a camera would see most of what is guessed.
    progress("complete", 0.7, "next best view")
    view = view_selection.next_best_view(observation, mesh, facts.observed)
    # 5. Convex parts for collision checks.
    progress("complete", 0.75, "convex parts")
    parts = meshes.convex_parts(
        mesh, config.convex_threshold, config.max_convex_parts, config.convex_max_triangles, seed
    )
    progress("complete", 1.0, f"instance {observation.instance_id} is complete")
    return _completed(guess, mesh, others, facts, view, parts, time.perf_counter() - start)


@dataclass(frozen=True)
class _Guess:
    """Whole bodies that agree with the observation."""

    observation: Observation  # in the box they fit in
    fields: list[np.ndarray]  # [nx, ny, nz] each: signed distance in metres, fused with what was seen
    uncertainty: np.ndarray  # [nx, ny, nz] metres
    made_by: str  # prior, its licence, and the plain body that won
    notes: tuple[str, ...]


def _guess(
    observation: Observation, prior: CompletionPrior, config: CompletionConfig, num_samples: int, seed: int
) -> _Guess:
    """The prior's guesses, the first replaced by a plain body where the evidence says that it is one."""
    observation, candidate, symmetry = _explained(observation, config, seed)
    for attempt in range(config.max_growths + 1):
        seen = observation if symmetry is None else symmetry.applied(observation)
        prediction = prior.predict(seen, num_samples, seed)
        if symmetry is not None:
            prediction = symmetry.surer(prediction, seen)
            if symmetry.thin:  # solid is only what the prior and the thickness of the wall leave
                prediction = replace(prediction, fields=np.maximum(prediction.fields, carve(seen)))
        if candidate is not None:
            prediction = primitives.preferred(observation, candidate, prediction)
        fields, failed = _fused_fields(seen, prediction)
        if candidate is not None:
            fields[0] = primitives.confined(observation, candidate, fields[0])
        cut = any(fusion.touches_unseen_face(observation, field) for field in fields)
        if not cut or attempt == config.max_growths:
            break
        observation = grown(observation)
    made_by, notes = f"{prior.name} ({prior.licence})", ()
    if cut:
        notes += (
            f"The body is cut off at the side of its box, which was enlarged {config.max_growths} times: "
            "too little of it was seen to tell where it ends.",
        )
    if failed:
        notes += (f"{failed} of {num_samples} guesses contradict the observation and were left out.",)
    if candidate is not None:
        made_by += f", {candidate.shape.kind} fit"
        notes += (f"What was seen is a {candidate.shape.kind} to within the noise; the rest was made one.",)
    if symmetry is not None:
        made_by += ", symmetry about an axis"
        notes += (
            f"{100 * symmetry.agrees:.0f} % of what was seen is symmetric about an axis; "
            "it was taken to be so all around.",
        )
    return _Guess(observation, fields, prediction.uncertainty, made_by, notes)


def _explained(
    observation: Observation, config: CompletionConfig, seed: int
) -> tuple[Observation, primitives.Candidate | None, revolution.Symmetry | None]:
    """The plain body or else the symmetry that the evidence speaks for, and the observation in a box in
    which that has room and, a vessel's wall, its two voxels."""
    if not config.candidates:
        return observation, None, None
    candidate = primitives.best_candidate(observation, seed)
    symmetry = revolution.find_symmetry(observation) if candidate is None else None
    if symmetry is not None:
        observation = covering(observation, symmetry.surface().positions)
        if symmetry.thin:
            observation = finer(observation, symmetry.wall / 2, config.max_thin_voxels)
    return observation, candidate, symmetry


def _fused_fields(observation: Observation, prediction: Prediction) -> tuple[list[np.ndarray], int]:
    """The guesses fused with the observation, and how many of them left nothing of the body.

    Raises InputError when the first one leaves nothing.
    """
    fields = [fusion.fused_field(observation, prediction.fields[0])]
    failed = 0
    for field in prediction.fields[1:]:
        try:
            fields.append(fusion.fused_field(observation, field))
        except InputError:
            failed += 1
    return fields, failed


def _spread(mesh: TriangleMesh, others: Sequence[TriangleMesh]) -> np.ndarray:
    """[V] metres: standard deviation of where the guesses put the surface, along the shortest way."""
    offsets = [np.zeros(len(mesh.vertices))]
    offsets += [meshes.signed_distance(other, mesh.vertices) for other in others]
    return np.std(offsets, axis=0, ddof=1)


def _completed(guess, mesh, others, facts, view, parts, duration_s) -> CompletedObject:
    observation = guess.observation
    world_from_object, dimensions = _object_pose(mesh, observation.up)
    fraction = appearance.mean_over_surface(mesh, facts.observed)
    confidence = np.clip(1.25 * fraction, 0, 1) * np.clip(observation.num_views / 4, 0.25, 1)
    confidence *= 1 - 0.5 * observation.cut_views
    notes = observation.notes + guess.notes
    if fraction < 0.3:
        notes = (*notes, f"Only {100 * fraction:.0f} % of the surface was observed: low confidence.")
    if view is not None and fraction < 0.9:
        eye = ", ".join(f"{x:.2f}" for x in view.world_from_camera[:3, 3])
        notes = (
            *notes,
            f"A camera at ({eye}) that looks at the object would reveal {100 * view.reveals:.0f} % of the "
            "surface that is only guessed.",
        )
    return CompletedObject(
        instance_id=observation.instance_id,
        mesh=mesh,
        colors=facts.colors,
        observed=facts.observed,
        vertex_uncertainty=facts.uncertainty,
        world_from_object=world_from_object,
        dimensions=dimensions,
        watertight=meshes.is_watertight(mesh),
        volume=meshes.volume(mesh),
        observed_fraction=fraction,
        uncertainty=appearance.mean_over_surface(mesh, facts.uncertainty),
        confidence=float(confidence),
        prior=guess.made_by,
        duration_s=duration_s,
        convex_parts=parts,
        hypotheses=others,
        next_best_view=None if view is None else view.world_from_camera,
        next_view_reveals=0.0 if view is None else view.reveals,
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
