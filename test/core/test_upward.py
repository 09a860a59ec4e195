"""Which way is up, in worlds of every convention."""

import json
import logging

import numpy as np
import pytest
from recorded_room import CAMERA, view
from recorded_room import recording as views
from recordings_table import recording
from scipy.spatial.transform import Rotation

from instascene_core import cli
from instascene_core.config import Config
from instascene_core.config.segmentation import SupportConfig
from instascene_core.config_file import load_config
from instascene_core.errors import InputError
from instascene_core.export.saved_scene import write_recording
from instascene_core.scene import Scene
from instascene_core.segmentation import find_support_and_up
from instascene_core.segmentation.upward import upward_of
from instascene_core.transforms import look_at

Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # world_from_room: the room's z becomes y
Y_DOWN = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # as COLMAP's worlds often are
ANY = Rotation.from_euler("xyz", [130, 25, 70], degrees=True).as_matrix()


def in_world(frames, rotation: np.ndarray):
    """The frames in a world turned so that the room's z is `rotation`'s third column."""
    world = np.eye(4)
    world[:3, :3] = rotation
    return [frame.with_(world_from_camera=world @ frame.world_from_camera) for frame in frames]


def rolled(frames, degrees: float, noise: float = 0.0):
    """The cameras turned about their optical axes: the images are shot anew, so that all of it fits."""
    rng = np.random.default_rng(3)
    turned = []
    for index, frame in enumerate(frames):
        angle = np.radians(degrees + noise * rng.standard_normal())
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turned.append(view(index, frame.world_from_camera @ turn, CAMERA))
    return turned


def degrees_between(one, other) -> float:
    return float(np.degrees(np.arccos(np.clip(np.dot(one, other), -1, 1))))


def found(frames, given="auto"):
    return find_support_and_up(frames, given)


@pytest.mark.parametrize("degrees", [0.0, 10.0, -15.0])
def test_a_world_that_is_z_up_stays_so_exactly(degrees, caplog):
    with caplog.at_level(logging.WARNING):
        support, up = found(rolled(views(), degrees, noise=3.0))
    np.testing.assert_array_equal(up.direction, [0, 0, 1])
    assert "convention" in up.source and up.warning == "" and caplog.text == ""
    assert degrees_between(support.plane.normal, [0, 0, 1]) < 1


def test_cameras_held_on_their_side(caplog):
    """Portrait phones in a world that is z-up, and in one that is not."""
    for side in (90.0, -90.0):
        frames = rolled(views(), side)
        assert found(frames)[1].direction.tolist() == [0, 0, 1]
        support, up = found(in_world(frames, ANY))
        assert degrees_between(up.direction, ANY[:, 2]) < 1
        assert degrees_between(support.plane.normal, ANY[:, 2]) < 1


@pytest.mark.parametrize(
    ("rotation", "exact"), [(Y_UP, [0, 1, 0]), (Y_DOWN, [0, -1, 0]), (ANY, None), (ANY.T, None)], ids=str
)
def test_other_worlds(rotation, exact):
    """The plane that things stand on tells; a world's axis that is all but it is taken exactly."""
    support, up = found(in_world(views(), rotation))
    assert degrees_between(up.direction, rotation[:, 2]) < 1 and "support plane" in up.source
    assert support.plane is not None and degrees_between(support.plane.normal, rotation[:, 2]) < 1
    if exact is not None:
        np.testing.assert_array_equal(up.direction, exact)
    told = up.as_dict()
    assert told["from"] == up.source and len(told["direction"]) == 3


def test_cameras_without_a_plane_tell_and_say_so():
    frames = in_world(views(), ANY)
    poses = np.stack([frame.world_from_camera for frame in frames])
    up = upward_of(poses, [], np.zeros(0), SupportConfig())
    assert degrees_between(up.direction, ANY[:, 2]) < 1e-3
    assert up.source == "the cameras" and "set `up`" in up.warning
    # Neither cameras nor planes: one that looks straight down could be turned any way.
    up = upward_of(look_at(np.array([0, 0, 1.0]), np.zeros(3))[None], [], np.zeros(0), SupportConfig())
    assert up.direction.tolist() == [0, 0, 1]


def test_disagreement_is_said(caplog):
    """A slope: cameras held level, and all that is flat tilted by 22° against them."""
    tilt = Rotation.from_euler("x", 22, degrees=True).as_matrix()
    frames = []
    for index, angle in enumerate(np.radians(np.linspace(0, 150, 10))):
        eye = 0.9 * np.array([np.cos(angle) * 0.75, np.sin(angle) * 0.75, 0.66])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = tilt.T @ look_at(tilt @ eye, np.zeros(3))[:3, :3], eye
        frames.append(view(index, pose, CAMERA))
    # In the room the cameras are held level against tilt.T's z, not against the floor.
    with caplog.at_level(logging.WARNING):
        _, up = found(in_world(frames, ANY))
    assert degrees_between(up.direction, ANY[:, 2]) < 1
    assert "22° off" in up.warning and up.warning in caplog.text


def test_a_given_direction_is_taken_and_a_wrong_one_is_said(caplog):
    frames = in_world(views(), Y_UP)
    with caplog.at_level(logging.WARNING):
        assert found(frames, (0.0, 2.0, 0.0))[1].direction.tolist() == [0, 1, 0]
    assert caplog.text == ""
    _, up = found(frames, (0.0, 0.0, 1.0))
    assert up.direction.tolist() == [0, 0, 1] and "90° off" in up.warning
    support, up = found(frames, ())
    assert up.direction is None and degrees_between(support.plane.normal, [0, 1, 0]) < 1


def test_one_camera_tells_little():
    """From a single place nothing is sharp: z stays while it is possible at all."""
    _, up = found(views(1))
    assert up.direction.tolist() == [0, 0, 1]
    _, up = found(in_world(views(1), Y_UP))
    assert degrees_between(up.direction, [0, 1, 0]) < 1


def test_the_setting():
    assert Config().up == "auto" and load_config(None, ("up=[0, 1, 0]",)).up == (0, 1, 0)
    assert load_config(None, ("up=auto",)).up == "auto" and load_config(None, ("up=[]",)).up == ()
    for wrong in ("up=sideways", "up=[0, 0]", "up=[0, 0, 0]", "up=3"):
        with pytest.raises(InputError, match="'up'"):
            load_config(None, (wrong,))


FAST = ("--set", "reconstruction.iterations=60", "--set", "reconstruction.max_gaussians=5000")


def up_by_the_command(typed: str, folder) -> dict:
    """What the metrics say of up once the words of a row were run on a room that is y-up."""
    write_recording(folder / "in", in_world(views(), Y_UP))
    words = typed.replace("INPUT", str(folder / "in")).replace("OUT", str(folder / "out")).split()[1:]
    cli.main([*words, *FAST, "--stop-after", "segment"])
    return json.loads((folder / "out" / "metrics.json").read_text())["up"]


@recording("poses in a world that is y-up, or turned anyhow")
def test_what_to_type(typed, tmp_path):
    told = up_by_the_command(typed, tmp_path)
    assert told["direction"] == [0, 1, 0] and "support plane" in told["from"]


@recording("the same, up known")
def test_what_to_type_where_up_is_known(typed, tmp_path):
    told = up_by_the_command(typed, tmp_path)
    assert told["direction"] == [0, 1, 0] and told["from"] == "the setting `up`"


def test_a_whole_scene_that_is_y_up():
    """The objects' own frames stand upright, and what was taken for up is noted."""
    frames = in_world(views(), Y_UP)
    scene = Scene(load_config(None, FAST[1::2]))
    for frame in frames:
        scene.add_frame(frame)
    scene.segment()
    assert scene.metrics["up"]["direction"] == [0, 1, 0]
    np.testing.assert_array_equal(scene.state.decomposition.up, [0, 1, 0])
    assert len(scene.instances.objects) >= 3
    made = scene.complete(scene.instances.objects[0].id, num_samples=1)
    np.testing.assert_allclose(made.world_from_object[:3, 2], [0, 1, 0], atol=1e-6)
