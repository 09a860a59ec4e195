"""A scene follows what happens to its things: new frames of a hand-made scene in which boxes move."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from click_scene import (
    BACKGROUND,
    BLUE,
    BOX,
    PLACES,
    RED,
    RED_LID,
    SUPPORT,
    decomposed_scene,
    disks,
    frames,
    labels_of,
)
from scipy.spatial.transform import Rotation

from instascene_core.errors import Cancelled
from instascene_core.geometry import TriangleMesh
from instascene_core.objects import CompletedObject
from instascene_core.scene.background.disks import join, select
from instascene_core.scene.depth_bend import DepthBend, without_bend
from instascene_core.scene.following import APPEARED, LEFT, MOVED
from instascene_core.scene.following.changing import moved_gaussians

MIDDLE = np.array([0.0, 0.0, BOX / 2])


@pytest.fixture
def scene():
    return decomposed_scene()[0]


def parts() -> dict[int, object]:
    """The disks of each thing as it stands."""
    model, owner = disks()
    labels = labels_of(owner)
    return {number: select(model, np.flatnonzero(labels == number)) for number in np.unique(labels)}


def motion_of(shift=(0.0, 0.0, 0.0), degrees: float = 0.0, about=MIDDLE) -> np.ndarray:
    """[4, 4]: turned about the vertical through a point, then moved."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    motion[:3, 3] = about - motion[:3, :3] @ about + shift
    return motion


def shown(things, count: int = 6, first: int = 100):
    """New frames of these disks: names and stamps go on after those of the scene."""
    views = frames(join(*(part.with_features(None) for part in things)), count)
    return [v.with_(name=f"new{first + k}", stamp=float(first + k)) for k, v in enumerate(views)]


def feed(scene, views) -> tuple:
    for view in views:
        scene.add_frame(view)
    return scene.follow()


def labels_near(scene, place, reach: float = 0.04) -> set[int]:
    """Ids of the Gaussians around a place above the table."""
    means, labels = scene.gaussians.means.numpy(), scene.instances.gaussian_labels
    near = np.linalg.norm(means - place, axis=1) < reach + BOX / 2
    return set(labels[near & (means[:, 2] > 0.015)].tolist())


def cube(place) -> CompletedObject:
    import trimesh

    mesh = trimesh.creation.box((BOX, BOX, BOX)).subdivide_to_size(0.01)
    colors = np.where((mesh.vertices[:, 2] > 0.499 * BOX)[:, None], (230, 230, 230), (204, 26, 26))
    mesh.apply_translation((*place, BOX / 2))
    pose = np.eye(4)
    pose[:2, 3] = place
    count = len(mesh.vertices)
    return CompletedObject(
        RED,
        TriangleMesh(np.array(mesh.vertices), np.array(mesh.faces)),
        colors.astype(np.uint8),
        np.ones(count, np.float32),
        np.zeros(count, np.float32),
        pose,
        np.full(3, BOX),
        True,
        BOX**3,
        1.0,
        0.0,
        0.9,
        "test",
        0.0,
        next_best_view=np.eye(4),
    )


def test_where_nothing_happened_nothing_changes(scene):
    before = scene.state
    assert feed(scene, shown(parts().values())) == ()
    assert scene.instances.instances == before.instances.instances
    assert torch.equal(scene.gaussians.means, before.gaussians.means)
    assert len(scene.state.decomposition.views) == len(before.decomposition.views) + 6
    assert all(frame.valid is None for frame in scene.frames)
    assert scene.follow() == () and scene.state.changes == ()  # each frame is looked at once


def test_a_thing_that_left_takes_nothing_with_it(scene):
    things = parts()
    del things[BLUE]
    stays = shown(parts().values(), 3)
    (change,) = feed(scene, [*stays, *shown(things.values(), 5, first=103)])
    assert (change.kind, change.instance_id, change.stamp) == (LEFT, BLUE, 103.0)
    assert [i.id for i in scene.instances.objects] == [RED]
    assert BLUE not in labels_near(scene, (*PLACES[BLUE], BOX / 2))
    # Frames of before no longer tell of it, also those that came with the news.
    for frame in scene.frames:
        on_blue = (frame.rgb[..., 2] > 150) & (frame.rgb[..., 0] < 60)
        assert not on_blue.any() or not frame.valid[on_blue].any(), frame.name
    assert scene.state.changes == (change,)


def test_a_thing_that_moved_keeps_its_id_and_its_mesh(scene):
    motion = motion_of((-0.06, -0.16, 0), 40, about=np.array([*PLACES[RED], 0]))
    scene.state = scene.state.with_object(cube(PLACES[RED]), {})
    mesh = scene.objects[RED].mesh
    things = parts()
    things[RED] = moved_gaussians(things[RED], motion)
    (change,) = feed(scene, shown(things.values()))
    assert (change.kind, change.instance_id) == (MOVED, RED)
    # A box of one colour looks the same after a quarter turn; where its corners come tells.
    off = np.linalg.inv(motion) @ change.motion
    middle = np.array([*PLACES[RED], BOX / 2, 1])
    assert np.linalg.norm((off @ middle - middle)[:3]) < 0.003
    turn = np.degrees(np.arctan2(off[1, 0], off[0, 0]))
    assert abs((turn + 45) % 90 - 45) < 2 and off[2, 2] > 0.999
    result = scene.objects[RED]
    np.testing.assert_allclose(
        result.mesh.vertices, mesh.vertices @ change.motion[:3, :3].T + change.motion[:3, 3]
    )
    np.testing.assert_allclose(result.world_from_object, change.motion @ cube(PLACES[RED]).world_from_object)
    assert result.next_best_view is None
    assert {i.id for i in scene.instances.objects} == {RED, BLUE}
    box = scene.instances[RED]
    np.testing.assert_allclose((box.box_min + box.box_max)[:2] / 2, (motion @ middle)[:2], atol=0.005)
    assert RED not in labels_near(scene, (*PLACES[RED], BOX / 2), 0.0)  # no ghost
    newest = scene.state.decomposition.labelled_views[-1]
    red = (newest.rgb[..., 0] > 180) & (newest.rgb[..., 2] < 60)
    assert (newest.labels[red] == RED).mean() > 0.95


def test_a_thing_that_is_pushed_a_little_has_moved_too(scene):
    motion = motion_of((0.0, -0.03, 0))
    scene.state = scene.state.with_object(cube(PLACES[RED]), {})
    things = parts()
    things[RED] = moved_gaussians(things[RED], motion)
    (change,) = feed(scene, shown(things.values()))
    assert (change.kind, change.instance_id) == (MOVED, RED)
    middle = np.array([*PLACES[RED], BOX / 2, 1])
    assert np.linalg.norm((change.motion @ middle - motion @ middle)[:3]) < 0.003


def test_a_thing_that_appeared_gets_an_id_of_its_own_and_can_be_completed(scene):
    things = parts()
    place = motion_of((0.0, -0.16, 0), 20, about=np.array([*PLACES[BLUE], 0]))
    new = moved_gaussians(things[BLUE], place)
    highest = max(i.id for i in scene.instances.instances)
    (change,) = feed(scene, shown([*things.values(), new], 8))
    assert (change.kind, change.instance_id) == (APPEARED, highest + 1)
    result = scene.complete(change.instance_id, num_samples=1)
    assert result.watertight and result.volume == pytest.approx(BOX**3, rel=0.15)
    assert {i.id for i in scene.instances.objects} == {RED, BLUE, highest + 1}


def test_what_only_passes_by_changes_nothing_and_does_not_count(scene):
    """A hand in one frame: over the table, before the things."""
    things = parts()
    hand = moved_gaussians(things[BLUE], motion_of((-0.1, -0.1, 0.12)))
    with_hand = shown([*things.values(), hand], 6)[2].with_(name="hand", stamp=150.0)
    assert feed(scene, [with_hand, *shown(things.values(), 6, first=151)]) == ()
    frame = next(frame for frame in scene.frames if frame.name == "hand")
    plain = shown(things.values(), 6)[2]
    covered = (plain.depth > 0) & (np.abs(plain.depth - with_hand.depth) > 0.02)
    assert frame.valid is not None and frame.valid[covered].mean() < 0.1
    assert frame.valid[~covered].mean() > 0.9


def test_poses_that_are_a_little_off_move_nothing(scene):
    rng = np.random.default_rng(0)
    views = []
    for view in shown(parts().values()):
        off = np.eye(4)
        off[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.003, 3)).as_matrix()
        off[:3, 3] = rng.normal(0, 0.002, 3)
        views.append(view.with_(world_from_camera=view.world_from_camera @ off))
    assert feed(scene, views) == ()


def test_depth_that_bends_as_the_scene_knows_moves_nothing(scene):
    """New frames come as the sensor is: what the reconstruction took out is taken out of them, too."""
    views, bend = shown(parts().values()), DepthBend(np.array([[0.05, 0.0], [0.0, 0.02]]))
    camera = views[0].camera
    bent = without_bend(views, [(camera, DepthBend(-bend.waves))])
    known = scene.state
    made = known.require_reconstruction()
    scene.state = replace(known, reconstruction=replace(made, bends=((camera, bend),)))
    assert feed(scene, bent) == ()
    seen = scene.state.require_decomposition().views[-1]
    np.testing.assert_allclose(seen.depth, views[-1].depth, rtol=1e-5)


def test_frames_without_depth_are_left_to_the_reconstruction(scene):
    before = scene.state.decomposition
    assert feed(scene, [view.with_(depth=None) for view in shown(parts().values())]) == ()
    assert scene.state.decomposition is before


def test_cancelled_the_scene_is_as_it_was(scene):
    things = parts()
    del things[BLUE]
    for view in shown(things.values()):
        scene.add_frame(view)
    before = scene.state

    def cancel(stage: str, fraction: float, message: str = "") -> None:
        if fraction > 0.4:
            raise Cancelled

    with pytest.raises(Cancelled):
        scene.follow(cancel)
    assert scene.state is before
    assert {BACKGROUND, SUPPORT} < {i.id for i in scene.instances.instances}


def test_moved_gaussians_are_turned_with_what_they_cover():
    things = parts()
    motion = motion_of((0.1, 0.2, 0.3), 90)
    moved = moved_gaussians(things[RED], motion)
    np.testing.assert_allclose(
        moved.normals.numpy(), things[RED].normals.numpy() @ motion[:3, :3].T, atol=1e-6
    )
    assert RED_LID not in things  # its disks are the red box's
