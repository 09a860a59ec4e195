"""The prior `multiview`: the learned prior's shape, and colours of what nobody saw from generated views."""

from functools import cached_property
from pathlib import Path

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.multiview.inputs import Given, merged
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.ring import fitting_focal, object_frame, ring
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.completion.priors.multiview.warping import is_unoccluded, warp_views
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import NextViewConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.geometry import TriangleMesh
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.threads import one_thread
from instascene_core.transforms import apply

VIEWS, ELEVATION = 16, 30.0  # of the ring that the weights were trained with


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

    @cached_property
    def _network(self):
        try:
            from instascene_core.completion.priors.multiview.network import WEIGHTS, load_network, side_of
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "diffusers":
                raise
            raise MissingDependencyError(
                "The prior 'multiview' needs diffusers; install it with `pip install diffusers`."
            ) from error
        network, notes = load_network(self.weights or WEIGHTS)
        return network, side_of(notes)

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The learned prior's guesses of the shape."""
        return self.shape.predict(observation, num_samples, seed)

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
        if observation.cut_views == 1:
            raise InputError("Every image ends before the object does, so its outline is not known.")
        from instascene_core.completion.priors.multiview.sampling import Sampler

        config, (network, side) = self.config, self._network
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
        samples = []
        for k in range(config.color_samples):

            def tell(done: int, total: int, k: int = k) -> None:
                share = (k + done / total) / config.color_samples
                progress("complete", share, f"generating views, pass {done + 1} of {total}")

            with one_thread():
                samples.append(Sampler(network, config).sample(given, known, seed + k, tell))
        return PaintedSurface(views, frame, geometry, samples, merged(known).valid, config), notes

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
