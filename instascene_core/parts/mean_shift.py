"""Mean shift with a flat kernel, all seeds at once (Comaniciu, Meer 2002).

scikit-learn's `MeanShift(bandwidth, bin_seeding=True)` does the same, a seed after the other: on 2,400
points it takes five to ten times as long.  The tests hold the two to the same labels.
"""

import numpy as np

ROUNDS = 300  # as scikit-learn; a seed that still moves then stays where it is
STILL = 1e-3  # of the bandwidth: a seed that moves less has arrived
AT_ONCE = 4_000_000  # distances in memory


def mean_shift(points: np.ndarray, bandwidth: float) -> np.ndarray:
    """[N] int64 cluster of each point [N, 3], 0 the one with the most points around its mode.

    Seeds are the occupied cells of a grid of that edge.  A seed moves to the mean of the points within the
    bandwidth until it rests; of modes closer than the bandwidth the one with more points around it stays;
    each point goes to the nearest mode.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    seeds = np.unique(np.round(points / bandwidth), axis=0) * bandwidth
    modes, around = _shifted(points, seeds, bandwidth)
    modes = _without_doubles(modes[around > 0], around[around > 0], bandwidth)
    return np.concatenate([_distances(some, modes).argmin(axis=1) for some in _in_blocks(points, len(modes))])


def _shifted(points: np.ndarray, seeds: np.ndarray, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """(where the seeds [S, 3] come to rest, how many points lie within the bandwidth there [S])."""
    places, around = seeds.copy(), np.zeros(len(seeds), dtype=np.int64)
    moving = np.arange(len(seeds))
    for _ in range(ROUNDS):
        means, counts = [], []
        for some in _in_blocks(places[moving], len(points)):
            near = _distances(some, points) <= bandwidth**2
            counts.append(near.sum(axis=1))
            means.append(near @ points / np.maximum(counts[-1], 1)[:, None])
        mean, count = np.concatenate(means), np.concatenate(counts)
        around[moving] = count
        lost = count == 0  # a cell's corner that no point is near to
        step = np.linalg.norm(np.where(lost[:, None], 0.0, mean - places[moving]), axis=1)
        places[moving[~lost]] = mean[~lost]
        moving = moving[step > STILL * bandwidth]
        if not len(moving):
            break
    return places, around


def _without_doubles(modes: np.ndarray, around: np.ndarray, bandwidth: float) -> np.ndarray:
    """[M, 3] the modes, fullest first, without those within the bandwidth of an earlier one."""
    # Ties by place, so that the order of the seeds decides nothing.
    order = np.lexsort((*modes.T[::-1], around))[::-1]
    kept: list[np.ndarray] = []
    for mode in modes[order]:
        if all(np.sum((mode - other) ** 2) > bandwidth**2 for other in kept):
            kept.append(mode)
    return np.array(kept)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[A, B] squared distances, exact for equal points."""
    return ((a[:, None] - b[None]) ** 2).sum(axis=2)


def _in_blocks(rows: np.ndarray, others: int) -> list[np.ndarray]:
    """The rows in blocks whose distances to so many others fit into memory."""
    return np.array_split(rows, max(1, -(-len(rows) * others // AT_ONCE)))
