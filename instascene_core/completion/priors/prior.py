"""What every completion prior offers: signed distance fields in the object box, and how sure they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.geometry import TriangleMesh
from instascene_core.progress import ProgressCallback

if TYPE_CHECKING:
    from instascene_core.completion.priors.multiview.painting import PaintedSurface


@dataclass(frozen=True)
class Prediction:
    """One or several guesses of the whole shape, in the observation's grid."""

    fields: np.ndarray  # [S, nx, ny, nz] float32 signed distance, metres, negative inside; S ≥ 1
    uncertainty: np.ndarray  # [nx, ny, nz] float32 metres: expected error of a surface found there


class CompletionPrior(Protocol):
    """Guesses what was not observed.  The fusion afterwards keeps what was."""

    name: str
    licence: str

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """`num_samples` distinct, plausible fields; the same seed gives the same fields."""
        ...


@runtime_checkable
class DemandingPrior(CompletionPrior, Protocol):
    """A prior that needs files or folders which the settings name."""

    def require_means(self) -> None:
        """InputError where they are not there; asked before the work begins."""
        ...


@runtime_checkable
class PaintingPrior(CompletionPrior, Protocol):
    """A prior that also generates views of the completed body, for the colours of what was not observed."""

    shape: CompletionPrior  # guesses the geometry; alone it makes the object where no view can be generated

    def paint(
        self,
        observation: Observation,
        mesh: TriangleMesh,
        expected: np.ndarray,
        seed: int,
        progress: ProgressCallback,
    ) -> "tuple[PaintedSurface, tuple[str, ...]]":
        """Generated views of `mesh` and notes (see `multiview.prior`); raises InputError in one sentence
        where it cannot."""
        ...


@runtime_checkable
class FetchingPrior(CompletionPrior, Protocol):
    """A prior that gets its shape from elsewhere, once for an object and before anything else."""

    shape: CompletionPrior  # guesses where nothing can be fetched

    def fetched(self, observation: Observation, progress: ProgressCallback) -> CompletionPrior:
        """The prior that guesses the fetched shape.  `progress` is told while it waits and may raise to stop;
        raises InputError in one sentence where there is no shape, or one that does not fit."""
        ...
