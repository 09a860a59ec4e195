"""Settings of the check of a recording before it is reconstructed."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PlausibilityConfig:
    """Whether poses, images and depth can be what they are read as (`instascene_core.plausibility`)."""

    # "stop": where another reading clearly fits instead, end with a sentence that names it; "warn": say so
    # and go on; "skip": do not look (a bare off is false in YAML)
    check: Literal["stop", "warn", "skip"] = "stop"
