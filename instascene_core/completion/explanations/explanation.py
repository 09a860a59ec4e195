"""What every explanation of an observation offers, and the one that explains nothing."""

from typing import Protocol

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.prior import Prediction


class Explanation(Protocol):
    """What the observed thing is, as far as the evidence says; the prior guesses the rest."""

    @property
    def suffix(self) -> str:
        """Added to what made the completed object: "" or ", box fit"."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the completed object."""
        ...

    def fit_grid(self, observation: Observation) -> Observation:
        """The same observation in a box and with voxels in which the explained body has room."""
        ...

    def known(self, observation: Observation) -> Observation:
        """The observation as if what the explanation knows had been seen, same grid."""
        ...

    def adjust(self, prediction: Prediction, known: Observation) -> Prediction:
        """The prior's prediction from `known`, corrected by what the explanation knows."""
        ...

    def confine(self, field: np.ndarray, known: Observation) -> np.ndarray:
        """The fused field [nx, ny, nz] (metres, negative inside) of the first guess, without what the
        explanation rules out."""
        ...


class Unexplained:
    """Nothing but what was seen is known."""

    suffix = ""
    notes: tuple[str, ...] = ()

    def fit_grid(self, observation: Observation) -> Observation:
        return observation

    def known(self, observation: Observation) -> Observation:
        return observation

    def adjust(self, prediction: Prediction, known: Observation) -> Prediction:
        return prediction

    def confine(self, field: np.ndarray, known: Observation) -> np.ndarray:
        return field
