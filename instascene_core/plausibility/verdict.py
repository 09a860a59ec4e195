"""What the check says about a recording."""

from dataclasses import asdict, dataclass

from instascene_core.corrections import Corrections

# Outcomes: fits as it is; one other reading fits; nothing known fits; too little to judge by
RIGHT, ALTERNATIVE, UNCLEAR, UNKNOWN = "right", "alternative", "unclear", "unknown"

# What is found
CONVENTION, TIME, RANGE = "pose convention", "time offset", "depth is range"
DEPTH_UNIT, POSE_SCALE, DEPTH_SHIFT = "depth unit", "pose scale", "depth shift"
SAME_POSES, NO_TRANSLATION, NO_ROTATION = "poses all equal", "no translation", "no rotation"
ON_THE_SPOT, NONE_FITS = "turned on the spot", "none fits"
EMPTY_DEPTH = "empty depth"
NO_MOTION = "no motion"  # what is said of equal poses whose images cannot be compared


@dataclass(frozen=True)
class Verdict:
    """What the images say about how a recording is read."""

    outcome: str
    name: str = ""  # of what is found; "" where nothing is
    sentence: str = ""  # for a person; "" where there is nothing to say
    agreement: float = 0.0  # share of what was tested that agrees with the given reading, 0 … 1
    correction: Corrections | None = None  # the reading that fits; None where no change of reading helps

    def as_dict(self) -> dict:
        """For metrics.json."""
        found = {"outcome": self.outcome, "agreement": self.agreement}
        if self.sentence:
            found |= {"found": self.name, "warning": self.sentence}
        if self.correction is not None:
            found["reading_that_fits"] = asdict(self.correction)
        return found
