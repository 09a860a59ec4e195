"""Joining fragments of one object by the majority of the views.

View consensus (0.9) is strict on purpose: it never glues two objects, but with masks that are split
or merged at random in every third view it leaves an object in fragments.  A fragment has enough
Gaussians to ask every frame a simpler question, filtered masks included: in which mask does most of
it lie?  Two fragments of one object lie in the same mask far more often than not, whatever single
frames did wrong; two objects do not.
"""

import numpy as np

from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.association.refine import Candidate, agreed_candidates
from instascene_core.config import AssociationConfig


class _Ballot:
    """Per candidate the mask that holds most of it, in every frame that shows enough of it."""

    def __init__(self, masks: MaskMatrices, config: AssociationConfig) -> None:
        self.masks, self.config = masks, config
        self.frame_starts = np.searchsorted(masks.frame, np.arange(masks.num_frames))
        self.filled = np.bincount(masks.frame, minlength=masks.num_frames) > 0

    def vote(self, gaussians: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """([F] int mask that holds most of the Gaussians, −1 = frame does not show them; [F] its share)."""
        held = np.asarray(self.masks.membership[gaussians].sum(axis=0)).ravel()  # [M]
        winner = np.full(self.masks.num_frames, -1)
        share = np.zeros(self.masks.num_frames)
        starts = self.frame_starts[self.filled]
        labelled = np.add.reduceat(held, starts)
        largest = np.maximum.reduceat(held, starts)
        shown = labelled >= (1 - self.config.max_unseen) * len(gaussians) - TOLERANCE
        frames = np.flatnonzero(self.filled)[shown]
        stops = np.append(starts[1:], len(held))
        for frame, start, stop in zip(frames, starts[shown], stops[shown], strict=True):
            winner[frame] = start + int(held[start:stop].argmax())
        share[frames] = largest[shown] / labelled[shown]
        return winner, share


def join_fragments(
    candidates: list[Candidate], masks: MaskMatrices, config: AssociationConfig
) -> list[Candidate]:
    """Join candidates, most agreed pair first, while more than 1 − `split_ratio` of their frames agree.

    One frame's worth of doubt is added, so that pairs seen together once or twice stay apart.
    Candidates that fall apart in most of their own frames cover several objects and are dropped.
    """
    if not len(masks.frame):
        return candidates
    ballot = _Ballot(masks, config)
    kept, winners = [], []
    for candidate in candidates:
        winner, share = ballot.vote(_agreed(candidate, masks, config))
        shown = winner >= 0
        scattered = share[shown] < config.containment - TOLERANCE
        if shown.any() and scattered.mean() >= config.scatter_ratio:
            continue
        kept.append(candidate)
        winners.append(winner)
    agreement = _agreements(np.stack(winners)) if kept else np.zeros((0, 0))
    while len(kept) > 1:
        a, b = np.unravel_index(int(agreement.argmax()), agreement.shape)
        if agreement[a, b] < 1 - config.split_ratio + TOLERANCE:
            break
        a, b = min(a, b), max(a, b)
        kept[a] = union([kept[a], kept[b]])
        winners[a] = ballot.vote(_agreed(kept[a], masks, config))[0]
        del kept[b], winners[b]
        agreement = np.delete(np.delete(agreement, b, axis=0), b, axis=1)
        row = _agreement_with(winners[a], np.stack(winners))
        row[a] = 0
        agreement[a, :] = agreement[:, a] = row
    return kept


def _agreed(candidate: Candidate, masks: MaskMatrices, config: AssociationConfig) -> np.ndarray:
    """The candidate's Gaussians without those its own masks mostly leave out."""
    (clean,) = agreed_candidates(masks, [candidate.masks], config)
    return clean.gaussians if len(clean.gaussians) else candidate.gaussians


def union(group: list[Candidate]) -> Candidate:
    """One candidate with the Gaussians and masks of all."""
    unique, inverse = np.unique(np.concatenate([c.gaussians for c in group]), return_inverse=True)
    support = np.bincount(inverse, np.concatenate([c.support for c in group])).astype(np.float32)
    return Candidate(unique, support, np.unique(np.concatenate([c.masks for c in group])))


def _agreements(winners: np.ndarray) -> np.ndarray:
    """[C, C] float: share of common frames in which both lie in the same mask; 0 on the diagonal."""
    result = np.stack([_agreement_with(row, winners) for row in winners])
    np.fill_diagonal(result, 0)
    return result


def _agreement_with(row: np.ndarray, winners: np.ndarray) -> np.ndarray:
    """[C] float: together / (frames + 1) of one candidate [F] with all [C, F]."""
    both = (winners >= 0) & (row >= 0)
    together = both & (winners == row)
    return together.sum(axis=1) / (both.sum(axis=1) + 1.0)
