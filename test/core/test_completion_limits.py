"""Input that no completion can do justice to: a closed mesh that says so, or one clear sentence."""

from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from completion_scene import orbit, render, table_mesh

from instascene_core.completion import complete
from instascene_core.config import CompletionConfig, Config, RestingConfig
from instascene_core.config.completion import ConvexPartsConfig, ObservingConfig
from instascene_core.errors import Cancelled, InputError
from instascene_core.frame import UNLABELLED
from instascene_core.geometry import Plane
from instascene_core.geometry import mesh as meshes
from instascene_core.scene import Scene, SceneState

TABLE_PLANE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
FAST = CompletionConfig(
    observing=ObservingConfig(max_voxels=60_000),
    convex_parts=ConvexPartsConfig(max_parts=2, max_triangles=250),
)
BOX, CAN = 2, 3


def bodies():
    box = trimesh.creation.box((0.1, 0.06, 0.08))
    box.apply_translation((0.05, 0, 0.04))
    can = trimesh.creation.cylinder(0.03, 0.1, sections=48)
    can.apply_translation((-0.03, 0, 0.05))  # touches the box
    return [table_mesh(), box, can]


@pytest.fixture(scope="module")
def frames():
    return render(bodies(), orbit(10, (25, 50)), noise=0.001)


def check_closed(result):
    assert result.watertight
    assert meshes.is_watertight(result.mesh)
    assert meshes.as_manifold(result.mesh) is not None
    assert meshes.triangle_components(result.mesh)[0] == 1
    assert result.volume > 0
    assert np.isfinite(result.mesh.vertices).all()
    assert np.isfinite(result.vertex_uncertainty).all()
    assert all(meshes.is_watertight(part) for part in result.convex_parts)


def relabelled(frames, change):
    """Frames whose labels are `change(frame)`."""
    return [frame.with_(labels=change(frame).astype(np.int32)) for frame in frames]


@pytest.mark.parametrize("pixels", [1, 3, 12])
def test_a_few_pixels_are_refused_in_one_sentence(frames, pixels):
    """What an instance of three Gaussians leaves in the label images."""

    def speck(frame):
        rows, columns = np.nonzero(frame.labels == CAN)
        labels = np.where(frame.labels == CAN, UNLABELLED, frame.labels)
        middle = len(rows) // 2
        labels[rows[middle : middle + pixels], columns[middle : middle + pixels]] = CAN
        return labels

    sentence = (
        rf"^Instance {CAN} has only \d+ confirmed surface points \(40 are needed\), so it cannot be .*\.$"
    )
    with pytest.raises(InputError, match=sentence):
        complete(relabelled(frames, speck), CAN, TABLE_PLANE, FAST)


@pytest.mark.parametrize("size", [9, 14])
def test_a_patch_of_a_flat_face_is_a_closed_body(frames, size):
    def patch(frame):
        rows, columns = np.nonzero(frame.labels == BOX)
        labels = np.where(frame.labels == BOX, UNLABELLED, frame.labels)
        if len(rows):
            row, column = int(np.median(rows)), int(np.median(columns))
            window = np.s_[row - size // 2 : row + size // 2 + 1, column - size // 2 : column + size // 2 + 1]
            labels[window] = np.where(frame.labels[window] == BOX, BOX, labels[window])
        return labels

    check_closed(complete(relabelled(frames, patch), BOX, TABLE_PLANE, FAST))


@pytest.mark.parametrize("elevation", [20, 60, 89])
@pytest.mark.parametrize("label", [BOX, CAN])
def test_a_single_view_gives_a_closed_body_of_less_confidence(label, elevation):
    single = render(bodies(), orbit(1, (elevation,), (40, 400)), noise=0.002)
    result = complete(single, label, TABLE_PLANE, FAST)
    check_closed(result)
    assert result.confidence < 0.9  # a plain body may be right from one view
    assert any("1 view" in note for note in result.notes)
    assert result.mesh.vertices[:, 2].min() > -0.0001


def test_touching_things_in_one_label_are_one_closed_body(frames):
    merged = relabelled(frames, lambda frame: np.where(frame.labels == CAN, BOX, frame.labels))
    result = complete(merged, BOX, TABLE_PLANE, FAST)
    check_closed(result)
    together = sum(body.volume for body in bodies()[1:])
    assert result.volume == pytest.approx(together, rel=0.01)
    assert "fit" not in result.prior  # two things are no plain body


def test_what_fills_every_image_is_closed_and_said_to_be_cut():
    """A thing larger than what the cameras see: a wall whose borders are outside all images."""
    wall = trimesh.creation.box((4.0, 0.5, 4.0))
    wall.apply_translation((0, 0.25, 0))
    poses = orbit(5, (0, 10), (-110, -70), distance=1.0, target=(0, 0, 0))
    result = complete(
        render([table_mesh(0.01), wall], poses, noise=0.001), 2, None, FAST, up=np.array([0, 0, 1.0])
    )
    check_closed(result)
    assert any("images end" in note or "cut off" in note for note in result.notes)
    assert result.confidence < 0.1


def test_the_support_itself_is_refused(frames):
    """Nothing of it lies over it."""
    with pytest.raises(InputError, match=r"^Nothing of the instance remains after carving; .*\.$"):
        complete(frames, 1, TABLE_PLANE, FAST)


def test_without_a_support_plane_the_result_is_closed(frames):
    result = complete(frames, BOX, None, FAST, up=np.array([0.0, 0.0, 1.0]))
    check_closed(result)
    assert not any("up is estimated" in note for note in result.notes)
    assert any("No plane" in note for note in result.notes)


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_unknown_gravity_is_estimated_and_said(frames, tilt):
    """In a world turned by `tilt` radians, without a support plane, up is read off the cameras."""
    turn = trimesh.transformations.rotation_matrix(tilt, (1, 0, 0))
    turned = [frame.with_(world_from_camera=turn @ frame.world_from_camera) for frame in frames]
    result = complete(turned, BOX, None, FAST)
    check_closed(result)
    assert any("up is estimated" in note for note in result.notes)
    assert result.world_from_object[:3, 2] @ turn[:3, 2] > np.cos(np.deg2rad(1))
    asked = complete(turned, BOX, None, FAST, up=turn[:3, 2])
    np.testing.assert_allclose(asked.world_from_object[:3, 2], turn[:3, 2], atol=1e-9)
    assert not any("up is estimated" in note for note in asked.notes)


def test_cameras_without_a_common_up_still_give_an_answer(frames):
    """Every camera turned differently about its axis: there is nothing to read gravity from."""
    rolled = []
    for index, frame in enumerate(frames):
        roll = trimesh.transformations.rotation_matrix(2 * np.pi * index / len(frames), (0, 0, 1))
        rolled.append(frame.with_(world_from_camera=frame.world_from_camera @ roll))
    result = complete(rolled, BOX, None, FAST)
    check_closed(result)
    assert any("up is estimated" in note for note in result.notes)


def test_depth_with_holes_and_nonsense_is_survived(frames):
    rng = np.random.default_rng(0)
    spoiled = []
    for frame in frames:
        depth = frame.depth.copy()
        pixels = rng.integers(0, depth.size, depth.size // 3)
        depth.ravel()[pixels] = rng.choice([0.0, np.nan, np.inf, -1.0, 30.0], len(pixels))
        spoiled.append(frame.with_(depth=depth))
    check_closed(complete(spoiled, BOX, TABLE_PLANE, FAST))


def test_all_objects_of_a_scene_are_completed_with_progress_and_cancel(monkeypatch):
    """One that cannot be is told and skipped; cancelling keeps what is complete."""
    instances = SimpleNamespace(objects=[SimpleNamespace(id=k) for k in (4, 7, 9)])
    one_by_one = CompletionConfig(at_once=1)  # several at a time: test_completing.py
    scene = Scene(Config(completion=one_by_one, resting=RestingConfig(enabled=False)))  # these are no bodies
    scene.state = decomposed = SceneState(
        reconstruction=SimpleNamespace(), decomposition=SimpleNamespace(instances=instances)
    )

    def one(decomposition, instance_id, config, progress, *, num_samples, seed):
        progress("complete", 0.5, "half")
        if instance_id == 7:
            raise InputError("Too little was seen.")
        return SimpleNamespace(instance_id=instance_id, asked=(num_samples, seed))

    monkeypatch.setattr("instascene_core.scene.scene.complete", one)
    told = []
    failures = scene.complete_all(3, 5, lambda stage, part, message: told.append(part))
    assert failures == {7: "Too little was seen."}
    assert {k: v.asked for k, v in scene.objects.items()} == {4: (3, 5), 9: (3, 5)}
    np.testing.assert_allclose(told, [0.5 / 3, 1.5 / 3, 2.5 / 3, 1])

    def cancel(stage, part, message):
        if part > 0.4:
            raise Cancelled

    scene.state = decomposed
    with pytest.raises(Cancelled):
        scene.complete_all(progress=cancel)
    assert set(scene.objects) == {4}
