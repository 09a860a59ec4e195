"""Many recordings at once: a task a stage and an object, over processes and machines.

Frames and results pass from task to task as files in the output's folder, which all machines share.
"""

from instascene_core.batch.plan import Plan, Reading
from instascene_core.batch.recordings import Listing, Recording, list_recordings
from instascene_core.batch.running import BatchResult, run_batch

__all__ = ["BatchResult", "Listing", "Plan", "Reading", "Recording", "list_recordings", "run_batch"]
