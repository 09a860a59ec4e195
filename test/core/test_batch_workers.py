"""What is asked of Ray, and what becomes of its answers; on a stand-in for it."""

import re
import socket
from pathlib import Path

import pytest
from ray_stand_in import OutOfMemoryError, RayTaskError, StandIn, WorkerCrashedError

from instascene_core.batch import ray_workers
from instascene_core.batch.plan import Plan, Reading
from instascene_core.batch.ray_workers import RayWorkers
from instascene_core.batch.recordings import Recording
from instascene_core.batch.tasks import STAGES, Outcome, Task
from instascene_core.config import Config
from instascene_core.config.batch import BatchConfig
from instascene_core.errors import InputError
from instascene_core.verbs.batch import batch_config

TASK = Task("segment", Recording("one", Path("/one")))
GIB = 2**30


@pytest.fixture
def ray(monkeypatch):
    stand_in = StandIn({"CPU": 4.0, "memory": 8.0 * GIB})
    monkeypatch.setattr(ray_workers, "_ray", lambda: stand_in)
    monkeypatch.setattr(ray_workers.socket, "create_connection", lambda *_: stand_in)
    return stand_in


def plan(*words: str) -> Plan:
    return Plan(Path("/out"), Config(), Reading(), batch_config(words), "code", "digest")


def test_a_ray_of_our_own_has_as_many_places_as_workers(ray):
    workers = RayWorkers(plan(), workers=3)
    ((address,), options) = ray.given[0]
    assert address == "local" and options["num_cpus"] == 3 and options["log_to_driver"] is False
    assert workers.room() == 3
    assert RayWorkers(plan()).room() == 4


def test_a_cluster_keeps_what_it_is(ray):
    workers = RayWorkers(plan("complete.gpus=1"), "host:6379", workers=2)  # no GPU yet: one may be started
    ((address,), options) = ray.given[0]
    assert address == "host:6379" and "num_cpus" not in options and "object_store_memory" not in options
    assert workers.room() == workers.most() == 2  # tasks at a time, whatever there is


def test_each_stage_asks_for_what_was_declared(ray):
    ray.has["GPU"] = 1.0
    RayWorkers(plan("reconstruct.cpus=4", "complete.gpus=0.25", "finish.memory_gb=2.5"))
    asked = dict(zip(STAGES, ray.asked))
    assert asked["reconstruct"]["num_cpus"] == 4 and asked["look"]["num_cpus"] == 1
    assert asked["complete"]["num_gpus"] == 0.25 and asked["segment"]["num_gpus"] == 0
    assert asked["finish"]["memory"] == int(2.5 * GIB) and asked["look"]["memory"] is None
    assert {demand["max_retries"] for demand in ray.asked} == {0}  # we decide what is tried again


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("complete.gpus=1", "complete.gpus is 1, and this machine gives 0"),
        ("finish.memory_gb=9", "finish.memory_gb is 9, and this machine gives 8"),
        ("reconstruct.cpus=8", "reconstruct.cpus is 8, and this machine gives 4"),
    ],
)
def test_what_this_machine_can_never_do_is_refused(ray, word, sentence):
    with pytest.raises(InputError, match=sentence):
        RayWorkers(plan(word))
    assert ray.is_down


def test_a_cluster_that_is_not_there_is_one_sentence(ray):
    ray.refusal = ConnectionError("could not\nconnect")
    with pytest.raises(InputError, match=r"There is no Ray cluster at 'host:1': could not connect"):
        RayWorkers(plan(), "host:1")
    with pytest.raises(InputError, match="Ray cannot be started here"):
        RayWorkers(plan())


def test_an_address_where_nobody_listens_is_refused_at_once(ray, monkeypatch):
    monkeypatch.undo()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(InputError, match=f"There is no Ray cluster at '{address}': .*refused"):
            ray_workers._require_heard(address)
    ray_workers._require_heard("auto")  # Ray looks for it


def raised(error: Exception):
    def end(handle):
        raise error

    return end


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (WorkerCrashedError(), "The worker process died"),
        (OutOfMemoryError(), "ran out of memory; declare more with --resources segment.memory_gb"),
        (RayTaskError(OSError(28, "No space left on device", "/x")), "No space left on device"),
        (RayTaskError(RuntimeError("shapes\ndiffer")), r"Internal error \(RuntimeError: shapes differ\)"),
    ],
)
def test_how_a_task_breaks_is_one_sentence(ray, error, words):
    workers = RayWorkers(plan())
    handle, ray.end = workers.start(TASK), raised(error)
    (outcome,) = workers.wait([handle]).values()
    assert not outcome.refused and not outcome.facts
    assert re.search(words, outcome.broken) and "\n" not in outcome.broken


def test_what_is_done_comes_back_and_what_is_not_is_cancelled(ray):
    workers = RayWorkers(plan())
    first, second = workers.start(TASK), workers.start(Task("look", TASK.recording))
    ray.end = lambda handle: Outcome({"objects": [1]})
    assert workers.wait([first]) == {first: Outcome({"objects": [1]})}
    workers.close()
    assert ray.cancelled == [second] and ray.is_down


def test_the_defaults_ask_for_a_core_each():
    assert {(getattr(BatchConfig(), stage).cpus, getattr(BatchConfig(), stage).gpus) for stage in STAGES} == {
        (1.0, 0.0)
    }
