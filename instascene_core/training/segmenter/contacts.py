"""Training of the contact model: which pairs of patches are two objects."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from instascene_core.segmentation.fused_surface.contacts import ContactModel
from instascene_core.training.segmenter.evidence import SceneEvidence
from instascene_core.training.segmenter.perceptron import PerceptronTraining, fit_perceptron

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContactTraining(PerceptronTraining):
    """What a training run depends on, besides the scenes."""

    min_purity: float = 0.8  # of a patch, for its pairs to be examples
    apart_share: float = 0.03  # of the pairs that do not touch: there are fifty times as many


def examples(
    scene: SceneEvidence, config: ContactTraining, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features [C, F], two objects [C] 0 or 1, touching [C]) of one scene's pairs of patches."""
    votes = np.zeros((int(scene.patch.max()) + 1, 1 + int(scene.owner.max())))
    np.add.at(votes, (scene.patch, scene.owner), 1)
    owner, purity = votes.argmax(axis=1), votes.max(axis=1) / np.maximum(votes.sum(axis=1), 1)
    pairs = scene.pairs
    a, b = pairs.first, pairs.second
    known = (np.minimum(purity[a], purity[b]) > config.min_purity) & (np.maximum(owner[a], owner[b]) > 0)
    known &= pairs.touching | (rng.uniform(size=len(a)) < config.apart_share)
    return pairs.features[known], (owner[a] != owner[b])[known].astype(float), pairs.touching[known]


def train(
    scenes: Iterable[SceneEvidence], held_back: Iterable[SceneEvidence], config: ContactTraining
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """(weights of a ContactModel, scores on the scenes held back); each scene is looked at once."""
    rng = np.random.default_rng([config.seed, 3])
    x, y, _ = (np.concatenate(part) for part in zip(*(examples(s, config, rng) for s in scenes), strict=True))
    state = fit_perceptron(x, y, None, config)
    return state, scores_of(ContactModel(state), [examples(scene, config, rng) for scene in held_back])


def scores_of(model: ContactModel, scenes: list[tuple]) -> dict[str, float]:
    """Area under the ROC curve, for pairs in contact and for those apart."""
    from sklearn.metrics import roc_auc_score

    x, y, touching = (np.concatenate(part) for part in zip(*scenes, strict=True))
    odds = model.log_odds(x)
    return {
        "auc_touching": float(roc_auc_score(y[touching], odds[touching])),
        "auc_apart": float(roc_auc_score(y[~touching], odds[~touching])),
    }
