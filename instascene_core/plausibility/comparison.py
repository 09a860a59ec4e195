"""Which hypothesis about a recording its images favour, if any clearly.

A hypothesis other than the given one is chosen only where it explains what the given one does not: it must
agree as recordings that are right do, win nearly all pairs of views that tell the two apart, also those that
it was not chosen by, and leave every hypothesis of another kind far behind.
"""

from dataclasses import dataclass

import numpy as np

from instascene_core.plausibility.evidence import Evidence, Fit
from instascene_core.plausibility.hypotheses import (
    CONVENTION,
    GIVEN,
    RANGE,
    SCALE,
    SCALES,
    TIME,
    Hypothesis,
    Trajectory,
    refined,
)

LEAST_PAIRS = 2  # that tell a hypothesis from the given one, in each half
WON = 0.85  # share of the telling pairs that an alternative must win
LESS = 0.6  # disagreement that an alternative with a fitted number may leave, over that of the given reading
LEAST_SCALE = 0.05  # logarithm of a factor below which it is the depth camera's own error, not a reading
GAIN = 0.15  # of its score that an alternative must have over the given reading
LEAD = 0.5  # of its lead over the given one that it must have over the next best of another kind


@dataclass(frozen=True)
class Comparison:
    """What the images say."""

    given: Fit
    best: Hypothesis  # GIVEN where no alternative fits clearly better
    best_fit: Fit


def compare(evidence: Evidence, trajectory: Trajectory) -> Comparison:
    """The given reading of a recording against the alternatives."""
    as_given = Hypothesis(GIVEN)
    given = evidence.fit(trajectory.under(as_given))
    right = given.enough and given.share >= evidence.right_from
    tried = _always(evidence) if right else _alternatives(evidence, trajectory)
    fits = {h: _fit(evidence, trajectory, h) for h in tried}
    leaders = _leaders(fits, half=0)
    for hypothesis, fit in sorted(leaders, key=lambda item: -item[1].score):
        rivals = [f for h, f in leaders if h.kind != hypothesis.kind or h.kind == CONVENTION]
        rivals = [f for f in rivals if f is not fit]
        if _wins(hypothesis, fit, given, evidence) and all(_leads(fit, rival, given) for rival in rivals):
            return Comparison(given, hypothesis, fit)
    return Comparison(given, as_given, given)


def _fit(evidence: Evidence, trajectory: Trajectory, hypothesis: Hypothesis, coarse: bool = False) -> Fit:
    return evidence.fit(trajectory.under(hypothesis), is_range=hypothesis.is_range, coarse=coarse)


def _always(evidence: Evidence) -> list[Hypothesis]:
    """Tried also where the given reading fits: what changes too little for it to look wrong."""
    return [Hypothesis(RANGE, is_range=True)] if evidence.has_depth else []


def _alternatives(evidence: Evidence, trajectory: Trajectory) -> list[Hypothesis]:
    found = [*trajectory.conventions()]

    def score(kind: str, coarse: bool = False):
        return lambda value: _fit(evidence, trajectory, Hypothesis(kind, float(value)), coarse).score

    offsets = sorted(trajectory.offsets(), key=lambda h: -score(TIME, True)(h.value))
    for h in offsets[:2]:
        value = refined(float(h.value), 0.25 * trajectory.period, score(TIME), rounds=2)
        found.append(Hypothesis(TIME, value))
    found += _always(evidence)
    if evidence.has_depth:
        for value in sorted(SCALES, key=lambda s: -score(SCALE, True)(s))[:2]:
            found.append(Hypothesis(SCALE, refined(value, 0.15, score(SCALE), rounds=5, multiply=True)))
    return found


def _leaders(fits: dict[Hypothesis, Fit], half: int) -> list[tuple[Hypothesis, Fit]]:
    """The best of each kind, and every convention, by the pairs of one half."""
    best: dict[object, tuple[Hypothesis, Fit]] = {}
    for hypothesis, fit in fits.items():
        key = hypothesis if hypothesis.kind == CONVENTION else hypothesis.kind
        if key not in best or _half_score(fit, half) > _half_score(best[key][1], half):
            best[key] = hypothesis, fit
    return list(best.values())


def _half_score(fit: Fit, half: int) -> float:
    scores = fit.scores[half::2]
    scores = scores[np.isfinite(scores)]
    return float(scores.mean()) if len(scores) else -1.0


def _wins(hypothesis: Hypothesis, fit: Fit, given: Fit, evidence: Evidence) -> bool:
    """Whether an alternative explains the recording, and the given reading does not."""
    if not fit.enough or fit.share < evidence.alternative_from or fit.score - given.score < GAIN * fit.score:
        return False
    if hypothesis.kind == SCALE and abs(np.log(float(hypothesis.value))) < LEAST_SCALE:
        return False
    # A number that is fitted to the recording always fits it a little better than the given one.
    if hypothesis.kind in (SCALE, TIME) and given.enough and 1 - fit.share > LESS * (1 - given.share):
        return False
    difference = fit.scores - given.scores
    for half in (0, 1):
        telling = difference[half::2]
        telling = telling[np.abs(telling) > evidence.telling]  # NaN is not telling
        if len(telling) < LEAST_PAIRS or (telling > 0).mean() < WON:
            return False
    return True


def _leads(fit: Fit, rival: Fit, given: Fit) -> bool:
    """Whether an alternative is far better than another one."""
    both = np.isfinite(fit.scores) & np.isfinite(rival.scores) & np.isfinite(given.scores)
    if not both.any():
        return True
    own, other, base = (f.scores[both].mean() for f in (fit, rival, given))
    return own - other >= LEAD * (own - max(base, 0.0))
