"""What the settings name, asked for before the work: weights, checkpoints, folders of other programs."""

from pathlib import Path

from instascene_core.completion.completer import make_prior
from instascene_core.completion.confidence.model import load_confidence_model
from instascene_core.completion.priors.prior import DemandingPrior
from instascene_core.config import Config
from instascene_core.errors import InputError
from instascene_core.scene.region import box_of_region
from instascene_core.scene.scene import STAGES
from instascene_core.segmentation.factories import segmenter_named


def require_means(config: Config, until: str = STAGES[-1]) -> tuple[str, ...]:
    """What a stage up to `until` will have to do without, a sentence each: a prior that lacks its means gives
    the learned prior's shapes, which say so.  InputError where it could not do at all what is asked for.

    Else that is said after the stages before it, minutes later, and what they made is lost.  Frames are not
    looked at, and label images of the input need no segmenter: "auto" is asked for what it may fall back to.
    """
    box_of_region(config.region)
    last, missing = STAGES.index(until), ()
    if last >= STAGES.index("segment"):
        name = config.segmentation.segmenter
        segmenter_named("builtin" if name == "auto" else name, config.segmentation)
    if last >= STAGES.index("complete"):
        missing = _missing_to_prior(config)
        weights = config.completion.confidence.weights
        if weights:
            load_confidence_model(Path(weights))
    return missing


def _missing_to_prior(config: Config) -> tuple[str, ...]:
    prior = make_prior(config.completion.prior, config.completion)
    if not isinstance(prior, DemandingPrior):
        return ()
    try:
        prior.require_means()
    except InputError as error:
        return (f"{error} Until then the learned prior stands in for '{config.completion.prior}'.",)
    return ()
