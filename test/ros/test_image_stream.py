"""Losses and restarts that the stamps of a camera's images tell."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from instascene_ros.image_stream import ImageStream, pose_jump


def heard(stamps) -> ImageStream:
    stream = ImageStream()
    for stamp in stamps:
        stream.add(float(stamp))
    return stream


def test_gaps_in_a_steady_stream_are_lost_images():
    stamps = np.arange(100) / 30 + np.random.default_rng(0).uniform(-0.002, 0.002, 100)
    gone = [40, 41, 42, 60, 77, 78]
    assert heard(np.delete(stamps, gone)).lost == len(gone)
    assert heard(stamps).lost == 0


def test_an_image_that_was_overtaken_is_not_lost():
    stamps = list(np.arange(40) / 30)
    stamps[30], stamps[31] = stamps[31], stamps[30]
    assert heard(stamps).lost == 0


def test_pauses_and_cameras_without_a_period_lose_nothing():
    paused = [*np.arange(30) / 30, *(20 + np.arange(30) / 30)]
    assert heard(paused).lost == 0
    irregular = np.cumsum(np.random.default_rng(1).exponential(0.2, 200))
    assert heard(irregular).lost == 0
    assert heard([0.0, 0.1, 0.2, 0.9]).lost == 0  # too few to know


def test_a_clock_that_goes_back_is_told_from_an_overtaken_image():
    stream = heard([10.0, 10.1, 10.2])
    assert stream.restarts_at(10.1) is None and stream.restarts_at(11.0) is None
    assert stream.restarts_at(0.0) == pytest.approx(10.2)
    stream.restart()
    assert stream.restarts_at(0.0) is None


@pytest.mark.parametrize(
    ("shift", "degrees", "seconds", "words"),
    [
        (0.05, 5.0, 0.033, ""),
        (0.3, 30.0, 0.2, ""),  # quick, but a person can
        (2.0, 90.0, 5.0, ""),  # after a pause anything goes
        (0.25, 0.0, 0.033, "moved by 0.25 m within 0.033 s"),
        (0.0, 40.0, 0.033, "turned by 40° within 0.033 s"),
    ],
)
def test_a_camera_that_is_elsewhere_all_at_once(shift, degrees, seconds, words):
    after = np.eye(4)
    after[0, 3] = shift
    after[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    assert pose_jump(np.eye(4), after, seconds) == words
