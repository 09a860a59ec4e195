"""The check of a recording, once for the same frames."""

import logging
from collections.abc import Sequence

from instascene_core.config import PlausibilityConfig
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.plausibility import ALTERNATIVE, Verdict, examine

logger = logging.getLogger(__name__)


class RecordingCheck:
    """Looks at frames as the configuration says, and remembers what it saw last."""

    def __init__(self, config: PlausibilityConfig) -> None:
        self._config = config
        self._frames: tuple[Frame, ...] = ()
        self._verdict: Verdict | None = None

    def verdict(self, frames: Sequence[Frame], corrections: Corrections) -> Verdict | None:
        """What the frames, read with `corrections`, say; None where nobody asks.

        Takes up to 2 s for new frames.  Raises InputError, one sentence with the option to set, where another
        reading clearly fits instead, and where nothing of the images may be looked at.
        """
        _require_visible(frames)
        if self._config.check == "skip" or len(frames) < 2:
            return None
        same = len(frames) == len(self._frames) and all(a is b for a, b in zip(frames, self._frames))
        if self._verdict is None or not same:
            self._frames, self._verdict = tuple(frames), examine(frames, corrections)
        if self._verdict.outcome == ALTERNATIVE and self._config.check == "stop":
            raise InputError(self._verdict.sentence)
        if self._verdict.sentence and not same:
            logger.warning("%s", self._verdict.sentence)
        return self._verdict


def _require_visible(frames: Sequence[Frame]) -> None:
    """InputError where masks or transparency leave nothing of all images."""
    if frames and not any(frame.valid is None or frame.valid.any() for frame in frames):
        raise InputError(
            f"Every pixel of all {len(frames)} images is to be ignored: the images are transparent, or masks "
            "are the wrong way round (black = ignore)."
        )
