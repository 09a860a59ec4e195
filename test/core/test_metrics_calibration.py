"""Calibration, sharpness and ranking of probabilities."""

import itertools
import math

import numpy as np
import pytest

from instascene_core.metrics.calibration import (
    area_under_roc,
    brier_score,
    calibration_error_by_chance,
    expected_calibration_error,
    precision_from,
    reliability,
)


def test_reliability_by_hand():
    rows = reliability(np.array([0.05, 0.15, 0.19, 1.0]), np.array([0, 1, 0, 1], dtype=bool))
    assert [row.count for row in rows] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (rows[1].predicted, rows[1].true) == (pytest.approx(0.17), 0.5) and math.isnan(rows[2].true)
    assert (rows[9].low, rows[9].high, rows[9].true) == (0.9, 1.0, 1.0)  # 1 belongs to the last


def test_calibration_error_by_hand():
    probability, true = np.array([0.05, 0.15, 0.19, 1.0]), np.array([0, 1, 0, 1], dtype=bool)
    assert expected_calibration_error(probability, true) == pytest.approx((0.05 + 2 * 0.33 + 0) / 4)
    assert brier_score(probability, true) == pytest.approx((0.05**2 + 0.85**2 + 0.19**2) / 4)
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0)))
    assert math.isnan(brier_score(np.zeros(0), np.zeros(0)))


def test_what_is_drawn_by_its_probability_is_calibrated():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=20_000)
    true = rng.uniform(size=len(probability)) < probability
    assert expected_calibration_error(probability, true) < 0.015
    assert expected_calibration_error(probability**2, true) > 0.1


def test_few_predictions_that_are_right_have_an_error_by_chance():
    assert calibration_error_by_chance(np.array([0.0, 1.0, 1.0])) == 0
    assert calibration_error_by_chance(np.array([0.5])) == pytest.approx(0.5)
    rng = np.random.default_rng(2)
    few, many = (calibration_error_by_chance(rng.uniform(size=n), draws=100) for n in (40, 4000))
    assert many < 0.03 < 0.08 < few


def test_area_under_roc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 6, 40).astype(float), rng.uniform(size=40) < 0.4  # with ties
    pairs = itertools.product(score[positive], score[~positive])
    share = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert area_under_roc(score, positive) == pytest.approx(share)
    assert math.isnan(area_under_roc(score, np.ones(40, bool)))


def test_precision_from_a_threshold_on():
    probability, true = np.array([0.2, 0.5, 0.9, 0.7]), np.array([0, 1, 1, 0], dtype=bool)
    rows = precision_from(probability, true, (0.0, 0.5, 0.95))
    assert rows[0] == (0.0, 4, 0.5, 1.0) and rows[1] == (0.5, 3, pytest.approx(2 / 3), 1.0)
    assert rows[2][1] == 0 and math.isnan(rows[2][2]) and rows[2][3] == 0.0
