"""The check of a recording: silent where it is right, and the reading that helps where it is not."""

import re

import numpy as np
import pytest
from recorded_room import CAMERA, recording

from benchmarks import plausibility_damage as damage
from benchmarks.plausibility import named_rightly
from instascene_core import plausibility
from instascene_core.config_file import load_config
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_core.plausibility import ALTERNATIVE, RIGHT, UNCLEAR, UNKNOWN, examine, verdict
from instascene_core.pose_conventions import OURS, POSE_CONVENTIONS, matrices_in, poses_from, read_as
from instascene_core.progress import no_progress
from instascene_core.scene import Reconstruction, Scene
from instascene_core.scene.begun import BegunWork, Limits
from instascene_core.scene.checking import RecordingCheck
from instascene_core.transforms import OPENGL_FROM_OPENCV, inverse

PERIOD = 0.1  # seconds between the frames of a recording


@pytest.fixture(scope="module")
def deep():
    return recording()


@pytest.fixture(scope="module")
def flat():
    """Images alone, large enough for features."""
    return [f.with_(depth=None) for f in recording(12, CAMERA.resized(320, 240))]


# ── conventions ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", POSE_CONVENTIONS)
def test_conventions_are_undone_and_stay_rigid(deep, name):
    poses = damage.poses_of(deep)
    matrices = matrices_in(poses, name)
    np.testing.assert_allclose(poses_from(matrices, name), poses, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrices[:, :3, :3]), 1)


def test_conventions_by_hand(deep):
    pose = deep[3].world_from_camera
    np.testing.assert_allclose(matrices_in(pose, "opengl-c2w"), pose @ OPENGL_FROM_OPENCV)
    np.testing.assert_allclose(matrices_in(pose, "opencv-w2c"), inverse(pose))
    # A body looks along its x, its left is y: column 0 is where the camera looks.
    body = matrices_in(pose, "ros-c2w")
    np.testing.assert_allclose(body[:3, :3].T, [pose[:3, 2], -pose[:3, 0], -pose[:3, 1]], atol=1e-12)
    # Unity: a point ahead and above in the left-handed camera is at the mirrored place of the mirrored world.
    flip = np.diag([1.0, -1, 1])
    there = pose[:3, :3] @ [0.1, -0.2, 1] + pose[:3, 3]
    unity = matrices_in(pose, "unity-c2w")
    np.testing.assert_allclose(flip @ (unity[:3, :3] @ [0.1, 0.2, 1] + unity[:3, 3]), there)


def test_an_unknown_convention_is_refused():
    with pytest.raises(InputError, match="opengl-c2w"):
        Corrections(pose_convention="opengl")


# ── what is right passes ──────────────────────────────────────────────────────────────────────────


def test_what_is_right_passes_without_a_word(deep, flat):
    for frames in (deep, flat, deep[:2], deep[::4]):
        found = examine(frames)
        assert found.outcome in (RIGHT, UNKNOWN) and not found.sentence, found
    assert examine(deep).outcome == examine(flat).outcome == RIGHT


def test_poses_some_pixels_off_are_right(deep, flat):
    rng = np.random.default_rng(0)
    for frames in (deep, flat):
        assert examine(damage.with_pose_noise(frames, 4, rng)).sentence == ""


def test_far_from_the_origin_is_right(deep):
    poses = damage.poses_of(deep)
    poses[:, :3, 3] += [5e5, 5.4e6, 100]
    assert examine(damage.with_poses(deep, poses)).outcome == RIGHT


def test_a_camera_that_stands_still_with_its_poses_is_right(deep):
    still = [deep[0].with_(name=f"s{i}", stamp=float(i)) for i in range(6)]
    assert examine(still).outcome == RIGHT
    turned = examine([f.with_(depth=None) for f in still])
    assert turned.outcome in (UNCLEAR, UNKNOWN) and turned.correction is None


def test_frames_without_anything_to_see_are_not_judged(deep):
    blank = [f.with_(rgb=np.zeros_like(f.rgb), depth=None) for f in deep]
    assert examine(blank) == plausibility.Verdict(UNKNOWN)
    assert examine(deep[:1]).outcome == UNKNOWN


# ── what is not is named ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("spoil", (*damage.OF_POSES, *damage.OF_DEPTH), ids=lambda f: f.__name__)
def test_damage_is_named_with_what_undoes_it(deep, spoil, seed):
    spoilt = spoil(deep, np.random.default_rng(seed))
    found = examine(spoilt.frames)
    assert named_rightly(found, spoilt, PERIOD, CAMERA.width), (spoilt.name, spoilt.value, found)
    assert found.outcome == (UNCLEAR if spoilt.name == verdict.NONE_FITS else ALTERNATIVE)
    # One sentence, with the option where there is one.
    assert re.fullmatch(r"[A-Z].*[^.]\.", found.sentence) and ". " not in found.sentence
    if found.correction is None:
        return
    assert "--" in found.sentence
    if spoilt.name != verdict.TIME:  # a reader's work
        poses = found.correction.poses(damage.poses_of(spoilt.frames), OURS)
        fixed = [found.correction.depth_of(f) for f in damage.with_poses(spoilt.frames, poses)]
        assert examine(fixed, found.correction).outcome == RIGHT


@pytest.mark.parametrize(
    "spoil", [damage.convention, damage.time_offset, damage.no_translation, damage.other_recording]
)
def test_images_alone_tell_it_too(flat, spoil):
    spoilt = spoil(flat, np.random.default_rng(2))
    assert named_rightly(examine(spoilt.frames), spoilt, PERIOD, 320)


def test_the_sentence_speaks_of_the_file(deep):
    """Not of our matrices: what the file's convention is called, and what was given already."""
    as_opengl = read_as(damage.poses_of(deep), "opencv-c2w", "opengl-c2w")  # an OpenCV file read as OpenGL
    found = examine(damage.with_poses(deep, as_opengl), Corrections(pose_convention="opengl-c2w"))
    assert "read as opengl-c2w" in found.sentence and "--pose-convention opencv-c2w" in found.sentence
    in_mm = [f.with_(depth=1000 * f.require_depth()) for f in deep]
    found = examine(in_mm, Corrections(depth_scale=0.5))
    assert "--depth-scale 0.0005" in found.sentence and found.name == verdict.DEPTH_UNIT


# ── in a scene ────────────────────────────────────────────────────────────────────────────────────


def scene_of(frames, check: str) -> Scene:
    scene = Scene(load_config(overrides=[f"plausibility.check={check}"]))
    for frame in frames:
        scene.add_frame(frame)
    return scene


def test_a_scene_stops_warns_or_does_not_look(deep, caplog):
    wrong = damage.with_poses(deep, read_as(damage.poses_of(deep), "opengl-c2w", OURS))
    stopping = scene_of(wrong, "stop")
    with pytest.raises(InputError, match="--pose-convention opengl-c2w"):
        stopping.run("reconstruct")
    assert stopping.gaussians is None
    warned = scene_of(wrong, "warn").check_plausibility()
    assert warned is not None and "opengl-c2w" in warned.as_dict()["warning"] and "opengl-c2w" in caplog.text
    assert scene_of(wrong, "skip").check_plausibility() is None
    good = scene_of(deep, "stop")
    assert good.check_plausibility() is good.check_plausibility()  # asked once for the same frames


def test_the_warning_is_in_the_metrics(deep, monkeypatch):
    """Where nothing known fits the job goes on, and says so in what it leaves."""
    doubtful = damage.other_recording(deep, np.random.default_rng(0)).frames
    made = Reconstruction(tuple(doubtful), gaussians=None)  # what is made of them does not matter here
    monkeypatch.setattr("instascene_core.scene.begun.reconstruct", lambda *_, **__: made)
    scene = scene_of(doubtful, "stop")
    verdict = scene.check_plausibility()
    state = BegunWork().explain(scene.state, scene.config, no_progress, Limits(), verdict)
    noted = state.metrics["plausibility"]
    assert noted["outcome"] == UNCLEAR and "do not fit the images" in noted["warning"]


# ── equal poses, slow cameras, oblique shifts ─────────────────────────────────────────────────────


def test_equal_poses_of_a_slow_camera_are_named(deep):
    """Images that hardly move agree with one pose by more than half, but not as those of one place do."""
    slow = [deep[0], deep[0].with_(name="b", stamp=1.0), deep[1].with_(name="c", stamp=2.0)]
    found = examine(damage.with_poses(slow, np.stack([deep[0].world_from_camera] * 3)))
    assert (found.outcome, found.name) == (ALTERNATIVE, verdict.SAME_POSES) and found.agreement > 0.55


def test_equal_poses_of_images_that_cannot_be_compared_are_told(flat):
    """Without depth nothing can be reconstructed from one place, whatever the images show."""
    blank = [f.with_(rgb=np.full_like(f.rgb, 90), world_from_camera=flat[0].world_from_camera) for f in flat]
    found = examine(blank)
    assert (found.outcome, found.name) == (UNCLEAR, verdict.SAME_POSES)
    assert found.sentence.startswith(f"All {len(flat)} poses are the same") and "depth" in found.sentence


def test_a_scale_that_a_depth_camera_is_off_by_is_no_other_reading(deep):
    off = [f.with_(depth=np.float32(0.96) * f.require_depth()) for f in deep]
    assert examine(off).outcome != ALTERNATIVE


@pytest.mark.parametrize("shift", [(4, 4), (-4, 4), (17, 0)])
def test_a_depth_shift_counts_by_its_length(deep, shift):
    spoilt = [f.with_(depth=np.roll(f.require_depth(), shift, (0, 1))) for f in deep]
    found = examine(spoilt)
    assert found.name == verdict.DEPTH_SHIFT and found.correction is not None
    assert np.abs(np.add(found.correction.depth_shift, shift[::-1])).max() <= 0.02 * CAMERA.width


def test_depth_that_is_empty_is_no_recording_of_colours_alone(deep):
    assert examine([frame.with_(depth=None) for frame in deep]).name != verdict.EMPTY_DEPTH
    empty = [frame.with_(depth=np.zeros_like(frame.require_depth())) for frame in deep]
    found = examine([*empty[:-1], deep[-1]])
    assert (found.outcome, found.name) == (UNCLEAR, verdict.EMPTY_DEPTH)
    assert found.sentence.startswith(f"{len(deep) - 1} of {len(deep)} depth images hold no measurement")
    assert examine([*empty[:2], *deep[2:]]).outcome == RIGHT  # some failed: told by nobody, harms nobody


def test_images_of_which_nothing_may_be_looked_at_are_refused(deep):
    nothing = [frame.without(np.ones(frame.rgb.shape[:2], bool)) for frame in deep]
    for check in ("stop", "skip"):
        asked = RecordingCheck(load_config(None, [f"plausibility.check={check}"]).plausibility)
        with pytest.raises(InputError, match=f"all {len(deep)} images is to be ignored"):
            asked.verdict(nothing, Corrections())
        asked.verdict([deep[0], *nothing[1:]], Corrections())  # something is left
