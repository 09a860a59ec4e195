"""Which task comes next, what is tried again, and that no recording stops another."""

from pathlib import Path

import pytest
from batch_cases import Here

from instascene_core.batch.courses import AHEAD, drive
from instascene_core.batch.recordings import Recording
from instascene_core.batch.tasks import Outcome, Task

NEW = {"key": "k", "reconstructed": False, "objects": None, "completed": []}


def recordings(count: int) -> list[Recording]:
    return [Recording(f"r{n}", Path(f"/r{n}")) for n in range(count)]


def done(task: Task, objects=(1, 2), look=NEW) -> Outcome:
    """What workers answer where everything goes well."""
    facts = {"look": look, "segment": {"objects": list(objects)}}
    facts["finish"] = {"status": "failed" if task.broken else "done", "sentence": ""}
    return Outcome(facts.get(task.stage, {}))


def stages(workers: Here) -> list[str]:
    return [f"{task.stage}{task.instance or ''}" for task in workers.begun]


def test_the_stages_follow_each_other():
    workers = Here(done)
    (ended,) = drive(recordings(1), workers, retries=0)
    assert stages(workers) == ["look", "reconstruct", "segment", "complete1", "complete2", "finish"]
    assert (ended.status, ended.key, ended.earlier) == ("done", "k", False)
    assert all(task.key == "k" for task in workers.begun[1:])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"reconstructed": True}, ["look", "segment", "complete1", "complete2", "finish"]),
        ({"reconstructed": True, "objects": [1, 2], "completed": [1]}, ["look", "complete2", "finish"]),
        ({"reconstructed": True, "objects": [1, 2], "completed": [1, 2]}, ["look", "finish"]),
        ({"reconstructed": True, "objects": []}, ["look", "finish"]),
    ],
)
def test_what_is_there_is_not_done_again(found, expected):
    workers = Here(lambda task: done(task, look={**NEW, **found}))
    list(drive(recordings(1), workers, retries=0))
    assert stages(workers) == expected


def test_a_recording_that_is_done_is_only_looked_at():
    workers = Here(lambda task: Outcome({"finished": "empty"}))
    (ended,) = drive(recordings(1), workers, retries=0)
    assert ended.earlier and ended.status == "empty" and stages(workers) == ["look"]


def test_a_bad_recording_stops_no_other_and_is_not_tried_again():
    def do(task):
        bad = task.recording.name == "r1" and task.stage == "reconstruct"
        return Outcome(refused="It is blank.") if bad else done(task)

    workers = Here(do, places=3)
    ended = {one.recording.name: one for one in drive(recordings(4), workers, retries=5)}
    assert {name: one.status for name, one in ended.items()} == {
        "r0": "done", "r1": "failed", "r2": "done", "r3": "done"}  # fmt: skip
    assert (ended["r1"].sentence, ended["r1"].stage) == ("It is blank.", "reconstruct")
    assert sum(t.recording.name == "r1" for t in workers.begun) == 2


@pytest.mark.parametrize(("deaths", "status"), [(2, "done"), (3, "failed")])
def test_a_worker_that_dies_is_replaced_so_often(deaths, status):
    died = []

    def do(task):
        if task.stage == "segment" and len(died) < deaths:
            died.append(task)
            return Outcome(broken="The worker process died.")
        return done(task)

    (ended,) = drive(recordings(1), Here(do), retries=2)
    assert ended.status == status
    if status == "failed":
        assert ended.sentence == "The worker process died (3 tries)." and ended.stage == "segment"


def test_an_object_that_no_worker_survives_leaves_the_others():
    def do(task):
        return Outcome(broken="It died.") if task.instance == 1 else done(task, objects=(1, 2, 3))

    workers = Here(do)
    (ended,) = drive(recordings(1), workers, retries=1)
    assert stages(workers).count("complete1") == 2 and stages(workers).count("complete3") == 1
    assert workers.begun[-1].stage == "finish" and workers.begun[-1].broken == {1: "It died (2 tries)."}
    assert (ended.status, ended.stage) == ("failed", "complete")


def test_few_recordings_are_under_way_at_a_time():
    workers = Here(done, places=3)
    told = []
    ended = list(drive(recordings(50), workers, 0, lambda count, words: told.append(count)))
    assert len(ended) == 50 and told[-1] == 50 and told == sorted(told)
    assert workers.most_at_a_time <= 2 * AHEAD * 3  # two objects each


def test_no_more_tasks_are_begun_than_may_be():
    workers = Here(done, places=3, limit=2)
    assert len(list(drive(recordings(9), workers, 0))) == 9
    assert workers.most_at_a_time == 2


def test_no_recordings_are_no_work():
    assert list(drive([], Here(done), 0)) == []
