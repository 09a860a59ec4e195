"""What is known of each node of the merge tree: its shape, its contacts, how it rests, what its halves are.

The figures are free of the unit of length: lengths count in spacings of the surface's elements, or in
standard deviations of the support's noise.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.segmentation.fused_surface.contacts import NUM_FEATURES, PatchPairs
from instascene_core.segmentation.fused_surface.surface import FusedSurface
from instascene_core.segmentation.fused_surface.tree import MergeTree
from instascene_core.segmentation.graph import Links
from instascene_core.segmentation.support import Support

SAMPLE = 48  # elements of a node whose distances describe its shape
HULL_SAMPLE = 200  # elements of a node whose convex hull is looked at
DISTANCE_BINS = np.linspace(0, 1, 11)
PALETTE_STEP = np.array([20.0, 12.0, 12.0])  # of CIE Lab: colours in one cell are alike
PALETTE_CELLS = 20  # a side, counted from −120


@dataclass(frozen=True)
class Nodes:
    """The nodes that may be objects, and what is known of them."""

    index: np.ndarray  # [N] int64 nodes of the tree
    features: np.ndarray  # [N, NUM_NODE_FEATURES] float32


def describe_nodes(
    surface: FusedSurface,
    patch: np.ndarray,
    pairs: PatchPairs,
    links: Links,
    tree: MergeTree,
    border_share: np.ndarray,
    support: Support | None,
    *,
    min_elements: int,
    min_parent_cut: float,
) -> Nodes:
    """The nodes of at least `min_elements` whose merge into the parent is not beyond doubt.

    patch: [K] of every element; links: the pairs as the tree was made from them; border_share: [K] share of
    an element's sightings at the border of the image.  min_parent_cut: nodes joined to others below this
    mean cut are pieces.
    """
    count = np.bincount(patch, minlength=tree.leaves)
    size = tree.add_up(count.astype(np.float64))
    parent = tree.parent
    into = np.ones(tree.size)  # mean cut at which a node is merged into its parent
    inside = parent >= 0
    into[inside] = tree.cut[parent[inside] - tree.leaves]
    index = np.flatnonzero((size >= min_elements) & (into >= min_parent_cut))
    if not len(index):
        return Nodes(index, np.zeros((0, NUM_NODE_FEATURES), np.float32))
    own = np.zeros(tree.size)
    own[tree.leaves :] = tree.cut
    shape = _Shapes(surface, patch, tree, support, border_share)
    # A half and the whole cannot both be right, so a node is seen together with what it would be part of.
    described = np.union1d(index, parent[index][parent[index] >= 0])
    columns = [
        (np.log(size[described]) / 4)[:, None],
        own[described, None],
        into[described, None],
        _describe_contacts(pairs, links, tree, size, described),
        np.stack([shape.whole(int(node)) for node in described]),
        np.stack([shape.halves(int(node)) for node in described]),
    ]
    alone = np.zeros((tree.size + 1, NUM_OWN_FEATURES))  # the last row is a root's parent
    alone[described] = np.concatenate(columns, axis=1)
    features = np.concatenate([alone[index], alone[parent[index]]], axis=1).astype(np.float32)
    return Nodes(index, np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0))


def _describe_contacts(
    pairs: PatchPairs, links: Links, tree: MergeTree, size: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """[N, 9 + NUM_FEATURES]: evidence within each node, to the outside, and where its two halves meet."""
    meeting = tree.meeting_node(pairs.first, pairs.second)
    touching = pairs.touching
    weight = np.stack([np.where(touching, links.weight, 0), np.where(touching, 0, links.weight)], axis=1)
    evidence = np.concatenate([weight, weight * links.cut[:, None]], axis=1)
    joined = meeting >= 0
    between = np.zeros((tree.size, 4))
    np.add.at(between, meeting[joined], evidence[joined])
    within = between.copy()
    for node, (left, right) in enumerate(tree.children, tree.leaves):
        within[node] += within[left] + within[right]
    of_patch = np.zeros((tree.leaves, 4))
    np.add.at(of_patch, pairs.first, evidence)
    np.add.at(of_patch, pairs.second, evidence)
    outside = np.maximum(tree.add_up(of_patch) - 2 * within, 0)
    seam = np.zeros((tree.size, NUM_FEATURES))
    weigh = np.where(touching & joined, links.weight, 0)
    np.add.at(seam, meeting[joined], (weigh[:, None] * pairs.features)[joined])
    total = np.zeros(tree.size)
    np.add.at(total, meeting[joined], weigh[joined])
    seam /= np.maximum(total, 1e-9)[:, None]

    def means(values: np.ndarray) -> list[np.ndarray]:
        chosen = values[index]
        return [chosen[:, 2 + i] / np.maximum(chosen[:, i], 1e-9) for i in (0, 1)]

    root = np.sqrt(size[index])
    columns = [
        *means(within), *means(outside), *means(between),
        np.log1p(outside[index, 0] / root),
        np.log1p(between[index, 0] / root), np.log1p(between[index, 1]) / 3,
    ]  # fmt: skip
    return np.concatenate([np.stack(columns, axis=1), seam[index]], axis=1)


class _Shapes:
    """Shapes of nodes; their elements lie side by side in one array."""

    def __init__(
        self,
        surface: FusedSurface,
        patch: np.ndarray,
        tree: MergeTree,
        support: Support | None,
        border_share: np.ndarray,
    ) -> None:
        order, start, end = tree.ranges()
        place = np.empty(tree.leaves, dtype=np.int64)
        place[order] = np.arange(tree.leaves)
        elements = np.argsort(place[patch], kind="stable")
        first = np.searchsorted(place[patch][elements], np.arange(tree.leaves + 1))
        self._start, self._end = first[start], first[end]
        self._tree, self._spacing = tree, surface.spacing
        self._points, self._normals = surface.positions[elements], surface.normals[elements]
        self._colors = surface.colors[elements]
        self._palette = palette_cells(self._colors)
        self._foreground, self._border = surface.foreground[elements], border_share[elements]
        self._views = surface.views[elements]
        self._plane = support.plane if support is not None else None
        self._noise = max(support.noise if support is not None else 0.0, 0.1 * surface.spacing)
        if self._plane is not None:
            self._height = self._plane.height(self._points)
        else:
            self._height = np.zeros(len(self._points))

    def _slice(self, node: int) -> slice:
        return slice(int(self._start[node]), int(self._end[node]))

    def _sample(self, node: int, count: int) -> np.ndarray:
        length = int(self._end[node] - self._start[node])
        return self._start[node] + (np.arange(min(count, length)) * max(length / count, 1)).astype(np.int64)

    def whole(self, node: int) -> np.ndarray:
        """[20] extent, closedness, convexity, height and colours of one node."""
        part = self._slice(node)
        points, normals, height = self._points[part], self._normals[part], self._height[part]
        spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(points.T)), 0))[::-1]
        mean_normal = normals.mean(axis=0)
        flatness = np.linalg.eigvalsh(normals.T @ normals / len(normals))[::-1]
        depth, fill = self._hollowness(node, len(points))
        low, high = np.percentile(height, [2, 98])
        up = self._plane.normal if self._plane is not None else np.zeros(3)
        return np.array(
            [
                np.log(spread[0] / self._spacing), spread[1] / spread[0], spread[2] / spread[0],
                np.log(max(spread[2] / self._spacing, 0.05)),
                np.linalg.norm(mean_normal), mean_normal @ up, flatness[0], flatness[1],
                depth, fill,
                np.clip(low / self._spacing / 10, -2, 5), np.clip(low / self._noise / 10, -2, 5),
                np.log1p(max(high - low, 0) / self._spacing), np.clip(high / self._noise / 20, -2, 5),
                self._foreground[part].mean(), np.percentile(self._foreground[part], 10),
                self._border[part].mean(), np.log(self._views[part].mean()),
                self._colors[part].std(axis=0).mean() / 20, float(self._plane is not None),
            ]
        )  # fmt: skip

    def _hollowness(self, node: int, count: int) -> tuple[float, float]:
        """(mean depth of the surface below its convex hull over the hull's size, area seen over its own)."""
        from scipy.spatial import ConvexHull, QhullError

        points = self._points[self._sample(node, HULL_SAMPLE)]
        try:
            hull = ConvexHull(points)
        except (QhullError, ValueError):
            return 0.0, 1.0
        depth = -(points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
        area = max(float(hull.area), 1e-12)
        return float(depth.mean() / np.sqrt(area)), min(count * self._spacing**2 / area, 2.0)

    def halves(self, node: int) -> np.ndarray:
        """[16] how the two halves of a merge lie to one another; 0 for a patch.

        What lies on something rests on it with its lowest point and with its weight over the contact; a
        handle hangs beside its body.  Twins have the same shape, whichever way they lie.
        """
        if node < self._tree.leaves:
            return np.zeros(16)
        left, right = (int(child) for child in self._tree.children[node - self._tree.leaves])
        if self._end[left] - self._start[left] < self._end[right] - self._start[right]:
            left, right = right, left
        large, small = self._half(left), self._half(right)
        contact = self._contact(left, right)
        rise = float(self._plane.height(contact)) if self._plane is not None else 0.0
        extents = [max(half.high - half.low, self._spacing) for half in (large, small)]
        overlap = (min(large.high, small.high) - max(large.low, small.low)) / extents[1]
        arm, apart = self._sideways(small.centre - contact), self._sideways(small.centre - large.centre)
        ours, theirs = self._distances(left), self._distances(right)
        reach = max(ours.max(), theirs.max(), 1e-9)
        likeness = [np.histogram(d / reach, DISTANCE_BINS)[0] / len(d) for d in (ours, theirs)]
        return np.array(
            [
                np.log(small.count) / 4,
                np.log(small.count / large.count),
                *(np.clip(half.low / self._spacing / 10, -2, 5) for half in (large, small)),
                np.clip(overlap, -1, 1),
                np.clip((rise - small.low) / extents[1], -1, 2),
                np.clip((rise - large.low) / extents[0], -1, 2),
                np.clip(arm / small.radius, 0, 4),
                np.clip(apart / small.radius, 0, 8) / 2,
                *(np.abs(large.color - small.color) / 20),
                shared_palette(self._palette[self._slice(left)], self._palette[self._slice(right)]),
                np.abs(likeness[0] - likeness[1]).sum(),
                theirs.max() / max(ours.max(), 1e-9),
                abs(large.foreground - small.foreground),
            ]
        )

    def _half(self, node: int) -> "_Half":
        part = self._slice(node)
        low, high = np.percentile(self._height[part], [3, 97])
        points = self._points[part]
        radius = max(float(np.linalg.norm(points.std(axis=0))), self._spacing)
        color, foreground = self._colors[part].mean(axis=0), float(self._foreground[part].mean())
        return _Half(len(points), points.mean(axis=0), radius, float(low), float(high), color, foreground)

    def _sideways(self, vector: np.ndarray) -> float:
        """Length of a vector along the support, or its whole length where there is none."""
        if self._plane is not None:
            vector = vector - (vector @ self._plane.normal) * self._plane.normal
        return float(np.linalg.norm(vector))

    def _distances(self, node: int) -> np.ndarray:
        """[S·S] distances between elements of a node: its shape, whichever way it lies."""
        points = self._points[self._sample(node, SAMPLE)]
        return np.linalg.norm(points[:, None] - points[None], axis=2).ravel()

    def _contact(self, left: int, right: int) -> np.ndarray:
        """[3] the middle of those elements of the right one that come closest to the left one."""
        one = self._points[self._sample(left, HULL_SAMPLE)]
        other = self._points[self._sample(right, HULL_SAMPLE)]
        squared = (one**2).sum(1)[None] - 2 * other @ one.T + (other**2).sum(1)[:, None]
        distance = np.sqrt(np.maximum(squared.min(axis=1), 0))
        return other[distance <= distance.min() + 2 * self._spacing].mean(axis=0)


def palette_cells(colors: np.ndarray) -> np.ndarray:
    """[K] int64 cell of a coarse palette for colours [K, 3] in CIE Lab."""
    cell = np.clip((colors + 120) // PALETTE_STEP, 0, PALETTE_CELLS - 1).astype(np.int64)
    return (cell[:, 0] * PALETTE_CELLS + cell[:, 1]) * PALETTE_CELLS + cell[:, 2]


def shared_palette(left: np.ndarray, right: np.ndarray) -> float:
    """Share 0 … 1 of the colours that two sets of cells have in common: one print has one palette."""
    index = np.unique(np.concatenate([left, right]), return_inverse=True)[1]
    count = int(index.max()) + 1
    shares = [
        np.bincount(part, minlength=count) / len(part) for part in (index[: len(left)], index[len(left) :])
    ]
    return float(np.minimum(*shares).sum())


@dataclass(frozen=True)
class _Half:
    """One of two parts that meet; heights over the support, metres."""

    count: int  # elements
    centre: np.ndarray  # [3] metres
    radius: float  # metres: root mean square distance from the centre
    low: float
    high: float
    color: np.ndarray  # [3] CIE Lab
    foreground: float


NUM_OWN_FEATURES = 3 + 9 + NUM_FEATURES + 20 + 16
NUM_NODE_FEATURES = 2 * NUM_OWN_FEATURES  # of a node and of its parent, 0 where it has none
