"""The prior `multiview`: the learned prior's shape, and colours of what nobody saw from generated views."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.multiview.inputs import GeneratedViews, Given, Known, merged
from instascene_core.completion.priors.multiview.joint import fine_tuned
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.ring import (
    ObjectFrame,
    fitting_focal,
    object_frame,
    ring,
)
from instascene_core.completion.priors.multiview.views import ViewGeometry, render_geometry
from instascene_core.completion.priors.multiview.vote import moved_by_depth
from instascene_core.completion.priors.multiview.warping import is_unoccluded, warp_views
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import NextViewConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError, is_out_of_memory, needs
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.threads import one_thread
from instascene_core.transforms import apply

if TYPE_CHECKING:
    from instascene_core.completion.priors.multiview.sampling import Sampler

_GENERATED = 0.3  # of the progress, where a joint optimisation follows
_FIRST = 0.5  # of that, where a second stage follows
VIEWS, ELEVATION = 16, 30.0  # of the ring that the weights were trained with


@dataclass(frozen=True)
class _Scene:
    """A body in its ring of views, and what is known of it."""

    frame: ObjectFrame
    geometry: ViewGeometry
    given: Given
    known: list[Known]  # by observed view, the best first
    notes: tuple[str, ...]


class MultiviewPrior:
    """Shape by the learned prior; 16 views of it generated under all observed ones."""

    name = "multiview"
    licence = "Apache-2.0"

    def __init__(
        self,
        shape: LearnedPrior,
        config: MultiviewConfig | None = None,
        views: NextViewConfig | None = None,
        weights: Path | None = None,
    ) -> None:
        """shape: guesses the geometry; views: when an observed view counts as unoccluded; weights: None takes
        those of the package."""
        self.shape, self.config = shape, config or MultiviewConfig()
        self.views, self.weights = views or NextViewConfig(), weights

    @classmethod
    def from_config(cls, config: CompletionConfig) -> "MultiviewPrior":
        weights = Path(config.multiview.weights) if config.multiview.weights else None
        return cls(LearnedPrior.from_config(config), config.multiview, config.next_view, weights)

    def require_means(self) -> None:
        """InputError where the weights, or the library that they need, are not there."""
        _ = self._network
        if self.config.second_stage != "none":
            _ = self._second

    @cached_property
    def _network(self):
        with needs(
            "diffusers", "The prior 'multiview' needs diffusers; install it with `pip install diffusers`."
        ):
            from instascene_core.completion.priors.multiview.network import WEIGHTS, load_network, side_of
        network, notes = load_network(self.weights or WEIGHTS)
        return network, side_of(notes)

    @cached_property
    def _second(self):
        """The second stage, as a function like `second.refined`, and the side of its views."""
        from instascene_core.completion.priors.multiview.network import load_network, side_of
        from instascene_core.completion.priors.multiview.second import refined, sharpened

        if self.config.second_stage == "own":
            network, side = self._network
            return partial(sharpened, network), 2 * side
        if not self.config.second_weights:
            raise InputError(
                "The second stage 'trained' needs weights; name their file in "
                "completion.multiview.second_weights."
            )
        network, notes = load_network(Path(self.config.second_weights), "second")
        return partial(refined, network), side_of(notes)

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The learned prior's guesses of the shape; where generated depth has a vote, moved by it: the first
        guess by the mean of the seeds, the others by one seed each.  The seeds' spread adds to the
        uncertainty.  Where no view can be generated, the guesses stay (and `paint` says why)."""
        prediction = self.shape.predict(observation, num_samples, seed)
        if self.config.depth_vote == 0:
            return prediction
        try:
            body = _surface(observation, prediction.fields[0])
            expected = observation.grid.sample(prediction.uncertainty, body.vertices)
            scene = self._scene(observation, body, expected, self._network[1])
            with one_thread():
                seeds = range(seed, seed + max(2, num_samples))
                depths = np.stack([self._sampler.sample(scene.given, scene.known, s).depth for s in seeds])
        except (InputError, RuntimeError, MemoryError) as error:
            if not isinstance(error, InputError) and not is_out_of_memory(error):
                raise
            return prediction
        agreed = (depths > 0).all(axis=0)
        spread = np.where(agreed, depths.std(axis=0, ddof=1), 0)
        fields, unsure = [], np.zeros(observation.grid.shape, np.float32)
        for k, field in enumerate(prediction.fields):
            depth = np.where(agreed, depths.mean(axis=0) if k == 0 else depths[k], 0)
            place = (observation.grid, scene.frame, scene.given.views, scene.geometry)
            moved, doubt = moved_by_depth(field, *place, depth, spread, self.config)
            fields.append(moved)
            unsure = doubt if k == 0 else unsure
        uncertainty = np.hypot(prediction.uncertainty, self.config.depth_vote * unsure)
        return Prediction(np.stack(fields), uncertainty.astype(np.float32))

    def paint(
        self,
        observation: Observation,
        mesh: TriangleMesh,
        expected: np.ndarray,
        seed: int,
        progress: ProgressCallback = no_progress,
    ) -> tuple[PaintedSurface, tuple[str, ...]]:
        """Generated views of a completed body, and notes.

        expected: [V] metres, expected error of the vertices.  `progress` is told before each pass of the
        network and may raise to stop.  The same seed gives the same views.
        Raises InputError when no view shows the body, all images end before it does, or the weights cannot be
        loaded.
        """
        config = self.config
        scene = self._scene(observation, mesh, expected, self._network[1])
        sampler = self._sampler
        made = _GENERATED if config.joint.steps else 1.0  # share of the progress at which all views are
        samples, until = [], made * (_FIRST if config.second_stage != "none" else 1.0)
        for k in range(config.color_samples):

            def tell(done: int, total: int, k: int = k) -> None:
                share = until * (k + done / total) / config.color_samples
                progress("complete", share, f"generating views, pass {done + 1} of {total}")

            with one_thread():
                samples.append(sampler.sample(scene.given, scene.known, seed + k, tell))
        if config.second_stage != "none":
            progress("complete", until, "refining views")
            scene, samples = self._refined(observation, mesh, expected, scene, samples)
        place = (scene.given.views, scene.frame, scene.geometry)
        painted = PaintedSurface(*place, samples, merged(scene.known).valid, config)
        if config.joint.steps > 0:

            def tell_step(done: int, total: int) -> None:
                share = made + (1 - made) * done / total
                progress("complete", share, f"optimising the object, step {done} of {total}")

            painted = fine_tuned(painted, observation, mesh, seed, tell_step)
        return painted, scene.notes

    def _refined(
        self,
        observation: Observation,
        mesh: TriangleMesh,
        expected: np.ndarray,
        scene: "_Scene",
        samples: list[GeneratedViews],
    ) -> tuple["_Scene", list[GeneratedViews]]:
        """The scene and the samples at the second stage's side."""
        stage, side = self._second
        fine = self._scene(observation, mesh, expected, side)
        coverage = scene.given.coverage
        with one_thread():
            larger = [stage(fine.given, fine.known, views, coverage, self.config) for views in samples]
        return fine, larger

    @property
    def _sampler(self) -> "Sampler":
        from instascene_core.completion.priors.multiview.sampling import Sampler

        return Sampler(self._network[0], self.config)

    def _scene(
        self, observation: Observation, mesh: TriangleMesh, expected: np.ndarray, side: int
    ) -> "_Scene":
        """What the views of `mesh` in `side` × `side` pixels start from (see `paint`)."""
        if observation.cut_views == 1:
            raise InputError("Every image ends before the object does, so its outline is not known.")
        frame = object_frame(mesh.vertices, observation.up)
        body = TriangleMesh(frame.from_world(mesh.vertices), mesh.triangles)
        views = ring(fitting_focal(body.vertices, VIEWS, ELEVATION), side, VIEWS, ELEVATION)
        geometry = render_geometry(body, views)
        support, low = observation.support, float(body.vertices[:, 2].min())
        if support is not None:
            center = apply(frame.world_from_frame, np.zeros(3))
            low = min(low, -float(support.height(center)) / frame.radius)
        given = Given(
            views=views,
            depth=geometry.depth,
            coverage=geometry.coverage,
            normals=geometry.normals,
            uncertainty=geometry.values(body, expected / frame.radius),
            bottom=low,
        )
        known, notes = self._conditions(observation, mesh, geometry, views, frame)
        return _Scene(frame, geometry, given, known, notes)

    def _conditions(self, observation, mesh, geometry, views, frame):
        """What the observed views know, the unoccluded ones first, those that show most first; and notes."""
        known = warp_views(observation.views, geometry, views, frame, observation.noise, self.config)
        longest = float(np.ptp(mesh.vertices, axis=0).max())
        rule = (self.views.same_depth * longest, self.views.unoccluded)
        useful = [(k, view) for k, view in zip(known, observation.views) if k.valid.any()]
        if not useful:
            raise InputError("No image shows the completed surface, so no views of it can be generated.")
        useful.sort(key=lambda pair: -float(pair[0].weight.sum()))
        clear = [is_unoccluded(view, mesh, *rule) for _, view in useful]
        if not any(clear) and not self.config.occluded_views:
            raise InputError("In no view is the object free of what stands before it.")
        order = np.argsort(np.logical_not(clear), kind="stable")  # the unoccluded ones first
        note = "In no view is the object free of what stands before it: its generated colours are less sure."
        return [useful[k][0] for k in order], () if any(clear) else (note,)


def _surface(observation: Observation, field: np.ndarray) -> TriangleMesh:
    """The surface of a predicted field outside of what is known to be empty; world, metres."""
    grid = observation.grid
    field = np.where(observation.free & ~observation.believed, np.maximum(field, np.float32(1e-6)), field)
    mesh = meshes.surface_from_field(field)
    return TriangleMesh(apply(grid.world_from_grid, mesh.vertices * grid.voxel), mesh.triangles)
