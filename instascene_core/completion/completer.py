"""One instance from frames to a closed mesh, in order."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from instascene_core.completion.confidence import alternatives
from instascene_core.completion.confidence.evidence import collect_evidence
from instascene_core.completion.confidence.model import WEIGHTS, load_confidence_model
from instascene_core.completion.explanations.explain import explain
from instascene_core.completion.explanations.explanation import Explanation, Unexplained
from instascene_core.completion.meshing import appearance, fusion, painting
from instascene_core.completion.observing import view_selection
from instascene_core.completion.observing.observation import Observation, observe
from instascene_core.completion.observing.regridding import enlarge_box
from instascene_core.completion.priors.carving import CarvingPrior
from instascene_core.completion.priors.external.queue import QueuePrior
from instascene_core.completion.priors.external.six_views import SixViewsPrior
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.prior import MultiviewPrior
from instascene_core.completion.priors.prior import (
    CompletionPrior,
    FetchingPrior,
    PaintingPrior,
    Prediction,
)
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConfidenceConfig, ExplanationsConfig
from instascene_core.config.meshing import MeshingConfig
from instascene_core.config.ranges import first_fault
from instascene_core.errors import InputError, is_out_of_memory
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.convex_parts import PartsBudget, convex_parts
from instascene_core.instances import Instance, InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.transforms import apply, inverse

PRIORS = {
    "carving": CarvingPrior,
    "learned": LearnedPrior,
    "multiview": MultiviewPrior,
    "zero123plus": SixViewsPrior,
    "queue": QueuePrior,
}


def make_prior(name: str, config: CompletionConfig | None = None) -> CompletionPrior:
    """The prior called `name`, with the settings in `config`; raises InputError naming the known ones."""
    if name not in PRIORS:
        raise InputError(f"Unknown completion prior '{name}'; known are {', '.join(PRIORS)}.")
    return PRIORS[name].from_config(config or CompletionConfig())


def complete(
    frames: Sequence[Frame],
    instance_id: InstanceId,
    support: Plane | None = None,
    config: CompletionConfig | None = None,
    *,
    instance: Instance | None = None,
    up: np.ndarray | None = None,
    num_samples: int | None = None,
    seed: int | None = None,
    progress: ProgressCallback = no_progress,
) -> CompletedObject:
    """Complete one instance from frames with depth (metres) and labels (instance ids per pixel).

    support: plane it stands on; up: direction against gravity (both world frame; without `up` the
    support's normal is taken, without both a guess from the cameras, which the notes then say).
    instance: as the decomposition describes it, for the confidence; None takes the masks to be right.
    num_samples, seed: None takes the config's.
    Raises InputError in one sentence when too little of it was seen; never returns an open mesh.
    """
    config = config or CompletionConfig()
    prior = make_prior(config.prior, config)
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
        instance,
    )


def complete_observation(
    observation: Observation,
    prior: CompletionPrior,
    config: CompletionConfig,
    num_samples: int,
    seed: int,
    progress: ProgressCallback = no_progress,
    start: float | None = None,
    instance: Instance | None = None,
) -> CompletedObject:
    """Complete what was observed with any prior (see `complete`)."""
    start = time.perf_counter() if start is None else start
    asked = replace(config, num_samples=num_samples, seed=seed)
    if sentence := first_fault(asked, ("num_samples", "seed")):
        raise InputError(sentence)
    # 1. What is guessed of the unseen, in a box grown until the body fits.
    prior, fetching = _fetched(observation, prior, progress)
    progress("complete", 0.35, f"predicting with the prior '{prior.name}'")
    guess = _guess(observation, prior, config, num_samples, seed)
    observation = guess.observation
    # 2. Observed surface and the first guess become one closed mesh, the other guesses closed surfaces.
    progress("complete", 0.55, "meshing")
    mesh = fusion.mesh_body(observation, guess.fields[0], config.meshing)
    others = tuple(fusion.close_surface(observation, field, config.meshing) for field in guess.fields[1:])
    # 3. Views of the body that nobody took, where the prior generates them.
    painted, mesh, made_by, notes = _paint(guess, prior, mesh, config.meshing, seed, progress)
    guess = replace(guess, made_by=made_by, notes=fetching + guess.notes + notes)
    # 4. What is known about each vertex.
    if others:
        expected = _spread(mesh, others)
    else:
        expected = observation.grid.sample(guess.uncertainty, mesh.vertices)
    facts = appearance.judge_vertices(observation, mesh, expected, config.meshing.appearance)
    if painted is not None:
        facts = painting.paint_unseen(mesh, facts, painted)
    # 5. Where a camera would see most of what is guessed.
    progress("complete", 0.7, "next best view")
    view = view_selection.next_best_view(observation, mesh, facts.observed, config.next_view)
    # 6. Convex parts for collision checks.
    progress("complete", 0.75, "convex parts")
    parts = convex_parts(mesh, PartsBudget(**asdict(config.convex_parts)))
    progress("complete", 1.0, f"instance {observation.instance_id} is complete")
    duration_s = time.perf_counter() - start
    return _completed(guess, mesh, others, facts, view, parts, instance, config.confidence, duration_s)


def _fetched(
    observation: Observation, prior: CompletionPrior, progress: ProgressCallback
) -> tuple[CompletionPrior, tuple[str, ...]]:
    """The prior with the shape that it gets from elsewhere, if it does so; where that fails, the one that
    guesses then, and a note."""
    if not isinstance(prior, FetchingPrior):
        return prior, ()

    def tell(stage: str, share: float, message: str = "") -> None:
        progress(stage, 0.3 + 0.05 * share, message)

    try:
        return prior.fetched(observation, tell), ()
    except InputError as error:
        return prior.shape, (f"No shape came from the prior '{prior.name}': {error}",)


@dataclass(frozen=True)
class _Guess:
    """Whole bodies that agree with the observation."""

    observation: Observation  # in the box they fit in, without what the explanation adds
    fields: list[np.ndarray]  # [nx, ny, nz] each: signed distance in metres, fused with what was seen
    uncertainty: np.ndarray  # [nx, ny, nz] metres
    explained: bool  # whether it is a plain body or one of revolution
    made_by: str  # prior, its licence, and the explanation
    notes: tuple[str, ...]


def _guess(
    observation: Observation, prior: CompletionPrior, config: CompletionConfig, num_samples: int, seed: int
) -> _Guess:
    """What the explanation knows and the prior guesses, unless what comes of it loses surface that was seen:
    then what the prior alone guesses, which loses less."""
    explanation: Explanation = explain(observation, config, seed)
    guess = _guess_with(explanation, observation, prior, config, num_samples, seed)
    allowed = config.explanations.lost
    if isinstance(explanation, Unexplained):
        return guess
    lost = _share_lost(observation, guess, config.explanations)
    if lost <= allowed:
        return guess
    alone = _guess_with(Unexplained(), observation, prior, config, num_samples, seed)
    return alone if lost > allowed + _share_lost(observation, alone, config.explanations) else guess


def _share_lost(observation: Observation, guess: _Guess, config: ExplanationsConfig) -> float:
    """Share of the observed points that lie off the guessed surface by more than their error."""
    grid = guess.observation.grid
    mesh = meshes.surface_from_field(guess.fields[0])
    cell = max(observation.pixel, observation.grid.voxel)
    error = max(config.lost_noise * observation.noise, config.lost_voxels * cell)
    positions = observation.points.positions
    positions = grid.coordinates(positions[:: max(1, len(positions) // config.surface.max_points)])
    return float((meshes.distance(mesh, positions) * grid.voxel > error).mean())


def _guess_with(
    explanation: Explanation,
    observation: Observation,
    prior: CompletionPrior,
    config: CompletionConfig,
    num_samples: int,
    seed: int,
) -> _Guess:
    """What the explanation knows and the prior guesses, fused with what was seen, in a box grown until the
    body fits."""
    observation = explanation.fit_grid(observation)
    for attempt in range(config.max_growths + 1):
        known = explanation.known(observation)
        prediction = explanation.adjust(prior.predict(known, num_samples, seed), known)
        fields, failed = _fuse_guesses(known, prediction, config.meshing)
        fields[0] = explanation.confine(fields[0], known)
        cut = any(fusion.touches_unseen_face(observation, field) for field in fields)
        if not cut or attempt == config.max_growths:
            break
        observation = enlarge_box(observation, config.growth)
    notes: tuple[str, ...] = ()
    if cut:
        notes += (
            f"The body is cut off at the side of its box, which was enlarged {config.max_growths} times: "
            "too little of it was seen to tell where it ends.",
        )
    if failed:
        notes += (f"{failed} of {num_samples} guesses contradict the observation and were left out.",)
    made_by = f"{prior.name} ({prior.licence}){explanation.suffix}"
    explained, notes = not isinstance(explanation, Unexplained), notes + explanation.notes
    return _Guess(observation, fields, prediction.uncertainty, explained, made_by, notes)


def _fuse_guesses(
    observation: Observation, prediction: Prediction, config: MeshingConfig
) -> tuple[list[np.ndarray], int]:
    """The guesses fused with the observation, and how many of them left nothing of the body.

    Raises InputError when the first one leaves nothing.
    """
    fields = [fusion.fuse_guess(observation, prediction.fields[0], config)]
    failed = 0
    for field in prediction.fields[1:]:
        try:
            fields.append(fusion.fuse_guess(observation, field, config))
        except InputError:
            failed += 1
    return fields, failed


def _paint(
    guess: _Guess,
    prior: CompletionPrior,
    mesh: TriangleMesh,
    config: MeshingConfig,
    seed: int,
    progress: ProgressCallback,
) -> tuple[PaintedSurface | None, TriangleMesh, str, tuple[str, ...]]:
    """Generated views, if the prior generates any and can; the mesh, finer where they show more; who made the
    object; and notes."""
    if not isinstance(prior, PaintingPrior):
        return None, mesh, guess.made_by, ()
    observation = guess.observation
    expected = observation.grid.sample(guess.uncertainty, mesh.vertices)

    def tell(stage: str, share: float, message: str = "") -> None:
        progress(stage, 0.56 + 0.13 * share, message)

    try:
        painted, notes = prior.paint(observation, mesh, expected, seed, tell)
    except (InputError, RuntimeError, MemoryError) as error:
        if not isinstance(error, InputError) and not is_out_of_memory(error):
            raise
        reason = str(error) if isinstance(error, InputError) else "There is not enough memory for them."
        note = f"No views were generated, the colours of what was not seen are the nearest ones: {reason}"
        shape = f"{prior.shape.name} ({prior.shape.licence})"
        return None, mesh, guess.made_by.replace(f"{prior.name} ({prior.licence})", shape), (note,)
    return painted, painting.refine_for_paint(mesh, painted, observation, config), guess.made_by, notes


def _spread(mesh: TriangleMesh, others: Sequence[TriangleMesh]) -> np.ndarray:
    """[V] metres: standard deviation of where the guesses put the surface, along the shortest way."""
    offsets = [np.zeros(len(mesh.vertices))]
    offsets += [meshes.signed_distance(other, mesh.vertices) for other in others]
    return np.std(offsets, axis=0, ddof=1)


def _completed(
    guess: _Guess,
    mesh: TriangleMesh,
    others: tuple[TriangleMesh, ...],
    facts: appearance.VertexFacts,
    view: view_selection.NextView | None,
    parts: tuple[TriangleMesh, ...],
    instance: Instance | None,
    config: ConfidenceConfig,
    duration_s: float,
) -> CompletedObject:
    """Everything about one object in its place, with its confidence and notes."""
    observation = guess.observation
    world_from_object, dimensions = _object_pose(mesh, observation.up)
    expected = observation.grid.sample(guess.uncertainty, mesh.vertices)
    evidence = collect_evidence(
        observation, mesh, facts.observed, expected, explained=guess.explained, instance=instance
    )
    weights = Path(config.weights) if config.weights else WEIGHTS
    confidence = load_confidence_model(weights).probability(evidence)
    fraction = evidence["observed"]
    notes = observation.notes + guess.notes + alternatives.notes_on(mesh, others, config)
    if fraction < config.low_fraction:
        notes = (*notes, f"Only {100 * fraction:.0f} % of the surface was observed.")
    if view is not None and fraction < config.high_fraction:
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
        confidence=confidence,
        evidence=evidence,
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
