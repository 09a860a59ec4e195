"""Poses over time: a stamped track, and the tree of frames that tf publishes."""

from bisect import bisect_left

import numpy as np

from instascene_core.errors import InputError
from instascene_core.transforms import inverse, matrix_from_quaternion, require_rigid

LONGEST_GAP_S = 0.5  # between two poses of which one in between is made
QUATERNION_TOLERANCE = 1e-2  # of the norm; drivers round to float32, so small errors are repaired


def matrix_from_parts(position, orientation, what: str) -> np.ndarray:
    """[4, 4] from messages with x y z and x y z w; InputError when not finite or not unit length."""
    return matrix_of(
        np.array([position.x, position.y, position.z], dtype=np.float64),
        np.array([orientation.w, orientation.x, orientation.y, orientation.z], dtype=np.float64),
        what,
    )


def matrix_of(xyz: np.ndarray, wxyz: np.ndarray, what: str) -> np.ndarray:
    """[4, 4] of a position [3] and a quaternion [4]; InputError, beginning with `what`, when not finite or
    not of unit length: columns that are shifted or exchanged are no quaternion."""
    if not (np.isfinite(xyz).all() and np.isfinite(wxyz).all()):
        raise InputError(f"{what} contains NaN or infinity.")
    norm = np.linalg.norm(wxyz)
    if abs(norm - 1) > QUATERNION_TOLERANCE:
        raise InputError(f"{what} has a quaternion of length {norm:.3g} instead of 1.")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = matrix_from_quaternion(wxyz), xyz
    return require_rigid(matrix, what)


def interpolate(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    """The rigid transform [4, 4] at `fraction` of the way: straight line and slerp."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(second[:3, :3] @ first[:3, :3].T).as_rotvec()
    result = np.eye(4)
    result[:3, :3] = Rotation.from_rotvec(fraction * turn).as_matrix() @ first[:3, :3]
    result[:3, 3] = (1 - fraction) * first[:3, 3] + fraction * second[:3, 3]
    return result


class PoseTrack:
    """Transforms with stamps, looked up between neighbours."""

    def __init__(self, tolerance_s: float, longest_gap_s: float = LONGEST_GAP_S) -> None:
        self._tolerance, self._longest_gap = tolerance_s, longest_gap_s
        self._entries: list[tuple[float, np.ndarray]] = []
        self._sorted = True

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, stamp: float, matrix: np.ndarray) -> None:
        """Add a transform [4, 4] at `stamp` seconds, in any order."""
        self._sorted = self._sorted and (not self._entries or stamp >= self._entries[-1][0])
        self._entries.append((stamp, matrix))

    def at(self, stamp: float) -> np.ndarray | None:
        """The transform at `stamp`, or None.

        Interpolated where two neighbours lie less than `longest_gap_s` apart; else the nearest one
        within `tolerance_s`.
        """
        if not self._sorted:
            self._entries.sort(key=lambda entry: entry[0])
            self._sorted = True
        right = bisect_left(self._entries, stamp, key=lambda entry: entry[0])
        if right < len(self._entries) and self._entries[right][0] == stamp:
            return self._entries[right][1]
        if 0 < right < len(self._entries):
            (t0, first), (t1, second) = self._entries[right - 1], self._entries[right]
            if t1 - t0 <= self._longest_gap:
                return interpolate(first, second, (stamp - t0) / (t1 - t0))
        near = [
            e for e in self._entries[max(0, right - 1) : right + 1] if abs(e[0] - stamp) <= self._tolerance
        ]
        return min(near, key=lambda entry: abs(entry[0] - stamp))[1] if near else None


class TransformTree:
    """What tf and tf_static say: each frame's pose in its parent over time."""

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance = tolerance_s
        self._parents: dict[str, dict[str, None]] = {}  # of each child, in the order in which they came
        self._static: dict[tuple[str, str], np.ndarray] = {}  # by (parent, child)
        self._moving: dict[tuple[str, str], PoseTrack] = {}

    def add(self, parent: str, child: str, stamp: float, matrix: np.ndarray, static: bool) -> None:
        """`matrix` [4, 4] is parent_from_child."""
        parent, child = parent.lstrip("/"), child.lstrip("/")
        self._parents.setdefault(child, {})[parent] = None
        if static:
            self._static[parent, child] = matrix
        else:
            self._moving.setdefault((parent, child), PoseTrack(self._tolerance)).add(stamp, matrix)

    @property
    def frames(self) -> set[str]:
        return set(self._parents).union(*self._parents.values())

    def relates(self, frame: str, other: str) -> bool:
        """Whether the two have an ancestor in common, at whatever times."""
        return bool(self._above(frame) & self._above(other))

    def lookup(self, target: str, source: str, stamp: float) -> np.ndarray | None:
        """target_from_source [4, 4] at `stamp`, or None when the two are not connected then.

        Raises InputError where a frame on the way has several parents and more than one of them leads there.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        target_up, source_up = self._to_root(target, source, stamp), self._to_root(source, target, stamp)
        common = next((frame for frame in source_up if frame in target_up), None)
        if common is None:
            return None
        return inverse(target_up[common]) @ source_up[common]

    def _to_root(self, frame: str, other: str, stamp: float) -> dict[str, np.ndarray]:
        """ancestor → ancestor_from_frame, nearest ancestor first, as far up as known at `stamp`.

        other: the frame that is looked for; of several parents it decides which one is taken.
        """
        chain, matrix = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents:
            parent = self._parent(frame, other)
            moving = self._moving.get((parent, frame))
            step = self._static[parent, frame] if moving is None else moving.at(stamp)
            if step is None or parent in chain:
                break
            frame, matrix = parent, step @ matrix
            chain[frame] = matrix
        return chain

    def _parent(self, child: str, other: str) -> str:
        """The parent of `child`, of several the only one that leads to `other`."""
        parents = list(self._parents[child])
        if len(parents) == 1:
            return parents[0]
        near = self._above(other)
        leading = [parent for parent in parents if self._above(parent) & near]
        if len(leading) > 1:
            raise InputError(
                f"tf gives '{child}' several parents ({', '.join(leading[:3])}), so that its pose means two "
                "things; record the tf of one of them only."
            )
        return (leading or parents)[0]

    def _above(self, frame: str) -> set[str]:
        """The frame and all its ancestors, by every way up."""
        found, waiting = {frame}, [frame]
        while waiting:
            for parent in self._parents.get(waiting.pop(), ()):
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found
