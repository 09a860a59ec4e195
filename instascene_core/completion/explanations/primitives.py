"""Plain bodies as candidates for a completion, judged by the evidence.

Many things are boxes, cylinders or balls.  One that explains what was seen to within the noise also
tells what was not: better than any guess.  A candidate is taken when

- nearly all observed points lie on it, and neighbouring ones do not lie off it together (a rounded or
  bent thing misses by more than noise, but everywhere in the same direction),
- it fills no space that is known to be empty or another's,
- each flat face was seen, stands on the support, or ends where space behind it was seen to be empty;
  a lid nobody saw may be a mouth,
- what it claims of a round side was seen far enough around.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.explanations.fitting import fit_shapes
from instascene_core.completion.explanations.shapes import Shape
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.prior import Prediction

EXPLAINED = 0.95  # of the observed surface
SYSTEMATIC = 0.3  # of the tolerance: root mean square of what is left of the distances after averaging
SAMPLES = 1500  # points on a body's surface
LID = 0.7  # cosine against up from which a face closes the body at the top, where vessels are open


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one body."""

    explained: float  # share of the observed points that lie on it
    filled: float  # share of its inside that is known to be empty or another's
    open_faces: int  # flat faces that nothing vouches for
    seen: float  # share of its surface that was observed
    offset: float  # metres, root mean square distance of the observed surface, averaged over neighbours
    systematic: float  # the same as a share of the tolerance

    @property
    def accepted(self) -> bool:
        fits = self.explained >= EXPLAINED and self.systematic <= SYSTEMATIC
        return fits and self.filled <= 0.01 and self.open_faces == 0 and self.seen >= 0.2


@dataclass(frozen=True)
class Candidate:
    """A body that explains the observation."""

    shape: Shape
    verdict: Verdict


def best_candidate(observation: Observation, seed: int = 0) -> Candidate | None:
    """The accepted body that lies closest to the points, or None where the thing is no plain body."""
    sigma = float(np.hypot(observation.noise, 0.3 * observation.pixel))
    surface = SteadySurface(observation)
    accepted = []
    for shape in fit_shapes(observation.points, observation.up, sigma, observation.pixel, seed):
        if surface.explained(shape) < EXPLAINED:  # cheap, and most fits end here
            continue
        shape, open_faces = settle(observation, shape)
        verdict = judge(observation, shape, open_faces, surface)
        if verdict.accepted:
            accepted.append(Candidate(shape, verdict))
    return min(accepted, key=lambda c: c.verdict.offset) if accepted else None


def preferred(observation: Observation, candidate: Candidate, prediction: Prediction) -> Prediction:
    """The prediction with the candidate in its first place, which is then as sure as the fit is good and
    the prior agrees."""
    body = candidate.shape.signed_distance(observation.grid.centers()).astype(np.float32)
    limit = observation.volume.truncation
    doubt = np.clip(body, -limit, limit) - np.clip(prediction.fields[0], -limit, limit)
    fit = np.hypot(candidate.verdict.offset, 0.5 * tolerance(observation))
    uncertainty = np.hypot(fit, 0.25 * doubt).astype(np.float32)
    return Prediction(np.concatenate([body[None], prediction.fields[1:]]), uncertainty)


def confined(observation: Observation, candidate: Candidate, field: np.ndarray) -> np.ndarray:
    """The fused field [nx, ny, nz] (metres) without what sticks out of the candidate: the few observed
    points that do not lie on it are a neighbour's, under this one's label."""
    body = candidate.shape.signed_distance(observation.grid.centers())
    margin = max(3 * candidate.verdict.offset, 0.1 * tolerance(observation))
    return np.maximum(field, body - margin).astype(np.float32)


def tolerance(observation: Observation) -> float:
    """Metres that the locally averaged surface may lie beside a body that explains it."""
    return float(max(1.5 * observation.noise, observation.pixel))


class SteadySurface:
    """Distances of the observed surface from a body, averaged over neighbouring points: noise cancels,
    what remains is shape."""

    def __init__(self, observation: Observation, most: int = 6000, neighbours: int = 16) -> None:
        from scipy.spatial import cKDTree

        every = max(1, len(observation.points.positions) // most)
        self.positions = observation.points.positions[::every]
        self.normals = observation.points.normals[::every]
        count = len(self.positions)
        index = cKDTree(self.positions).query(self.positions, k=min(neighbours, count))[1]
        self._index = index.reshape(count, -1)
        self._tolerance = tolerance(observation)

    def residual(self, shape) -> np.ndarray:
        """[N] metres ≥ 0."""
        return np.abs(np.median(shape.signed_distance(self.positions)[self._index], axis=1))

    def explained(self, shape: Shape) -> float:
        """Share of the surface that lies on the body."""
        return float((self.residual(shape) < self._tolerance).mean())


def judge(
    observation: Observation, shape: Shape, open_faces: int = 0, surface: SteadySurface | None = None
) -> Verdict:
    """Compare a body with everything that is known (see the module's text)."""
    surface = surface or SteadySurface(observation)
    distance = shape.signed_distance(observation.grid.centers())
    inside = distance < -(observation.volume.band + 0.5 * observation.grid.voxel)
    empty = (observation.free & (observation.trust < 0.5)) | observation.neighbour
    if observation.support is not None:
        depth = tolerance(observation) + observation.grid.voxel
        empty |= observation.support.height(observation.grid.centers()) < -depth
    filled = float(empty[inside].mean()) if inside.any() else 0.0
    offset = float(np.sqrt((surface.residual(shape) ** 2).mean()))
    return Verdict(
        explained=surface.explained(shape),
        filled=filled,
        open_faces=open_faces,
        seen=float(_seen(observation, *shape.surface(SAMPLES)[:2]).mean()),
        offset=offset,
        systematic=offset / tolerance(observation),
    )


def settle(observation: Observation, shape: Shape) -> tuple[Shape, int]:
    """The body with its unseen flat faces where the evidence puts them, and how many nothing vouches for.

    A face that looks down on the support goes to it.  Another lies half-way between the last point
    seen on the adjoining faces and where, going on in their planes, space is known to be empty.
    """
    samples, normals, faces = shape.surface(SAMPLES)
    seen = _seen(observation, samples, normals)
    open_faces = 0
    for face, outward in shape.ends.items():
        its = faces == face
        if seen[its].mean() >= 0.3:
            continue
        middle = samples[its].mean(axis=0)
        by = _to_support(observation, middle, outward)
        if by is None and not outward @ observation.up > LID:
            by = _to_rim(observation, samples[seen & ~its], middle, outward)
        if by is None:
            open_faces += 1
        else:
            shape = shape.with_end_moved(face, by)
    return shape, open_faces


def _seen(observation: Observation, samples: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """[N] bool: which points of a body's surface, with outward normals [N, 3], were observed."""
    from scipy.spatial import cKDTree

    points = observation.points
    reach = 2 * max(observation.pixel, observation.grid.voxel) + tolerance(observation)
    gap, nearest = cKDTree(points.positions).query(samples, distance_upper_bound=reach)
    near = np.isfinite(gap)
    return near & (np.einsum("nc,nc->n", points.normals[np.where(near, nearest, 0)], normals) > 0.5)


def _to_support(observation: Observation, middle: np.ndarray, outward: np.ndarray) -> float | None:
    """Metres from a face to the support it stands on, or None."""
    support = observation.support
    if support is None or outward @ support.normal > -0.9:
        return None
    height = float(support.height(middle))
    reach = 2 * max(observation.grid.voxel, 2 * observation.pixel) + tolerance(observation)
    return height / -float(outward @ support.normal) if abs(height) < reach else None


def _to_rim(
    observation: Observation, seen: np.ndarray, middle: np.ndarray, outward: np.ndarray
) -> float | None:
    """Metres to move an unseen face through `middle` so that it lies between what was seen to be the
    body and what was seen to be empty; None where that is not known.

    seen: [N, 3] observed points of the other faces.
    """
    grid = observation.grid
    ends = (observation.free | observation.neighbour).astype(np.float32)
    slack = observation.volume.band + 2 * grid.voxel + 2 * observation.pixel
    height = (seen - middle) @ outward
    rim = seen[height > -2 * slack]
    rim = rim - ((rim - middle) @ outward)[:, None] * outward  # in the face's plane
    if len(rim) < 3:
        return None
    last = float(np.quantile((observation.points.positions - middle) @ outward, 0.995))
    for step in np.arange(last, last + 3 * slack, 0.5 * grid.voxel):
        probes = rim + step * outward
        probes = probes[grid.contains(probes)]
        if len(probes) >= 3 and grid.sample(ends, probes, order=0).mean() >= 0.5:
            return (last + step) / 2
    return None
