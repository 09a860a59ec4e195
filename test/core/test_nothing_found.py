"""Nothing found is an outcome with a reason."""

from types import SimpleNamespace

import numpy as np
import pytest
from dataset_folders import H, W

from instascene_core import cli
from instascene_core.camera import PinholeCamera
from instascene_core.errors import NothingFound
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.scene import nothing_found

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
