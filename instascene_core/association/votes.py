"""Clustering by votes of patches: the answer to masks that are split or merged at random.

View consensus between masks (`consensus.py`, the paper's rule) asks that nine in ten observers
agree; with every third mask damaged the objects come out in fragments.  Here small patches of
Gaussians are the voters.  In every frame a patch lies in one mask; two patches of one object lie in
the same mask unless that frame happened to cut between them, two patches of different objects only
where that frame merged them.  Agglomeration by the mean over all pairs of patches and all frames
separates the two cases by a wide margin, and a pair of objects that is split in `split_ratio` of its
frames stays two.
"""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instascene_core.association.majority import merge_threshold, prior_frames
from instascene_core.association.masks import TOLERANCE, MaskMatrices
from instascene_core.association.refine import Candidate, split_by_distance
from instascene_core.config import AssociationConfig


def cluster_by_votes(masks: MaskMatrices, means: np.ndarray, config: AssociationConfig) -> list[Candidate]:
    """Groups of Gaussians whose patches share masks in more than 1 − `split_ratio` of their frames.

    The order of frames and masks does not matter.  A candidate's masks are those that lie in it by
    `recovery`; candidates with fewer than `min_views` frames of them are dropped.
    """
    labelled = np.flatnonzero(np.diff(masks.membership.indptr) >= config.min_views)
    if len(labelled) < config.min_gaussians:
        return []
    membership = masks.membership[labelled]
    patch = grow_patches(membership, masks, means[labelled], config)
    group = np.full(len(labelled), -1)
    kept = patch >= 0
    group[kept] = agglomerate(membership[kept], masks, patch[kept], 0.0, config)[patch[kept]]
    group = _divide_never_seen_together(membership, masks, masks.visible[labelled], patch, group, config)
    for _ in range(config.reassign_rounds):  # Gaussians follow the votes, patches were only their first guess
        group = _reassign(membership, masks, group, config)
    return _make_candidates(membership, masks, labelled, group, means, config)


def grow_patches(
    membership: sp.csr_matrix, masks: MaskMatrices, means: np.ndarray, config: AssociationConfig
) -> np.ndarray:
    """[K] int patch of each Gaussian (−1 = too few for one): grid cells, divided where votes differ."""
    nearest, _ = cKDTree(means).query(means, k=min(4, len(means)))
    cell_size = config.patch_spacings * max(float(np.median(nearest[:, -1])), 1e-12)
    while True:  # clustering takes the square of the number of patches: coarser ones in large scenes
        cell = np.floor((means - means.min(axis=0)) / cell_size).astype(np.int64)
        extent = cell.max(axis=0) + 1
        key = (cell[:, 0] * extent[1] + cell[:, 1]) * extent[2] + cell[:, 2]
        patch = np.unique(key, return_inverse=True)[1].ravel()
        if patch.max() < config.max_patches:
            break
        cell_size *= 1.1 * np.sqrt(patch.max() / config.max_patches)
    for _ in range(config.patch_divisions):
        best_mask, _ = find_best_masks(membership, masks, patch)
        agree = _agreement(membership, masks, best_mask[patch])
        patch = np.unique(2 * patch + (agree < config.majority), return_inverse=True)[1].ravel()
    small = np.bincount(patch) < config.patch_min_gaussians
    patch = np.where(small[patch], -1, patch)
    _, renumbered = np.unique(patch, return_inverse=True)
    return renumbered.ravel() - (1 if (patch < 0).any() else 0)


def find_best_masks(
    membership: sp.csr_matrix, masks: MaskMatrices, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """([G, F] int mask in which most of a group lies in each frame, −1 = none; [G, F] Gaussians of it there).

    membership: [K, M] membership of the Gaussians, group: [K] int ≥ 0.
    """
    count = int(group.max(initial=-1)) + 1
    pool = sp.csr_matrix(
        (np.ones(len(group), dtype=np.float32), (group, np.arange(len(group)))), shape=(count, len(group))
    )
    held = sp.coo_matrix(pool @ membership)
    order = np.lexsort(
        (-masks.first_gaussian[held.col], held.data)
    )  # of equals the mask with the first Gaussian
    row, column, size = held.row[order], held.col[order], held.data[order]
    best_mask = np.full((count, masks.num_frames), -1)
    largest = np.zeros((count, masks.num_frames), dtype=np.float32)
    best_mask[row, masks.frame[column]] = column  # the last written is the largest
    largest[row, masks.frame[column]] = size
    return best_mask, largest


def agglomerate(
    membership: sp.csr_matrix,
    masks: MaskMatrices,
    patch: np.ndarray,
    pair_prior: float,
    config: AssociationConfig,
) -> np.ndarray:
    """[P] int group of every patch: average linkage of together / observed, most agreed pair first.

    Frames that speak against a merge are added before: `prior_frames` to a pair of groups, `pair_prior` to
    every pair of their patches that share a frame.  membership: [K, M] Gaussian in mask, patch: [K] int ≥ 0.
    """
    best_mask, size = find_best_masks(membership, masks, patch)
    count = len(best_mask)
    shown = (best_mask >= 0) & (size >= config.min_patch_voters)
    row, frame = np.nonzero(shown)
    ones = np.ones(len(row), dtype=np.float32)
    same = sp.csr_matrix((ones, (row, best_mask[row, frame])), shape=(count, len(masks.frame)))
    together = (same @ same.T).toarray()
    observed = shown.astype(np.float32) @ shown.T.astype(np.float32)
    return _average_linkage(
        together, observed, merge_threshold(config), prior_frames(masks, config), pair_prior
    )


def _average_linkage(
    together: np.ndarray, observed: np.ndarray, limit: float, prior: float, pair_prior: float
) -> np.ndarray:
    """[P] int group of every patch: merge the pair that agrees most while its agreement exceeds `limit`.

    together, observed: [P, P] frames in which two patches lie in one mask, and in which both show.
    Agreement of a pair = together / (observed + prior), divided by the agreement inside the two
    groups: where frames cut at random, a group is cut inside as often as it is cut from the rest of
    the object, while a seam between two objects is cut far more often than either of them.
    """
    count = len(together)
    group = np.arange(count)
    active = np.ones(count, dtype=bool)
    within = np.sqrt(np.maximum(np.diagonal(together), 1) / np.maximum(np.diagonal(observed), 1))
    # This prior adds up over the pairs of patches as groups grow.
    counted = observed + pair_prior * (observed > 0) if pair_prior else observed
    score = together / ((counted + prior) * within[:, None] * within[None])
    np.fill_diagonal(score, -1)
    best = score.argmax(axis=1) if count else np.zeros(0, dtype=int)
    value = score[np.arange(count), best]
    while count:
        a = int(value.argmax())
        if value[a] <= limit + TOLERANCE:
            break
        a, b = min(a, int(best[a])), max(a, int(best[a]))
        group[group == b] = a
        active[b] = False
        for matrix in (together, observed, counted)[: 3 if pair_prior else 2]:
            inside = matrix[a, a] + matrix[b, b] + 2 * matrix[a, b]
            matrix[a] += matrix[b]
            matrix[a, a] = inside
            matrix[:, a] = matrix[a]
        within[a] = np.sqrt(max(together[a, a], 1) / max(observed[a, a], 1))
        row = together[a] / ((counted[a] + prior) * within[a] * within)
        row[~active] = row[a] = -1
        score[a] = score[:, a] = row
        score[b] = score[:, b] = -1
        value[b] = -1
        better = active & (row > value)
        stale = np.flatnonzero(active & ((best == a) | (best == b)))
        best[better], value[better] = a, row[better]
        stale = np.union1d(stale, [a])
        best[stale] = score[stale].argmax(axis=1)
        value[stale] = score[stale, best[stale]]
    return np.unique(group, return_inverse=True)[1].ravel()


def _divide_never_seen_together(membership, masks: MaskMatrices, visible, patch, group, config) -> np.ndarray:
    """[K] int group: groups whose halves were never seen together are divided.

    No frame tells two objects apart if none labels both.  With poses a few pixels off, the patches at their
    borders then merge them.  Clustered again with `separation_prior`, such a group falls into parts that are
    each well covered by masks, but never by the same one.
    """
    group = group.copy()
    next_group = int(group.max(initial=-1)) + 1
    for index in range(next_group):
        members = np.flatnonzero(group == index)
        if len(members) < config.min_gaussians:
            continue
        local = np.unique(patch[members], return_inverse=True)[1].ravel()
        part = agglomerate(membership[members], masks, local, config.separation_prior, config)[local]
        best_mask, size = find_best_masks(membership[members], masks, part)
        count = len(best_mask)
        pool = sp.csr_matrix((np.ones(len(part)), (part, np.arange(len(part)))), shape=(count, len(part)))
        covered = (best_mask >= 0) & (size >= config.majority * (pool @ visible[members]).toarray())
        known = (covered.sum(axis=1) >= config.min_views) & (np.bincount(part) >= config.min_gaussians)
        common = [((best_mask == best_mask[p]) & covered & covered[p]).sum(axis=1) for p in range(count)]
        seen_together = np.stack(common) >= config.min_views
        count, component = sp.csgraph.connected_components(
            sp.csr_matrix(seen_together & known[None] & known[:, None])
        )
        largest = component[np.bincount(part).argmax()]
        component[~known] = largest  # parts that masks say nothing about stay with the largest
        if count > 1:
            component = np.unique(component[part], return_inverse=True)[1].ravel()
            group[members[component > 0]] = next_group + component[component > 0] - 1
            next_group += int(component.max())
    return group


def _agreement(membership: sp.csr_matrix, masks: MaskMatrices, best_mask: np.ndarray) -> np.ndarray:
    """[K] float: share of a Gaussian's masks that are the best mask of their frame, best_mask: [K, F]."""
    count = np.diff(membership.indptr)
    num_gaussians = len(count)
    row = np.repeat(np.arange(num_gaussians), count)
    agree = best_mask[row, masks.frame[membership.indices]] == membership.indices
    return np.bincount(row, agree, minlength=num_gaussians) / np.maximum(count, 1)


def _reassign(
    membership: sp.csr_matrix, masks: MaskMatrices, group: np.ndarray, config: AssociationConfig
) -> np.ndarray:
    """[K] int: the group whose best masks hold the Gaussian most often, −1 below `majority` of its masks."""
    kept = group >= 0
    best_mask, _ = find_best_masks(membership[kept], masks, group[kept])
    # Whether each mask is the best of each group: [M, G], then votes of the Gaussians [K, G].
    g, frame = np.nonzero(best_mask >= 0)
    is_best = sp.csr_matrix(
        (np.ones(len(g), dtype=np.float32), (best_mask[g, frame], g)),
        shape=(len(masks.frame), len(best_mask)),
    )
    votes = sp.coo_matrix(membership @ is_best)
    num_gaussians = len(group)
    best, most = np.full(num_gaussians, -1), np.zeros(num_gaussians)
    own = np.zeros(num_gaussians)
    is_own = votes.col == group[votes.row]
    own[votes.row[is_own]] = votes.data[is_own]
    order = np.lexsort((-votes.col, votes.data))
    best[votes.row[order]], most[votes.row[order]] = votes.col[order], votes.data[order]
    best = np.where(own >= most, group, best)  # of equals the one it has
    return np.where(most >= config.majority * np.diff(membership.indptr) - TOLERANCE, best, -1)


def _make_candidates(membership, masks: MaskMatrices, labelled, group, means, config) -> list[Candidate]:
    """Candidates of the groups [K], split where they lie apart; labelled: [K] their Gaussians' indices."""
    size = np.asarray(membership[group >= 0].sum(axis=0)).ravel()  # Gaussians of the mask with any group
    result = []
    for index in range(int(group.max(initial=-1)) + 1):
        inside = np.flatnonzero(group == index)
        if len(inside) < config.min_gaussians:
            continue
        parts = split_by_distance(means[labelled[inside]], config.split_spacings, config.split_min_points)
        for part in range(parts.max(initial=-1) + 1):
            members = inside[parts == part]
            held = np.asarray(membership[members].sum(axis=0)).ravel()
            own = np.flatnonzero((held > 0) & (held >= config.recovery * size - TOLERANCE))
            if len(np.unique(masks.frame[own])) < config.min_views:
                continue
            support = np.asarray(membership[members][:, own].sum(axis=1)).ravel()
            shown = support > 0
            result.append(Candidate(labelled[members[shown]], support[shown].astype(np.float32), own))
    return sorted(result, key=lambda c: (c.gaussians[0], len(c.gaussians)))
