"""A saved scene taken up again: what is the same, what can go on, what is said where something is missing."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from click_scene import BLUE, PLACES, RED, SUPPORT, UNSEEN, decomposed_scene

from instascene_core.errors import InputError
from instascene_core.export.saved_scene import load_scene, save_scene, write_recording


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(folder of a saved scene with two completed boxes, that scene, folder of its recording)."""
    root = tmp_path_factory.mktemp("loading")
    scene, _ = decomposed_scene()
    write_recording(root / "recording", scene.frames)
    scene.origin = {"source": str(root / "recording"), "use_depth": True, "use_masks": False}
    scene.complete(RED)
    scene.complete(BLUE)
    save_scene(scene, root / "saved")
    return root / "saved", scene, root / "recording"


@pytest.fixture
def copy(saved, tmp_path):
    """The saved scene where it may be spoilt."""
    shutil.copytree(saved[0], tmp_path / "saved")
    return tmp_path / "saved"


def top_of(owner: int) -> np.ndarray:
    return np.array([*PLACES[owner], 0.1])


def edit(folder, change) -> None:
    description = json.loads((folder / "scene.json").read_text())
    change(description)
    (folder / "scene.json").write_text(json.dumps(description))


def test_a_loaded_scene_is_the_saved_one(saved):
    folder, scene, _ = saved
    loaded = load_scene(folder)
    again = loaded.scene
    assert loaded.notes == () and loaded.frames_found == len(scene.frames)
    np.testing.assert_allclose(again.gaussians.means.numpy(), scene.gaussians.means.numpy())
    np.testing.assert_allclose(again.gaussians.features.numpy(), scene.gaussians.features.numpy())
    np.testing.assert_array_equal(again.instances.gaussian_labels, scene.instances.gaussian_labels)
    for one, other in zip(again.instances.instances, scene.instances.instances, strict=True):
        assert (one.id, one.kind, one.num_gaussians, one.num_views) == (
            other.id, other.kind, other.num_gaussians, other.num_views,
        )  # fmt: skip
        np.testing.assert_allclose(one.box_min, other.box_min)
        np.testing.assert_allclose(one.feature, other.feature)
    for frame, other in zip(again.posed_frames, scene.posed_frames, strict=True):
        assert frame.name == other.name and frame.camera == other.camera
        np.testing.assert_array_equal(frame.rgb, other.rgb)
        np.testing.assert_allclose(frame.depth, other.depth, atol=1e-4)
        np.testing.assert_allclose(frame.world_from_camera, other.world_from_camera)
        np.testing.assert_array_equal(
            again.instances.label_images[frame.name], scene.instances.label_images[frame.name]
        )
    np.testing.assert_allclose(again.instances.support.normal, [0, 0, 1])
    assert again.metrics == scene.metrics and again.config == scene.config and again.is_reconstructed
    for number in (RED, BLUE):
        np.testing.assert_allclose(
            again.objects[number].mesh.vertices, scene.objects[number].mesh.vertices, atol=1e-6
        )
        assert len(again.objects[number].convex_parts) == len(scene.objects[number].convex_parts) > 0
        for part, other in zip(again.objects[number].convex_parts, scene.objects[number].convex_parts):
            np.testing.assert_allclose(part.vertices, other.vertices, atol=1e-6)
            np.testing.assert_array_equal(part.triangles, other.triangles)


def test_work_goes_on(saved):
    """Completion comes out as before, clicks make new instances, and nothing is given twice."""
    folder, scene, _ = saved
    again = load_scene(folder).scene
    first, second = scene.objects[RED], again.complete(RED)
    assert second.volume == pytest.approx(first.volume, rel=0.02) and second.watertight
    selection = again.segment_at(point=top_of(UNSEEN))
    assert selection.created and selection.instance.id == 5
    assert again.complete(5).watertight
    again.remove(5)
    assert again.segment_at(point=top_of(RED), level=-1).instance.id == 6


def test_what_was_removed_stays_removed(saved, tmp_path):
    again = load_scene(saved[0]).scene
    again.remove(BLUE)
    save_scene(again, tmp_path / "later")
    third = load_scene(tmp_path / "later").scene
    assert third.origin == saved[1].origin
    assert {i.id for i in third.instances.objects} == {RED} and set(third.objects) == {RED}
    frame, other = third.frames[0], again.frames[0]
    np.testing.assert_array_equal(frame.valid, other.valid)
    np.testing.assert_array_equal(frame.depth == 0, other.depth == 0)
    assert third.state.ids.highest == 4 and len(third.gaussians) == len(again.gaussians)


def test_frames_that_are_gone_are_rendered_and_said_to_be(saved, copy):
    edit(copy, lambda d: d.update(source="", input={}))
    loaded = load_scene(copy)
    again, scene = loaded.scene, saved[1]
    assert loaded.frames_found == 0 and "8 of 8 input frames were not found" in loaded.notes[0]
    difference = again.frames[0].rgb.astype(int) - scene.frames[0].rgb
    assert np.abs(difference).max() <= 1  # these frames were renderings in the first place
    assert again.segment_at(point=top_of(BLUE)).instance.id == BLUE
    assert again.complete(BLUE).volume == pytest.approx(scene.objects[BLUE].volume, rel=0.05)


def test_a_scene_from_topics_keeps_its_frames(saved, tmp_path):
    """As the node saves it; also after it was loaded and saved once more."""
    scene, _ = decomposed_scene()
    labels = scene.instances.label_images[scene.frames[0].name]
    frames = (scene.frames[0].with_(labels=labels), *scene.frames[1:])
    scene.state = dataclasses.replace(scene.state, frames=frames)
    for folder in (tmp_path / "first", tmp_path / "second"):
        save_scene(scene, folder, source="ROS topics", with_frames=True)
        loaded = load_scene(folder)
        assert loaded.frames_found == 8 and loaded.notes == ()
        for frame, other in zip(loaded.scene.frames, scene.frames, strict=True):
            assert (frame.name, frame.stamp, frame.camera) == (other.name, other.stamp, other.camera)
            np.testing.assert_array_equal(frame.rgb, other.rgb)
            np.testing.assert_allclose(frame.depth, other.depth, atol=1e-4)
        np.testing.assert_array_equal(loaded.scene.frames[0].labels, labels)
        scene = loaded.scene
    moved = (tmp_path / "second").rename(tmp_path / "moved")
    assert load_scene(moved).frames_found == 8


def test_depth_from_colours_is_kept(tmp_path):
    """A scene of colours alone: what stereo found is part of the scene, not of the recording."""
    scene, _ = decomposed_scene()
    depths = [frame.require_depth() for frame in scene.frames]
    bare = [frame.with_(depth=None) for frame in scene.frames]
    posed = [frame.with_(estimated_depth=depth) for frame, depth in zip(bare[:-1], depths)]
    known = dataclasses.replace(scene.state.reconstruction, posed_frames=(*posed, bare[-1]))
    scene.state = dataclasses.replace(scene.state, frames=tuple(bare), reconstruction=known)
    write_recording(tmp_path / "recording", bare)
    scene.origin = {"source": str(tmp_path / "recording"), "use_depth": False, "use_masks": False}
    for folder in (tmp_path / "first", tmp_path / "second"):
        save_scene(scene, folder)
        scene = load_scene(folder).scene
        assert all(frame.depth is None for frame in scene.posed_frames)
        assert scene.posed_frames[-1].estimated_depth is None
        for frame, depth in zip(scene.posed_frames[:-1], depths):
            np.testing.assert_allclose(frame.estimated_depth, depth, atol=1e-4)
    edit(tmp_path / "second", lambda d: d.update(estimated_depth_unit_m="a lot"))
    with pytest.raises(InputError, match=r"scene\.json"):
        load_scene(tmp_path / "second")


def test_another_recording_in_the_same_place_is_not_taken(saved, copy, tmp_path):
    scene = saved[1]
    other = tmp_path / "other"
    write_recording(other, scene.frames[:3])
    edit(copy, lambda d: d["input"].update(source=str(other)))
    assert load_scene(copy).frames_found == 3
    edit(copy, lambda d: d["input"].update(scale=0.5))
    assert load_scene(copy).frames_found == 0
    (other / "transforms.json").write_text("{")
    loaded = load_scene(copy)
    assert loaded.frames_found == 0 and "cannot be opened again" in loaded.notes[0]


def test_a_scene_that_was_only_reconstructed(saved, tmp_path):
    scene, _ = decomposed_scene()
    scene.state = dataclasses.replace(scene.state, decomposition=None)
    save_scene(scene, tmp_path / "bare")
    again = load_scene(tmp_path / "bare").scene
    assert again.instances is None and again.objects == {} and len(again.gaussians) == len(scene.gaussians)


def test_settings_of_another_version_are_left_out_and_named(copy):
    edit(copy, lambda d: d["parameters"]["features"].update(telepathy=1.0, similarity=0.8))
    loaded = load_scene(copy)
    assert loaded.scene.config.features.similarity == 0.8
    assert loaded.notes == ("Settings of another version are not used: features.telepathy.",)


def spoil_ply(folder):
    data = bytearray((folder / "scene.ply").read_bytes())
    data[-5] ^= 1
    (folder / "scene.ply").write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "scene.json").unlink(), "no saved scene"),
        (lambda f: (f / "scene.json").write_text("{"), "no saved scene"),
        (lambda f: (f / "scene.json").write_text("[]"), "no saved scene"),
        (spoil_ply, "not as it was saved"),
        (lambda f: (f / "scene.ply").unlink(), "is missing"),
        (lambda f: (f / "instances" / "view0.png").unlink(), "is missing"),
        (lambda f: (f / "objects" / str(RED) / "mesh.ply").write_bytes(b"ply"), "mesh.ply is not a mesh"),
        (lambda f: edit(f, lambda d: d.pop("frames")), "does not describe a scene"),
        (lambda f: edit(f, lambda d: d["frames"][0].pop("camera")), "does not describe a scene"),
        (
            lambda f: edit(f, lambda d: d["frames"][0].update(camera={"width": -1})),
            "does not describe a scene",
        ),
        (lambda f: edit(f, lambda d: d["parameters"].update(up="sideways")), "'up'"),
    ],
)
def test_damage_is_one_sentence(copy, spoil, words):
    spoil(copy)
    with pytest.raises(InputError, match=words) as caught:
        load_scene(copy)
    assert "\n" not in str(caught.value)


def test_the_support_is_found_again(saved):
    scene = load_scene(saved[0]).scene
    assert scene.segment_at(point=np.array([-0.2, -0.2, 0.0])).instance.id == SUPPORT
