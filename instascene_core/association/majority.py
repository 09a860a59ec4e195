"""Joining fragments of one object by the majority of the views.

With masks that are split, merged or missing at random, clustering leaves some objects in fragments.  A
fragment has enough Gaussians to ask every frame a simple question, filtered masks included: in which
mask does most of it lie?  Two fragments of one object lie in the same mask far more often than not,
whatever single frames did wrong; two objects do not.
"""

import numpy as np
import scipy.sparse as sp

from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.config import AssociationConfig
from instascene_core.frame import UNLABELLED


def join_fragments(
    owner: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, int]:
    """(owner [N] int32, clusters left): most agreed pair first, while more than `joining` agree.

    Agreement is the share of common frames in which both lie in the same mask, some doubt (`doubt`)
    added, so that pairs seen together once or twice stay apart; divided by the cohesion of the two:
    where frames cut at random, a fragment is cut inside as often as from the rest of its object.
    """
    member = indicator(owner, num_clusters)
    group = np.arange(num_clusters)
    alive = np.bincount(owner[owner >= 0], minlength=num_clusters) > 0
    if alive.sum() < 2 or not len(masks.frame):
        return owner, num_clusters
    ballots = _Ballots(member, masks, config)
    while True:
        agreement = ballots.agreement(alive)
        a, b = sorted(int(i) for i in np.unravel_index(agreement.argmax(), agreement.shape))
        if agreement[a, b] <= joining(config) + TOLERANCE:
            break
        group[group == b] = a
        alive[b] = False
        ballots.join(a, b)
    left = np.flatnonzero(alive)
    number = np.full(num_clusters + 1, UNLABELLED, dtype=np.int32)  # the last entry serves −1
    number[:-1] = np.where(alive[group], np.searchsorted(left, group), UNLABELLED)
    return number[owner], len(left)


def joining(config: AssociationConfig) -> float:
    """The share of frames that must show two things in one mask for them to be one."""
    return 1 - config.split_ratio + config.split_margin


def doubt(masks: MaskMatrices, config: AssociationConfig) -> float:
    """Frames against joining that every pair starts with; frames without any mask do not count."""
    return min(config.vote_prior, config.vote_prior_share * len(np.unique(masks.frame)))


def indicator(owner: np.ndarray, num_clusters: int) -> sp.csr_matrix:
    """[N, C] float32 with a 1 where the Gaussian belongs to the cluster."""
    rows = np.flatnonzero(owner >= 0)
    ones = np.ones(len(rows), dtype=np.float32)
    return sp.csr_matrix((ones, (rows, owner[rows])), shape=(len(owner), num_clusters))


class _Ballots:
    """Per frame and cluster: the mask most of it lies in, and whether that is nearly all of it."""

    def __init__(self, member: sp.csr_matrix, masks: MaskMatrices, config: AssociationConfig) -> None:
        self.masks, self.config = masks, config
        self.held = (masks.membership.T @ member).toarray()  # [M, C] Gaussians of each cluster in each mask
        self.doubt = doubt(masks, config)
        self.visible = (masks.visible.T @ member).toarray()  # [F, C] Gaussians of the cluster
        count = masks.num_frames, member.shape[1]
        self.winner = np.full(count, -1)  # [F, C] mask, −1 = the frame does not show the cluster
        self.whole = np.zeros(count)  # [F, C] 1 where that mask holds enough for the cluster to be whole
        for cluster in range(member.shape[1]):
            self._vote(cluster)

    def _vote(self, cluster: int) -> None:
        held, frame = self.held[:, cluster], self.masks.frame
        labelled = np.bincount(frame, held, minlength=self.masks.num_frames)
        least = max(self.config.min_shown * labelled.max(initial=0), self.config.min_voters)
        # Where its own mask is missing, the grown border of a neighbour's reaches over part of it.
        enough = (1 - self.config.max_unseen) * self.visible[:, cluster]
        shown = (labelled >= least) & (labelled >= enough - TOLERANCE)
        order = np.lexsort((-self.masks.rank, held))  # of equals the mask with the first Gaussian
        largest = np.full(self.masks.num_frames, -1)
        largest[frame[order]] = order  # the last written is the largest
        self.winner[:, cluster] = np.where(shown, largest, -1)
        self.whole[:, cluster] = shown & (held[largest] >= self.config.containment * labelled - TOLERANCE)

    def join(self, a: int, b: int) -> None:
        """Cluster b becomes part of a."""
        self.held[:, a] += self.held[:, b]
        self.held[:, b] = 0
        self.visible[:, a] += self.visible[:, b]
        self._vote(a)
        self._vote(b)

    def agreement(self, alive: np.ndarray) -> np.ndarray:
        """[C, C] float: together / (frames + doubt), divided by cohesion; −1 on the diagonal."""
        shown = (self.winner >= 0).astype(np.float64)
        both = shown.T @ shown
        frame, cluster = np.nonzero(self.winner >= 0)
        votes = sp.csr_matrix(
            (np.ones(len(frame)), (cluster, self.winner[frame, cluster])),
            shape=(shown.shape[1], len(self.masks.frame)),
        )
        together = (votes @ votes.T).toarray()
        inside = (self.whole.T @ shown) / np.maximum(both, 1)  # [a, b]: of a, in the frames that show b
        expected = np.maximum(np.sqrt(inside * inside.T), self.config.min_cohesion)
        result = together / ((both + self.doubt) * expected)
        result[~alive] = result[:, ~alive] = -1
        np.fill_diagonal(result, -1)
        return result
