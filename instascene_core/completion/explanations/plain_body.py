"""Plain bodies: boxes, cylinders and balls that explain what was seen.

Many things are boxes, cylinders or balls.  One that explains what was seen to within the noise also
tells what was not: better than any guess.  A body is taken when (`PlainBodyConfig` holds the numbers)

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
from instascene_core.completion.explanations.surface import AveragedSurface, point_error
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config.completion import ExplanationsConfig, PlainBodyConfig


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one body."""

    explained: float  # share of the observed points that lie on it
    filled: float  # share of its inside that is known to be empty or another's
    open_faces: int  # flat faces that nothing vouches for
    seen: float  # share of its surface that was observed
    offset: float  # metres, root mean square distance of the observed surface, averaged over neighbours
    systematic: float  # the same as a share of the tolerance

    def accepted(self, config: PlainBodyConfig) -> bool:
        fits = self.explained >= config.explained and self.systematic <= config.systematic
        return fits and self.filled <= config.filled and self.open_faces == 0 and self.seen >= config.seen


@dataclass(frozen=True)
class PlainBody:
    """A body that explains the observation: it takes the place of the first guess."""

    shape: Shape
    verdict: Verdict
    tolerance: float  # metres that the observed surface may lie beside it
    config: PlainBodyConfig

    @property
    def suffix(self) -> str:
        return f", {self.shape.kind} fit"

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"What was seen is a {self.shape.kind} to within the noise; the rest was made one.",)

    def fit_grid(self, observation: Observation) -> Observation:
        """The observation itself: a body with all faces vouched for lies in its box."""
        return observation

    def known(self, observation: Observation) -> Observation:
        """The observation itself: the other guesses are to be the prior's own."""
        return observation

    def adjust(self, prediction: Prediction, known: Observation) -> Prediction:
        """The prediction with the body in its first place, which is then as sure as the fit is good and
        the prior agrees."""
        body = self.shape.signed_distance(known.grid.centers()).astype(np.float32)
        limit = known.volume.truncation
        doubt = np.clip(body, -limit, limit) - np.clip(prediction.fields[0], -limit, limit)
        fit = np.hypot(self.verdict.offset, self.config.doubt_tolerance * self.tolerance)
        uncertainty = np.hypot(fit, self.config.doubt_prior * doubt).astype(np.float32)
        return Prediction(np.concatenate([body[None], prediction.fields[1:]]), uncertainty)

    def confine(self, field: np.ndarray, known: Observation) -> np.ndarray:
        """The fused field without what sticks out of the body: the few observed points that do not lie on
        it are a neighbour's, under this one's label."""
        body = self.shape.signed_distance(known.grid.centers())
        margin = max(
            self.config.margin_offsets * self.verdict.offset, self.config.margin_tolerance * self.tolerance
        )
        return np.maximum(field, body - margin).astype(np.float32)


def find_plain_body(observation: Observation, config: ExplanationsConfig, seed: int = 0) -> PlainBody | None:
    """The accepted body that lies closest to the points, or None where the thing is no plain body."""
    own = config.plain_body
    sigma = point_error(observation, config.surface)
    surface = AveragedSurface(observation, config.surface)
    accepted = []
    shapes = fit_shapes(observation.points, observation.up, sigma, observation.pixel, own.fitting, seed)
    for shape in shapes:
        if surface.explained(shape) < own.explained:  # cheap, and most fits end here
            continue
        shape, open_faces = settle(observation, shape, surface.tolerance, own)
        verdict = judge(observation, shape, open_faces, surface, own)
        if verdict.accepted(own):
            accepted.append(PlainBody(shape, verdict, surface.tolerance, own))
    return min(accepted, key=lambda body: body.verdict.offset) if accepted else None


def judge(
    observation: Observation, shape: Shape, open_faces: int, surface: AveragedSurface, config: PlainBodyConfig
) -> Verdict:
    """Compare a body with everything that is known (see the module's text)."""
    distance = shape.signed_distance(observation.grid.centers())
    inside = distance < -(observation.volume.band + 0.5 * observation.grid.voxel)
    empty = (observation.free & ~observation.believed) | observation.neighbour
    if observation.support is not None:
        depth = surface.tolerance + observation.grid.voxel
        empty |= observation.support.height(observation.grid.centers()) < -depth
    filled = float(empty[inside].mean()) if inside.any() else 0.0
    offset = float(np.sqrt((surface.residual(shape) ** 2).mean()))
    samples, normals, _ = shape.surface(config.samples)
    return Verdict(
        explained=surface.explained(shape),
        filled=filled,
        open_faces=open_faces,
        seen=float(_seen(observation, samples, normals, surface.tolerance, config).mean()),
        offset=offset,
        systematic=offset / surface.tolerance,
    )


def settle(
    observation: Observation, shape: Shape, tolerance: float, config: PlainBodyConfig
) -> tuple[Shape, int]:
    """The body with its unseen flat faces where the evidence puts them, and how many nothing vouches for.

    A face that looks down on the support goes to it.  Another lies half-way between the last point
    seen on the adjoining faces and where, going on in their planes, space is known to be empty.
    tolerance: metres that the observed surface may lie beside the body.
    """
    samples, normals, faces = shape.surface(config.samples)
    seen = _seen(observation, samples, normals, tolerance, config)
    open_faces = 0
    for face, outward in shape.ends.items():
        on_face = faces == face
        if seen[on_face].mean() >= config.seen_face:
            continue
        middle = samples[on_face].mean(axis=0)
        by = _to_support(observation, middle, outward, tolerance, config)
        if by is None and not outward @ observation.up > config.lid_cosine:
            by = _to_rim(observation, samples[seen & ~on_face], middle, outward, config)
        if by is None:
            open_faces += 1
        else:
            shape = shape.with_end_moved(face, by)
    return shape, open_faces


def _seen(
    observation: Observation,
    samples: np.ndarray,
    normals: np.ndarray,
    tolerance: float,
    config: PlainBodyConfig,
) -> np.ndarray:
    """[N] bool: which points of a body's surface, with outward normals [N, 3], were observed."""
    from scipy.spatial import cKDTree

    points = observation.points
    reach = config.seen_reach * max(observation.pixel, observation.grid.voxel) + tolerance
    gap, nearest = cKDTree(points.positions).query(samples, distance_upper_bound=reach)
    near = np.isfinite(gap)
    facing = np.einsum("nc,nc->n", points.normals[np.where(near, nearest, 0)], normals)
    return near & (facing > config.seen_cosine)


def _to_support(
    observation: Observation,
    middle: np.ndarray,
    outward: np.ndarray,
    tolerance: float,
    config: PlainBodyConfig,
) -> float | None:
    """Metres from a face to the support it stands on, or None.

    middle: [3] of the face, world frame; outward: [3] its normal.
    """
    support = observation.support
    if support is None or outward @ support.normal > -config.foot_cosine:
        return None
    height = float(support.height(middle))
    reach = config.foot_reach * max(observation.grid.voxel, 2 * observation.pixel) + tolerance
    return height / -float(outward @ support.normal) if abs(height) < reach else None


def _to_rim(
    observation: Observation,
    seen: np.ndarray,
    middle: np.ndarray,
    outward: np.ndarray,
    config: PlainBodyConfig,
) -> float | None:
    """Metres to move an unseen face through `middle` so that it lies between what was seen to be the
    body and what was seen to be empty; None where that is not known.

    seen: [N, 3] observed points of the other faces.
    """
    grid = observation.grid
    ends = (observation.free | observation.neighbour).astype(np.float32)
    slack = observation.volume.band + config.rim_slack * grid.voxel + config.rim_slack * observation.pixel
    height = (seen - middle) @ outward
    rim = seen[height > -2 * slack]
    rim = rim - ((rim - middle) @ outward)[:, None] * outward  # in the face's plane
    if len(rim) < 3:
        return None
    last = float(np.quantile((observation.points.positions - middle) @ outward, config.rim_quantile))
    for step in np.arange(last, last + 3 * slack, 0.5 * grid.voxel):
        probes = rim + step * outward
        probes = probes[grid.contains(probes)]
        if len(probes) >= 3 and grid.sample(ends, probes, order=0).mean() >= config.rim_empty:
            return (last + step) / 2
    return None
