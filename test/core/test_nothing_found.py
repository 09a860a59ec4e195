"""Nothing found is an outcome with a reason."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from completion_scene import orbit
from dataset_folders import H, W

from instascene_core import cli
from instascene_core.camera import PinholeCamera
from instascene_core.config import Config, ReconstructionConfig
from instascene_core.errors import NothingFound
from instascene_core.files import write_image
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.scene import Scene, nothing_found

CAMERA = PinholeCamera(W, H, 10.0, 10.0, W / 2, H / 2)
SEEN = np.arange(H * W * 3, dtype=np.uint8).reshape(H, W, 3)


def scene_of(kinds=(), support="plane", objects=(), rgb=SEEN, **images):
    """What `nothing_found` looks at; kinds: of the instances."""
    frames = [Frame(f"{i}", float(i), CAMERA, np.eye(4), rgb, **images) for i in range(3)]
    instances = tuple(SimpleNamespace(kind=kind) for kind in kinds)
    found = SimpleNamespace(instances=instances, objects=tuple(i for i in instances if i.kind == "object"))
    known = SimpleNamespace(instances=found, support=support)
    state = SimpleNamespace(
        frames=frames, instances=found, objects=dict.fromkeys(objects), require_decomposition=lambda: known
    )
    return SimpleNamespace(state=state, config=SimpleNamespace(region="auto"))


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (scene_of(rgb=np.full_like(SEEN, 7)), "3 of the images show nothing but one colour"),
        (scene_of(depth=np.zeros((H, W), np.float32)), "none of the 3 depth images holds a measurement"),
        (scene_of(labels=np.full((H, W), UNLABELLED, np.int32)), "all 3 label images are empty"),
        (
            scene_of(["outside", "fixture", "support"]),
            r"\(2\) none lies in the region 'auto'; try --region all",
        ),
        (scene_of(support=None), "no plane that things could stand on"),
        (scene_of(["support"]), "nothing stands out from the plane"),
    ],
)
def test_each_reason_is_one_sentence(scene, words):
    found = nothing_found(scene)
    assert isinstance(found, NothingFound)
    with pytest.raises(NothingFound, match=f"^No object was found in 3 frames: .*{words}.*[^.]\\.$"):
        raise found


def test_objects_that_cannot_be_completed():
    found = nothing_found(scene_of(["object"]), {4: "Too little was seen."})
    assert str(found).startswith("None of the 1 objects") and str(found).endswith("Too little was seen.")
    assert nothing_found(scene_of(["object"], objects=[4]), {5: "No."}) is None
    assert nothing_found(scene_of(["object"])) is None


def test_before_there_is_a_decomposition_nothing_is_missing():
    assert nothing_found(SimpleNamespace(state=SimpleNamespace(instances=None))) is None


def test_exit_status_3(monkeypatch, capsys):
    def call(self):
        raise NothingFound("No object was found.")

    monkeypatch.setattr(cli.Doctor, "__call__", call)
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor"])
    assert end.value.code == 3 and capsys.readouterr().err == "instascene: No object was found.\n"


def recording(folder, images):
    """A folder with transforms.json of cameras that look at the origin from all sides."""
    frames = []
    for i, (pose, rgb) in enumerate(zip(orbit(len(images), (40.0,)), images, strict=True)):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        write_image(folder / f"images/{i}.png", rgb)
        opengl = pose @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": f"images/{i}.png", "transform_matrix": opengl.tolist()})
    height, width = images[0].shape[:2]
    intrinsics = {"fl_x": 60.0, "fl_y": 60.0, "cx": width / 2, "cy": height / 2, "w": width, "h": height}
    (folder / "transforms.json").write_text(json.dumps({**intrinsics, "frames": frames}))
    return folder


SLOPE = np.tile(np.linspace(60, 180, 64)[None, :, None], (48, 1, 3)).astype(np.uint8)  # light, but no texture


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((48, 64, 3), np.uint8), "6 of them show nothing but one colour; check the camera's cover"),
        (np.full((48, 64, 3), 128, np.uint8), "6 of them show nothing but one colour"),
        (SLOPE, "check .* that the things have texture, or give depth"),
    ],
    ids=["black", "grey", "without texture"],
)
def test_images_that_show_nothing_end_with_exit_status_3_and_a_reason(tmp_path, capsys, image, words):
    """`run` from its command line to its end."""
    source = recording(tmp_path / "in", [image] * 6)
    with pytest.raises(SystemExit) as end:
        cli.main(["run", str(source), "--output", str(tmp_path / "out")])
    error = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 3 and re.search(
        f"Only 0 points could be triangulated from 6 images.*{words}", error
    )


def test_a_scene_in_which_neither_masks_nor_planes_claim_anything_has_no_instances():
    """So small that no mask and no support are found: no cluster at all, which is an outcome as well."""
    camera = PinholeCamera(6, 4, 5.0, 5.5, 3.2, 1.9)
    scene = Scene(Config(reconstruction=ReconstructionConfig(iterations=2)))
    for i in range(4):
        pose = np.eye(4)
        pose[0, 3] = 0.1 * i
        rgb, depth = np.full((4, 6, 3), 40 * i, np.uint8), np.ones((4, 6), np.float32)
        scene.add_frame(Frame(f"{i}", float(i), camera, pose, rgb, depth))
    assert scene.segment().instances == ()
    assert nothing_found(scene) is not None
