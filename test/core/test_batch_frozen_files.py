"""Frozen values as files: what is read is what was written, to the last bit; nothing else is read."""

import numpy as np
import pytest
import torch

from instascene_core.batch.frozen_files import is_whole, read_frozen, write_frozen
from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.geometry import Plane
from instascene_core.instances import Instance, InstanceId, InstanceMap
from instascene_core.scene import Reconstruction, SceneState


def frame(name: str, rgb: np.ndarray) -> Frame:
    pose = np.eye(4)
    pose[:3, 3] = [0.1, 1 / 3, np.pi]
    return Frame(name, 1 / 7, PinholeCamera(4, 3, 5.1, 5.2, 2.0, 1.5), pose, rgb)


def gaussians(count: int = 5) -> GaussianModel:
    generator = torch.Generator().manual_seed(1)
    shapes = ((count, 3), (count, 4), (count, 2), (count,), (count, 1, 3))
    return GaussianModel(*(torch.rand(shape, generator=generator) for shape in shapes))


def state() -> SceneState:
    rgb = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    frames = (frame("a", rgb), frame("b", rgb[:, ::-1]))
    posed = tuple(f.with_(depth=np.full((3, 4), 0.7, np.float32)) for f in frames)
    metrics = {"psnr": np.float64(31.4), "seconds": {"register": 1 / 3}, "gone": None, 3: float("inf")}
    return SceneState(frames, Reconstruction(posed, gaussians(), None, {"up": [1, True]}), metrics=metrics)


def test_a_state_is_read_as_it_was_written(tmp_path):
    before = state()
    write_frozen(tmp_path / "state", before)
    after = read_frozen(tmp_path / "state").value
    assert type(after) is SceneState and after.metrics == before.metrics
    assert type(after.metrics["psnr"]) is np.float64
    for old, new in zip(before.reconstruction.posed_frames, after.reconstruction.posed_frames):
        assert (new.name, new.stamp, new.camera) == (old.name, old.stamp, old.camera)
        for field in ("world_from_camera", "rgb", "depth"):
            np.testing.assert_array_equal(getattr(new, field), getattr(old, field))
        assert new.labels is None
    assert torch.equal(after.gaussians.means, before.gaussians.means)
    assert after.gaussians.features is None


def test_a_pose_is_not_repaired_on_reading(tmp_path):
    """What `Frame` makes of a pose may differ from it in its last bit, so it must not be made twice."""
    odd = frame("a", np.zeros((3, 4, 3), np.uint8))
    turned = odd.world_from_camera.copy()
    turned[0, 1] = 1e-16
    object.__setattr__(odd, "world_from_camera", turned)
    write_frozen(tmp_path / "frame", odd)
    np.testing.assert_array_equal(read_frozen(tmp_path / "frame").value.world_from_camera, turned)


def test_an_array_is_stored_once(tmp_path):
    image = np.zeros((100, 100, 3), np.uint8)
    write_frozen(tmp_path / "twice", [image, {"again": image}, (image,)])
    assert (tmp_path / "twice").stat().st_size < image.nbytes + 1000
    first, second, (third,) = read_frozen(tmp_path / "twice").value
    assert first is second["again"] is third


def test_what_stands_on_another_file_refers_to_it(tmp_path):
    first = state()
    write_frozen(tmp_path / "first", first)
    base = read_frozen(tmp_path / "first")
    posed = base.value.reconstruction.posed_frames
    labels = np.ones((3, 4), np.int32)
    means = base.value.gaussians.means
    instance = Instance(InstanceId(2), "object", 0.5, np.zeros(3), np.ones(3), np.zeros(16, np.float32), 5, 2)
    instances = InstanceMap((instance,), np.full(5, 2, np.int32), {"a": labels}, Plane(np.eye(3)[2], 0.1))
    value = {"views": [f.with_(labels=labels) for f in posed], "means": means, "instances": instances}
    write_frozen(tmp_path / "second", value, base)
    read = read_frozen(tmp_path / "second", base).value
    assert read["views"][0].rgb is posed[0].rgb and read["means"] is means
    np.testing.assert_array_equal(read["views"][1].labels, labels)
    assert read["instances"].support.offset == 0.1 and read["instances"][InstanceId(2)].num_gaussians == 5
    with pytest.raises(InputError, match="was not given"):
        read_frozen(tmp_path / "second")


def test_what_is_written_to_an_array_stays_out_of_the_file(tmp_path):
    write_frozen(tmp_path / "value", np.zeros(4))
    read_frozen(tmp_path / "value").value[:] = 1
    assert not read_frozen(tmp_path / "value").value.any()


@pytest.mark.parametrize("value", [np.zeros((0, 3)), np.array(2.5), np.ones((2, 3), order="F"), [], {}])
def test_shapes_stay(tmp_path, value):
    write_frozen(tmp_path / "value", value)
    read = read_frozen(tmp_path / "value").value
    if isinstance(value, np.ndarray):
        assert read.shape == value.shape and read.dtype == value.dtype
        np.testing.assert_array_equal(read, value)
    else:
        assert read == value


def test_other_classes_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"holds no pathlib\."):
        write_frozen(tmp_path / "value", {"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_files_that_are_damaged_or_others_are_one_sentence(tmp_path):
    write_frozen(tmp_path / "whole", {"a": np.zeros(100), "frame": None})
    content = (tmp_path / "whole").read_bytes()
    cases = {
        "cut": content[:-1], "shorter": content[:20], "nothing": b"", "few": b"123",
        "another": content.replace(b"instascene frozen", b"instascene thawed"),
        "kind": content.replace(rb"{\"map\":", rb"{\"exe\":"),
        "huge": b"\xff" * 8 + content[8:],
    }  # fmt: skip
    for name, damaged in cases.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=name) as caught:
            read_frozen(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert is_whole(tmp_path / name) == (name == "kind")
    assert is_whole(tmp_path / "whole") and not is_whole(tmp_path / "not there")
