"""In-situ completion: one instance's observation, a prior for what was not seen, one closed mesh."""

from instascene_core.completion.completer import PRIORS, complete, complete_observation, make_prior
from instascene_core.completion.observing.observation import Observation, observe
from instascene_core.completion.priors.prior import CompletionPrior, Prediction

__all__ = [
    "PRIORS",
    "CompletionPrior",
    "Observation",
    "Prediction",
    "complete",
    "complete_observation",
    "make_prior",
    "observe",
]
