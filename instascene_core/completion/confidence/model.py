"""The probability that a completed object overlaps a true one by GOOD_IOU of their joint volume, or more.

A logistic regression over numbers of `evidence`, each bounded to what training has seen of it: some dozens of
numbers, which anyone can read.  What makes them: `python -m instascene_core.training.confidence`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from instascene_core.completion.confidence.evidence import EVIDENCE
from instascene_core.errors import InputError
from instascene_core.weights import read_weights, require_shapes, write_weights

GOOD_IOU = 0.7  # volume IoU from which a completed object is a good one
WEIGHTS = Path(__file__).parents[1] / "weights" / "confidence.safetensors"
FORMAT = "instascene confidence 1"
ARRAYS = ("center", "scale", "low", "high", "weight")
ADVICE = "leave completion.confidence.weights empty for those that come with the package"


@dataclass(frozen=True)
class ConfidenceModel:
    """sigmoid(bias + Σ weight · (clip(x, low, high) − center) / scale), F numbers of the evidence."""

    names: tuple[str, ...]  # [F] of EVIDENCE
    center: np.ndarray  # [F]
    scale: np.ndarray  # [F] > 0
    low: np.ndarray  # [F] least that training has seen ...
    high: np.ndarray  # [F] ... and most
    weight: np.ndarray  # [F] change of the log odds by one `scale`
    bias: float

    def probability(self, evidence: Mapping[str, float]) -> float:
        """0 … 1 for the evidence about one object."""
        return float(self.probabilities([evidence])[0])

    def probabilities(self, evidence: list[Mapping[str, float]]) -> np.ndarray:
        """[N] 0 … 1."""
        odds = self.bias + self.standardised(evidence) @ self.weight
        return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))

    def standardised(self, evidence: list[Mapping[str, float]]) -> np.ndarray:
        """[N, F]."""
        values = np.array([[float(row[name]) for name in self.names] for row in evidence])
        values = values.reshape(len(evidence), len(self.names))
        return (np.clip(values, self.low, self.high) - self.center) / self.scale


@lru_cache(maxsize=2)
def load_confidence_model(path: Path = WEIGHTS) -> ConfidenceModel:
    """The model in a weights file.  Raises InputError when the file is missing or not one of ours."""
    arrays, notes = read_weights(path, FORMAT, "confidence model", ADVICE)
    try:
        names = json.loads(notes["evidence"])
    except (KeyError, ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(n, str) and n in EVIDENCE for n in names):
        raise InputError(f"'{path}' does not say which evidence its weights are of; {ADVICE}.")
    shapes = {**dict.fromkeys(ARRAYS, (len(names),)), "bias": (1,)}
    require_shapes(arrays, shapes, path, "confidence model", ADVICE)
    if (arrays["scale"] <= 0).any():
        raise InputError(f"'{path}' holds a scale that is not positive; {ADVICE}.")
    values = {name: arrays[name].astype(np.float64) for name in ARRAYS}
    return ConfidenceModel(tuple(names), **values, bias=float(arrays["bias"][0]))


def save_confidence_model(path: Path, model: ConfidenceModel, notes: Mapping[str, str]) -> None:
    """Write the model with `notes` in the file's header."""
    arrays = {name: getattr(model, name).astype(np.float32) for name in ARRAYS}
    arrays["bias"] = np.array([model.bias], dtype=np.float32)
    named = {"evidence": json.dumps(model.names), "good_iou": str(GOOD_IOU)}
    write_weights(path, arrays, FORMAT, {**named, **notes}, half=False)
