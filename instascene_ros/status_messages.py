"""SceneStatus and /diagnostics: what the node is doing, what became of its input, what went wrong."""

import os

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from instascene.msg import SceneStatus
from std_msgs.msg import Header

from instascene_ros.error_log import ErrorLog
from instascene_ros.frame_assembly import FrameCounters
from instascene_ros.snapshot import Snapshot
from instascene_ros.worker import Activity

FRAME_JOB = "frame"  # taking one frame in: not worth calling the node busy


def resident_memory_mb() -> float:
    """Resident memory of this process in MB (0 where the system does not say)."""
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def status_message(
    snapshot: Snapshot, activity: Activity, counters: FrameCounters, errors: ErrorLog, header: Header,
    last_change: str = "",
) -> SceneStatus:  # fmt: skip
    """SceneStatus from what the threads hold; last_change: of a parameter, in words."""
    busy = activity.kind not in ("", FRAME_JOB)
    errors_now = errors.snapshot()
    dropped = dict(counters.dropped)
    if busy:
        state = SceneStatus.STATE_BUSY
    else:
        state = SceneStatus.STATE_READY if snapshot.num_frames else SceneStatus.STATE_WAITING
    return SceneStatus(
        header=header,
        state=state,
        stage=activity.stage,
        progress=float(activity.fraction),
        jobs_waiting=activity.waiting,
        frames_received=counters.received,
        frames_lost=counters.lost,
        frames_used=counters.used,
        frames_pending=counters.pending,
        frames_dropped=sum(dropped.values()),
        dropped_reasons=list(dropped),
        dropped_counts=list(dropped.values()),
        gaussians=len(snapshot.gaussians) if snapshot.gaussians is not None else 0,
        psnr=snapshot.psnr,
        instances=len(snapshot.instances.instances) if snapshot.instances else 0,
        completed_objects=len(snapshot.objects),
        memory_mb=resident_memory_mb(),
        device=snapshot.device,
        errors=sum(errors_now.counts.values()),
        error_kinds=list(errors_now.counts),
        error_counts=list(errors_now.counts.values()),
        last_change=last_change,
        last_error=errors_now.newest,
    )


def diagnostics_message(status: SceneStatus, name: str, is_troubled: bool) -> DiagnosticArray:
    """The same for /diagnostics: WARN while nothing arrives, and for a while after an error."""
    level, text = DiagnosticStatus.OK, status.stage or status.state
    if is_troubled and status.last_error:
        level, text = DiagnosticStatus.WARN, status.last_error
    elif status.state == SceneStatus.STATE_WAITING:
        level, text = DiagnosticStatus.WARN, "No frame with a pose has arrived yet."
    values = [
        KeyValue(key=key, value=str(getattr(status, key)))
        for key in (
            "state", "frames_received", "frames_lost", "frames_used", "frames_dropped", "frames_pending",
            "gaussians", "psnr", "instances", "completed_objects", "memory_mb", "device", "errors",
            "jobs_waiting",
        )
    ]  # fmt: skip
    values += [
        KeyValue(key=f"dropped: {reason}", value=str(count))
        for reason, count in zip(status.dropped_reasons, status.dropped_counts)
    ]
    entry = DiagnosticStatus(level=level, name=f"{name}: scene", message=text, hardware_id=status.device)
    entry.values = values
    return DiagnosticArray(header=Header(stamp=status.header.stamp), status=[entry])
