"""Whether a recording can be what it is read as: a look at some pairs of views before anything is made of it.

`examine(frames)` compares readings of the same files: other pose conventions, other scales of poses or depth,
depth as distance, poses of another moment, depth beside the colours.  It names one of them only where the
images favour it clearly; a recording that is right, however noisy, passes without a word.
"""

from instascene_core.plausibility.examination import examine
from instascene_core.plausibility.verdict import ALTERNATIVE, RIGHT, UNCLEAR, UNKNOWN, Verdict

__all__ = ["ALTERNATIVE", "RIGHT", "UNCLEAR", "UNKNOWN", "Verdict", "examine"]
