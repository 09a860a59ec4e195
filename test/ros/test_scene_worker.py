"""The worker that owns the scene: what it publishes after which jobs, and what a cancelled one leaves."""

from types import SimpleNamespace

import numpy as np
import pytest

from instascene_core.errors import Cancelled, InputError
from instascene_ros.error_log import ErrorLog
from instascene_ros.scene_worker import SceneWorker


class StandInScene(SimpleNamespace):
    """The attributes of a Scene that a snapshot is made of."""

    def __init__(self, **changes) -> None:
        empty = {"frames": [], "gaussians": None, "instances": None, "objects": {}, "device": "cpu"}
        empty["world_offset"] = np.zeros(3)
        empty["state"] = SimpleNamespace(changes=())
        super().__init__(**{**empty, "metrics": {"psnr": 20.0, "seconds": {}}, **changes})


@pytest.fixture
def published():
    return []


@pytest.fixture
def worker(published):
    scene = StandInScene(gaussians="old", instances="old", objects={1: "old"})
    worker = SceneWorker(scene, ErrorLog(), published.append, work_ahead=False)
    worker.start()
    yield worker
    assert worker.stop(5.0)


def test_every_job_ends_with_a_new_snapshot(worker, published):
    def work(progress):
        worker.scene.gaussians = "new"
        return 7

    assert worker.submit("job", work).result(5) == 7
    assert worker.snapshot is published[-1] and worker.snapshot.gaussians == "new"


def test_also_one_that_fails(worker, published):
    def work(progress):
        worker.scene.gaussians = "new"
        raise InputError("No.")

    with pytest.raises(InputError, match="No"):
        worker.submit("job", work).result(5)
    assert published[-1].gaussians == "new"


def test_who_cancels_is_told_what_has_changed_by_then(worker, published):
    def nothing(progress):
        raise Cancelled

    def half(progress):
        worker.scene.gaussians, worker.scene.objects = "new", {1: "new"}
        raise Cancelled

    with pytest.raises(Cancelled, match=r"^Cancelled; the scene is as it was before\.$"):
        worker.submit("job", nothing).result(5)
    with pytest.raises(Cancelled, match=r"these have changed: Gaussians, completed objects\.$"):
        worker.submit("job", half).result(5)
    assert published[-1].gaussians == "new"


def test_another_scene_has_no_selection(worker, published):
    worker.selected = 1
    other = StandInScene()
    worker.submit("load", lambda progress: worker.replace_scene(other)).result(5)
    assert worker.scene is other and worker.snapshot.selected == 0 and published[-1].instances is None


def test_idle_time_goes_into_the_scene_there_is():
    seen = []
    scene = StandInScene(work_ahead=lambda seconds: seen.append(seconds) or len(seen) < 3)
    worker = SceneWorker(scene, ErrorLog(), lambda snapshot: None)
    worker.start()
    worker.submit("job", lambda progress: None).result(5)
    assert worker.stop(5.0)  # after the slices, or in between
    assert 1 <= len(seen) <= 3 and all(0 < seconds < 1 for seconds in seen)
