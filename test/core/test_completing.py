"""Objects completed side by side: in order, told and cancelled by the caller's thread, with the same bits."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from completion_scene import orbit, render, table_mesh
from trimesh.creation import box, cylinder, icosphere

from instascene_core.completion import complete
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ObservingConfig
from instascene_core.errors import Cancelled, InputError
from instascene_core.progress import no_progress
from instascene_core.scene.completing import complete_each

TWO = CompletionConfig(at_once=2)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2  # whatever ran in the workers
    torch.set_num_threads(before)


def test_two_are_made_at_a_time_and_taken_in_order():
    both, taken, here = threading.Barrier(2, timeout=20), [], threading.current_thread()

    def make(number, report):
        if number <= 2:
            both.wait()  # each waits for the other: they are made side by side
        return number

    def take(thing):
        assert threading.current_thread() is here
        taken.append(thing)

    assert complete_each([1, 2, 3], make, take, TWO, no_progress) == {}
    assert taken == [1, 2, 3]


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_cannot_be_completed_is_told_and_the_rest_goes_on(at_once):
    def make(number, report):
        if number == 2:
            raise InputError("Too little of it was seen.")
        return number

    taken = []
    failures = complete_each([1, 2, 3], make, taken.append, replace(TWO, at_once=at_once), no_progress)
    assert (taken, failures) == ([1, 3], {2: "Too little of it was seen."})


@pytest.mark.parametrize("at_once", [1, 2])
def test_progress_of_all_grows_to_one_in_the_callers_thread(at_once):
    here, told = threading.current_thread(), []

    def progress(stage, fraction, message=""):
        assert threading.current_thread() is here
        told.append((fraction, message))

    def make(number, report):
        for fraction in (0.0, 0.5, 1.0):
            report("complete", fraction, "meshing")
        return number

    complete_each([4, 5, 6], make, lambda thing: None, replace(TWO, at_once=at_once), progress)
    fractions = [fraction for fraction, _ in told]
    assert len(told) == 9 and fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    assert {message for _, message in told} == {f"object {k}: meshing" for k in (4, 5, 6)}


def test_a_cancel_stops_the_others_and_keeps_what_is_complete():
    second_done, stopped, taken = threading.Event(), [], []

    def make(number, report):
        if number == 2:
            second_done.set()
            return number
        assert second_done.wait(20)
        try:
            while True:
                report("complete", 0.5)
        except Cancelled:
            stopped.append(number)
            raise

    def progress(stage, fraction, message=""):
        raise Cancelled

    with pytest.raises(Cancelled):
        complete_each([1, 2, 3], make, taken.append, TWO, progress)
    assert taken == [2]  # of 1 it was asked too early, 3 was stopped or never begun
    assert 1 in stopped


def test_an_error_of_one_is_raised_and_the_complete_ones_stay():
    taken = []

    def make(number, report):
        if number == 2:
            raise MemoryError("not enough")
        return number

    with pytest.raises(MemoryError):
        complete_each([1, 2], make, taken.append, TWO, no_progress)
    assert taken == [1]


def test_priors_that_want_everything_get_it_alone():
    here = threading.current_thread()

    def make(number, report):
        assert threading.current_thread() is here
        return number

    complete_each([1, 2], make, lambda thing: None, replace(TWO, prior="multiview"), no_progress)


def test_the_same_bits_side_by_side():
    bodies = [box((0.06, 0.05, 0.04)), cylinder(0.025, 0.06), icosphere(radius=0.03)]
    for k, body in enumerate(bodies):
        body.apply_translation((0.12 * k - 0.12, 0, -body.bounds[0][2]))
    frames = render([table_mesh(), *bodies], orbit(6, (40,)))
    config = CompletionConfig(observing=ObservingConfig(max_voxels=60_000))

    def made(at_once):
        found = []
        complete_each(
            [2, 3, 4],
            lambda number, report: complete(frames, number, None, config, progress=report),
            found.append, replace(config, at_once=at_once), no_progress,
        )  # fmt: skip
        return found

    for one, other in zip(made(1), made(2), strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
        np.testing.assert_array_equal(one.colors, other.colors)
        assert len(one.convex_parts) == len(other.convex_parts)
        for a, b in zip(one.convex_parts, other.convex_parts):
            np.testing.assert_array_equal(a.vertices, b.vertices)
