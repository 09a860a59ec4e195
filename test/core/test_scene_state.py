"""What a scene's state promises: read by other threads, copied, small things that went wrong once."""

import dataclasses
import math
import pickle
import threading

import numpy as np
import pytest
from click_scene import BLUE, RED, decomposed_scene

from instascene_core.config_file import load_config
from instascene_core.errors import Cancelled, InputError, NotReadyError
from instascene_core.export.saved_scene import load_scene, save_scene
from instascene_core.files import write_json
from instascene_core.scene import Scene, SceneState
from instascene_core.scene.label_images import label_images
from instascene_core.synthetic import SyntheticConfig, generate_scene


@pytest.fixture(scope="module")
def frames():
    config = SyntheticConfig(
        seed=5, num_objects=2, num_views=6, width=96, height=72, supersampling=1, layout="spread"
    )
    return [frame.with_(labels=None) for frame in generate_scene(config).frames()]


def quick_scene(frames, *settings: str) -> Scene:
    words = ("reconstruction.iterations=40", "reconstruction.max_gaussians=1500", "features.iterations=50")
    scene = Scene(load_config(None, (*words, *settings)))
    for frame in frames:
        scene.add_frame(frame)
    return scene


def cancel_in(stage: str):
    def progress(now: str, fraction: float, message: str = "") -> None:
        if now == stage:
            raise Cancelled

    return progress


def test_label_images_are_read_by_several_threads():
    scene, _ = decomposed_scene()
    scene.remove(BLUE)
    images, errors = scene.instances.label_images, []

    def read() -> None:
        try:
            for name in images:
                images[name]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(images) == 8


def test_a_state_can_be_copied_to_another_process():
    scene, _ = decomposed_scene()
    scene.remove(BLUE)
    state: SceneState = pickle.loads(pickle.dumps(scene.state))
    np.testing.assert_array_equal(state.instances.gaussian_labels, scene.instances.gaussian_labels)
    name = scene.frames[0].name
    np.testing.assert_array_equal(state.instances.label_images[name], scene.instances.label_images[name])
    assert len(state.decomposition.surface.means) == len(scene.gaussians)
    assert state != scene.state and scene.state == scene.state and hash(scene.state)


def test_label_images_after_a_removal_are_those_of_the_gaussians():
    scene, _ = decomposed_scene()
    scene.remove(RED)
    anew = label_images(
        scene.state.decomposition.views, scene.gaussians, scene.instances.gaussian_labels,
        scene.config.pixel_labels,
    )  # fmt: skip
    for name, image in anew.items():
        assert (scene.instances.label_images[name] != image).mean() < 0.003


def test_counts_follow_what_is_changed_by_hand():
    scene, _ = decomposed_scene()
    scene.remove(RED)
    assert scene.metrics["instances"] == len(scene.instances.objects) == 1
    assert scene.metrics["gaussians"] == len(scene.gaussians)


def test_ids_of_numpy_are_ids(tmp_path):
    scene, _ = decomposed_scene()
    result = scene.complete(np.int64(RED))
    assert type(result.instance_id) is int and list(scene.objects) == [RED]
    save_scene(scene, tmp_path / "out")
    assert set(load_scene(tmp_path / "out").scene.objects) == {RED}


def test_accuracy_is_not_carried_into_another_scene(tmp_path):
    scene, _ = decomposed_scene()
    save_scene(scene, tmp_path / "out")
    measured = {"accuracy": {"mean_volume_iou": 0.9}, "psnr": 30.0, "seconds": {"complete": 2.0, "x": "y"}}
    write_json(tmp_path / "out" / "metrics.json", measured)
    metrics = load_scene(tmp_path / "out").scene.metrics
    assert "accuracy" not in metrics and metrics["psnr"] == 30.0 and metrics["seconds"] == {"complete": 2.0}
    for damaged in ({"seconds": None}, {"seconds": 3}, []):
        write_json(tmp_path / "out" / "metrics.json", damaged)
        assert load_scene(tmp_path / "out").scene.metrics["frames"] == 8


def test_the_newest_psnr_is_known_while_the_segmentation_runs(frames):
    scene, seen = quick_scene(frames), {}
    assert math.isnan(scene.psnr)
    scene.run("segment", lambda stage, *rest: seen.setdefault(stage, scene.psnr))
    assert seen["depth"] == seen["trace"] == scene.psnr == scene.metrics["psnr"] > 10


def test_what_was_reconstructed_is_taken_up_only_for_the_same_frames_and_limits(frames):
    scene, stages = quick_scene(frames[:-1]), []
    for _ in range(2):
        stages.clear()
        with pytest.raises(Cancelled):
            scene.run("segment", lambda *r: (stages.append(r[0]), cancel_in("depth")(*r)), again=True)
    assert "reconstruct" not in stages  # the second time
    stages.clear()
    scene.run("reconstruct", lambda stage, *rest: stages.append(stage), iterations=30)
    assert "reconstruct" in stages and scene.metrics["iterations"] == 30
    with pytest.raises(Cancelled):
        scene.run("segment", cancel_in("depth"), again=True)
    scene.add_frame(frames[-1])
    stages.clear()
    scene.segment(lambda stage, *rest: stages.append(stage))
    assert "reconstruct" in stages and scene.is_reconstructed


def test_a_scene_whose_reconstructed_frames_have_left_says_so(tmp_path):
    scene, _ = decomposed_scene()
    gone = dataclasses.replace(scene.state.reconstruction, posed_frames=())
    scene.state = dataclasses.replace(scene.state, reconstruction=gone)
    for request in (lambda: save_scene(scene, tmp_path / "out"), lambda: scene.segment_at(pixel=(3, 3))):
        with pytest.raises(NotReadyError, match="have left the scene"):
            request()
    assert not (tmp_path / "out").exists()


def test_a_scene_needs_room_for_two_frames():
    with pytest.raises(InputError, match="max_frames is 1"):
        Scene(load_config(None, ["max_frames=1"]))


@pytest.mark.parametrize("field", ["parameters", "input", "highest_instance_id"])
def test_damaged_descriptions_are_one_sentence(field, tmp_path):
    import json

    scene, _ = decomposed_scene()
    save_scene(scene, tmp_path / "out")
    path = tmp_path / "out" / "scene.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, field: ["x"]}))
    with pytest.raises(InputError, match=r"does not describe a scene|There is no setting"):
        load_scene(tmp_path / "out")
