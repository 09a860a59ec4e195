"""Merging the fragments of one object by the majority of the views.

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


def merge_fragments(
    gaussian_clusters: np.ndarray, num_clusters: int, masks: MaskMatrices, config: AssociationConfig
) -> tuple[np.ndarray, int]:
    """(cluster of each Gaussian [N] int32, clusters left): the pair that agrees most is merged first.

    gaussian_clusters: [N] int32 cluster index or UNLABELLED.  Merging goes on while the agreement of a
    pair exceeds `merge_threshold`.  Agreement is the share of common frames in which both lie in the same
    mask.  `prior_frames` are added to these frames, so that a pair seen together once or twice stays apart.
    The share is divided by the cohesion of the two: where frames cut at random, a fragment is cut inside as
    often as from the rest of its object.
    """
    member = membership_matrix(gaussian_clusters, num_clusters)
    merged_into = np.arange(num_clusters)
    alive = np.bincount(gaussian_clusters[gaussian_clusters >= 0], minlength=num_clusters) > 0
    if alive.sum() < 2 or not len(masks.frame):
        return gaussian_clusters, num_clusters
    votes = _FrameVotes(member, masks, config)
    while True:
        agreement = votes.agreement(alive)
        a, b = sorted(int(i) for i in np.unravel_index(agreement.argmax(), agreement.shape))
        if agreement[a, b] <= merge_threshold(config) + TOLERANCE:
            break
        merged_into[merged_into == b] = a
        alive[b] = False
        votes.merge(a, b)
    left = np.flatnonzero(alive)
    new_index = np.full(num_clusters + 1, UNLABELLED, dtype=np.int32)  # the last entry serves −1
    new_index[:-1] = np.where(alive[merged_into], np.searchsorted(left, merged_into), UNLABELLED)
    return new_index[gaussian_clusters], len(left)


def merge_threshold(config: AssociationConfig) -> float:
    """The share of frames that must show two things in one mask for them to be one."""
    return 1 - config.split_ratio + config.split_margin


def prior_frames(masks: MaskMatrices, config: AssociationConfig) -> float:
    """Frames that speak against every pair before any was looked at (`vote_prior`).

    Frames without any mask do not count for the share.
    """
    return min(config.vote_prior, config.vote_prior_share * len(np.unique(masks.frame)))


def membership_matrix(gaussian_clusters: np.ndarray, num_clusters: int) -> sp.csr_matrix:
    """[N, C] float32 with a 1 where the Gaussian belongs to the cluster."""
    rows = np.flatnonzero(gaussian_clusters >= 0)
    ones = np.ones(len(rows), dtype=np.float32)
    shape = (len(gaussian_clusters), num_clusters)
    return sp.csr_matrix((ones, (rows, gaussian_clusters[rows])), shape=shape)


class _FrameVotes:
    """Per frame and cluster: the mask most of it lies in, and whether that is nearly all of it."""

    def __init__(self, member: sp.csr_matrix, masks: MaskMatrices, config: AssociationConfig) -> None:
        self.masks, self.config = masks, config
        self.held = (masks.membership.T @ member).toarray()  # [M, C] Gaussians of each cluster in each mask
        self.prior = prior_frames(masks, config)
        self.visible = (masks.visible.T @ member).toarray()  # [F, C] Gaussians of the cluster
        num_clusters = self.held.shape[1]
        count = masks.num_frames, num_clusters
        self.best_mask = np.full(count, -1)  # [F, C] mask row, −1 = the frame does not show the cluster
        self.whole = np.zeros(count)  # [F, C] 1 where that mask holds enough for the cluster to be whole
        for cluster in range(num_clusters):
            self._vote(cluster)

    def _vote(self, cluster: int) -> None:
        held, frame = self.held[:, cluster], self.masks.frame
        labelled = np.bincount(frame, held, minlength=self.masks.num_frames)
        least = max(self.config.min_shown * labelled.max(initial=0), self.config.min_voters)
        # Where the cluster's own mask is missing, the mask of a neighbour reaches over part of it.
        enough = (1 - self.config.max_unseen) * self.visible[:, cluster]
        shown = (labelled >= least) & (labelled >= enough - TOLERANCE)
        order = np.lexsort((-self.masks.first_gaussian, held))  # of equals the mask with the first Gaussian
        largest = np.full(self.masks.num_frames, -1)
        largest[frame[order]] = order  # the last written is the largest
        self.best_mask[:, cluster] = np.where(shown, largest, -1)
        self.whole[:, cluster] = shown & (held[largest] >= self.config.containment * labelled - TOLERANCE)

    def merge(self, a: int, b: int) -> None:
        """Cluster b becomes part of a."""
        self.held[:, a] += self.held[:, b]
        self.held[:, b] = 0
        self.visible[:, a] += self.visible[:, b]
        self._vote(a)
        self._vote(b)

    def agreement(self, alive: np.ndarray) -> np.ndarray:
        """[C, C] float: together / (frames + prior), divided by cohesion; −1 on the diagonal.

        alive: [C] bool, the clusters that were not merged into another; the others get −1.
        """
        shown = (self.best_mask >= 0).astype(np.float64)
        both = shown.T @ shown
        frame, cluster = np.nonzero(self.best_mask >= 0)
        votes = sp.csr_matrix(
            (np.ones(len(frame)), (cluster, self.best_mask[frame, cluster])),
            shape=(shown.shape[1], len(self.masks.frame)),
        )
        together = (votes @ votes.T).toarray()
        inside = (self.whole.T @ shown) / np.maximum(both, 1)  # [a, b]: of a, in the frames that show b
        cohesion = np.maximum(np.sqrt(inside * inside.T), self.config.min_cohesion)
        result = together / ((both + self.prior) * cohesion)
        result[~alive] = result[:, ~alive] = -1
        np.fill_diagonal(result, -1)
        return result
