"""The worker: order, results, errors that are survived, cancelling, stopping."""

import threading
import time

import pytest

from instascene_core.errors import Cancelled, InputError, NotReadyError
from instascene_ros.error_log import ErrorLog, describe
from instascene_ros.worker import JobTimeout, QueueFull, Worker


@pytest.fixture
def errors():
    return ErrorLog()


@pytest.fixture
def worker(errors):
    worker = Worker(errors)
    worker.start()
    yield worker
    assert worker.stop(5.0)


def wait_for(condition, timeout=5.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "condition did not come true"
        time.sleep(0.005)


def test_jobs_run_in_order_in_one_thread(worker):
    seen = []
    jobs = [
        worker.submit("job", lambda progress, i=i: seen.append((i, threading.get_ident())) or i)
        for i in range(20)
    ]
    assert [job.result(5) for job in jobs] == list(range(20))
    assert [i for i, _ in seen] == list(range(20))
    assert {thread for _, thread in seen} == {seen[0][1]} != {threading.get_ident()}


def test_an_exception_is_counted_and_survived(worker, errors):
    def fail(progress):
        raise RuntimeError("boom\nwith a second line")

    with pytest.raises(RuntimeError):
        worker.submit("segment", fail).result(5)
    assert worker.submit("next", lambda progress: 7).result(5) == 7
    counts, last = errors.snapshot()
    assert counts == {"segment": 1}
    assert last.startswith("Internal error (RuntimeError: boom with a second line)") and "\n" not in last


def test_input_errors_keep_their_words_and_kinds(worker, errors):
    def unready(progress):
        raise NotReadyError("Call segment_instances first.")

    def refuse(progress):
        raise InputError("No such instance.")

    for function in (unready, refuse):
        with pytest.raises(InputError):
            worker.submit("complete", function).result(5)
    assert errors.snapshot() == ({"not ready": 1, "complete": 1}, "No such instance.")


def test_a_caller_can_stop_waiting_while_the_job_goes_on(worker):
    release = threading.Event()
    job = worker.submit("long", lambda progress: release.wait(5))
    with pytest.raises(JobTimeout, match=r"did not finish within 0\.05 s; it goes on"):
        job.result(0.05)
    release.set()
    assert job.result(5) is True


def test_progress_is_shown_and_forwarded(worker):
    release, seen = threading.Event(), []

    def work(progress):
        progress("fit", 0.25, "a quarter")
        release.wait(5)

    job = worker.submit("build", work, lambda *report: seen.append(report))
    wait_for(lambda: worker.activity.stage == "fit")
    waiting = worker.submit("other", lambda progress: None)
    activity = worker.activity
    assert (activity.kind, activity.fraction, activity.waiting) == ("build", 0.25, 1)
    assert not worker.is_idle
    release.set()
    job.result(5)
    waiting.result(5)
    wait_for(lambda: worker.is_idle)
    assert seen == [("fit", 0.25, "a quarter")] and worker.activity.kind == ""


def loop(progress):
    while True:
        progress("loop", 0.5)
        time.sleep(0.002)


def test_cancel_ends_a_job_at_its_next_report(worker, errors):
    job = worker.submit("build", loop)
    wait_for(lambda: worker.activity.stage == "loop")
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(5)
    assert errors.snapshot() == ({}, "")  # being cancelled is no error


def test_a_cancelled_job_never_begins(worker):
    ran = []
    first = worker.submit("build", loop)
    second = worker.submit("other", lambda progress: ran.append(1))
    worker.cancel_all()
    for job in (first, second):
        with pytest.raises(Cancelled):
            job.result(5)
    assert ran == []
    assert worker.submit("after", lambda progress: "fine").result(5) == "fine"


def test_stop_frees_those_who_wait_even_when_the_job_does_not_listen(errors):
    worker = Worker(errors)
    worker.start()
    release = threading.Event()
    deaf = worker.submit("deaf", lambda progress: release.wait(10))
    behind = worker.submit("behind", lambda progress: None)
    wait_for(lambda: worker.activity.kind == "deaf")
    assert worker.stop(0.1) is False
    for job in (deaf, behind):
        with pytest.raises(InputError, match="shutting down"):
            job.result(1)
    with pytest.raises(InputError, match="shutting down"):
        worker.submit("late", lambda progress: None).result(1)
    release.set()


def test_error_log_tells_new_messages_from_repeated_ones():
    log = ErrorLog()
    assert log.add("pose", "bad") and not log.add("pose", "bad") and log.add("pose", "worse")
    assert log.snapshot() == ({"pose": 3}, "worse")
    log.clear()
    assert log.snapshot() == ({}, "") and log.add("pose", "bad")


@pytest.mark.parametrize(
    "error, words",
    [
        (InputError("Too\n  long."), "Too long."),
        (Cancelled(), "cancelled"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "Internal error (KeyError"),
    ],
)
def test_every_error_becomes_one_sentence(error, words):
    assert words in describe(error) and "\n" not in describe(error)


def test_idle_work_runs_between_jobs_until_there_is_none(errors):
    left = [3]

    def idle():
        left[0] -= 1
        return left[0] > 0

    worker = Worker(errors, when_idle=idle)
    worker.start()
    worker.submit("job", lambda progress: None).result(5)
    wait_for(lambda: left[0] == 0)
    time.sleep(0.05)
    assert left[0] == 0  # asked again only after another job
    worker.submit("job", lambda progress: None).result(5)
    wait_for(lambda: left[0] == -1)
    assert worker.stop(5.0)


def test_failing_idle_work_is_counted_and_survived(errors):
    def idle():
        raise InputError("No surface.")

    worker = Worker(errors, when_idle=idle)
    worker.start()
    assert worker.submit("job", lambda progress: 1).result(5) == 1
    wait_for(lambda: errors.snapshot()[0] == {"work_ahead": 1})
    assert worker.submit("job", lambda progress: 2).result(5) == 2
    assert worker.stop(5.0)


def test_jobs_of_a_kind_can_be_limited(worker):
    release = threading.Event()
    first = worker.submit("frame", lambda progress: release.wait(5), max_unfinished=2)
    second = worker.submit("frame", lambda progress: None, max_unfinished=2)
    with pytest.raises(QueueFull, match="2 jobs of the kind 'frame' are waiting already"):
        worker.submit("frame", lambda progress: None, max_unfinished=2)
    other = worker.submit("render", lambda progress: None, max_unfinished=1)  # another kind
    second.cancel()  # also one that never begins leaves its place
    release.set()
    assert first.result(5) is True and other.result(5) is None
    with pytest.raises(Cancelled):
        second.result(5)
    for _ in range(5):
        worker.submit("frame", lambda progress: None, max_unfinished=1).result(5)


def test_waiting_for_a_job_in_steps(worker):
    release = threading.Event()
    job = worker.submit("job", lambda progress: release.wait(5))
    assert not job.wait(0.01)
    release.set()
    assert job.wait(5)
