"""What every completion prior offers: signed distance fields in the object box, and how sure they are."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instascene_core.completion.observing.observation import Observation


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
