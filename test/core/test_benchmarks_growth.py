"""The tables of growth: fitted exponents, and what they are fitted to."""

import itertools
import math

import pytest

from benchmarks.growth import AXES, BASE, STAGES, processor_times
from benchmarks.growth_tables import association, exponent, growth
from instascene_core.scene import stages


def test_the_exponent_is_that_of_the_times():
    sizes = [10, 20, 40, 80]
    assert exponent(sizes, [0.3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [2.0, 2.0, 2.0, 2.0]) == pytest.approx(0.0)
    assert math.isnan(exponent(sizes, [0.01, 0.01, 0.02, 0.03]))  # too short to tell


def test_each_axis_doubles_three_times_and_holds_the_base():
    for axis, values in AXES.items():
        assert len(values) == 4 and BASE[axis] in values
        assert all(later == 2 * value for value, later in itertools.pairwise(values))


def test_the_page_tells_seconds_and_exponents_by_stage():
    rows = [
        {"axis": "frames", "value": n, "mark": "", "instances": 3, "completed": 2,
         "cpu_seconds": {"masks": 0.1 * n, "depth": 0.001, "complete": 4.0}}
        for n in (10, 20, 40, 80)
    ]  # fmt: skip
    page = growth({"runs": rows})
    assert "| masks | 1.00 | 2.00 | 4.00 | 8.00 | 1.00 |" in page
    assert "| complete, an object | 2.00 | 2.00 | 2.00 | 2.00 | 0.00 |" in page
    assert "| objects found | 3 | 3 | 3 | 3 | – |" in page
    assert "| depth | 0.00 | 0.00 | 0.00 | 0.00 | – |" in page


def test_clustering_is_held_against_n_log_n():
    sizes = {frames: 30 * frames * math.log(30 * frames) for frames in (60, 100, 200, 500)}
    rows = [
        {"clustering": "votes", "frames": f, "masks": 30, "cpu_seconds": 1e-5 * n, "mark": " †"}
        for f, n in sizes.items()
    ]
    oracle = {"ms": 4.0, "ratio": 30.0, "same_groups": True, "mark": ""}
    facts = {"frames": 100, "objects": 30, "gaussians": 100_000, "runs": [], "oracle": oracle}
    assert "| votes † | 0.13 | 0.24 | 0.52 | 1.44 | 1.00 |" in association({**facts, "growth": rows})


def test_stages_note_their_processor_time():
    seconds: dict[str, float] = {}
    before = stages.timed
    with processor_times(seconds), stages.timed(STAGES[0], {"seconds": {}}):
        sum(range(200_000))
    assert stages.timed is before and 0 < seconds[STAGES[0]] < 5
