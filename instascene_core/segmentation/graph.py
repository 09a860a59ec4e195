"""Regions joined by evidence: which neighbouring regions of an image or a surface are one object."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.segmentation.network import STEPS


@dataclass(frozen=True)
class Links:
    """Evidence between pairs of regions; `first` < `second`, each pair once."""

    first: np.ndarray  # [C] int64
    second: np.ndarray  # [C] int64
    weight: np.ndarray  # [C] float64 how much evidence there is
    cut: np.ndarray  # [C] 0 = one object … 1 = two
    touching: np.ndarray  # [C] bool: may be joined; the others only have a say


def affinity_links(
    regions: np.ndarray,
    affinities: np.ndarray,
    trust: np.ndarray | None = None,
    steps: Sequence[tuple[int, int]] = STEPS,
) -> Links:
    """Links of the regions of one image: mean of 1 − affinity over all steps from one into the other.

    regions: [H, W] int, < 0 outside all regions.  affinities: [len(steps), H, W].  trust: [H, W]
    weight of a pixel; a step has the lesser of its ends', without it 1.  Regions one pixel apart are
    touching.
    """
    height, width = regions.shape
    count = int(regions.max(initial=-1)) + 1
    keys, cuts, close, weights = [], [], [], []
    for (dy, dx), affinity in zip(steps, affinities):
        if dy >= height or abs(dx) >= width:
            continue
        rows, far_rows = slice(0, height - dy), slice(dy, height)
        columns, far = slice(max(0, -dx), width - max(0, dx)), slice(max(0, dx), width - max(0, -dx))
        here, there = regions[rows, columns].ravel(), regions[far_rows, far].ravel()
        pick = np.flatnonzero((here != there) & (here >= 0) & (there >= 0))
        low, high = np.minimum(here[pick], there[pick]), np.maximum(here[pick], there[pick])
        keys.append(low.astype(np.int64) * count + high)
        cuts.append(1 - affinity[rows, columns].ravel()[pick].astype(np.float64))
        close.append(np.full(len(pick), dy + abs(dx) == 1))
        if trust is None:
            weights.append(np.ones(len(pick)))
        else:
            ends = trust[rows, columns].ravel()[pick], trust[far_rows, far].ravel()[pick]
            weights.append(np.minimum(*ends))
    pairs, index = np.unique(np.concatenate(keys), return_inverse=True)
    each = np.concatenate(weights)
    weight = np.bincount(index, each, minlength=len(pairs))
    cut = np.bincount(index, each * np.concatenate(cuts), minlength=len(pairs)) / np.maximum(weight, 1e-12)
    touching = np.bincount(index, np.concatenate(close), minlength=len(pairs)) > 0
    return Links(pairs // max(count, 1), pairs % max(count, 1), weight, cut, touching)


def join(links: Links, count: int, max_cut: float, doubt: float = 0.0) -> np.ndarray:
    """[count] int64 group of every region: those that `merge_order` joins."""
    parent = list(range(count))
    for kept, lost, _ in merge_order(links, count, max_cut, doubt):
        parent[lost] = kept
    for index in range(count):  # to the root
        root = index
        while parent[root] != root:
            root = parent[root]
        parent[index] = root
    return np.unique(np.array(parent, dtype=np.int64), return_inverse=True)[1].ravel()


def merge_order(
    links: Links, count: int, max_cut: float = np.inf, doubt: float = 0.0
) -> Iterator[tuple[int, int, float]]:
    """(region that stands for both from now on, region that vanishes in it, mean cut) of each merge in turn.

    Agglomeration by the weighted mean cut between two groups: average linkage on the signed graph (Bailoni
    et al. 2022).  The pair with the least mean cut is joined first, until none that touches is below
    `max_cut`.  `doubt` is a weight of evidence for a cut that every pair starts with: where two surfaces
    meet in a point, nothing says they are one.
    """
    neighbours: list[dict[int, tuple[float, float, bool]]] = [{} for _ in range(count)]
    columns = (links.first, links.second, links.weight, links.weight * links.cut, links.touching)
    for a, b, weight, cut, touching in zip(*(column.tolist() for column in columns), strict=True):
        neighbours[a][b] = neighbours[b][a] = (weight, cut, touching)
    version = [0] * count

    def entry(a: int, b: int, link: tuple[float, float, bool]):
        weight, cut, _ = link
        return ((cut + doubt) / (weight + doubt), -weight, a, b, version[a], version[b])

    heap = [
        entry(a, b, link)
        for a in range(count)
        for b, link in neighbours[a].items()
        if a < b and link[2] and link[0] + doubt > 0
    ]
    heapq.heapify(heap)
    while heap:
        cut, _, a, b, version_a, version_b = heapq.heappop(heap)
        if cut > max_cut:
            break
        if version[a] != version_a or version[b] != version_b:
            continue
        if len(neighbours[a]) < len(neighbours[b]):
            a, b = b, a
        yield a, b, cut
        version[a] += 1
        version[b] = -1
        mine = neighbours[a]
        del mine[b]
        for c, (weight, value, touching) in neighbours[b].items():
            if c == a:
                continue
            del neighbours[c][b]
            known = mine.get(c, (0.0, 0.0, False))
            mine[c] = neighbours[c][a] = (weight + known[0], value + known[1], touching or known[2])
        neighbours[b] = {}
        for c, link in mine.items():
            if link[2] and link[1] + doubt <= max_cut * (link[0] + doubt):
                heapq.heappush(heap, entry(a, c, link))
