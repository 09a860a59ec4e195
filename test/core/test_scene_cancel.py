"""Cancelled at any moment, every stage leaves the scene as it was, bit for bit."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from instascene_core.config_file import load_config
from instascene_core.errors import Cancelled
from instascene_core.scene import Scene
from instascene_core.synthetic import SyntheticConfig, generate_scene

MOMENTS = 20  # of each stage
SETTINGS = (
    "reconstruction.iterations=60", "reconstruction.max_gaussians=2500", "features.iterations=60",
    "features.pixels_per_view=1000", "completion.prior=carving", "completion.observing.max_voxels=20000",
)  # fmt: skip


def digest(value) -> str:
    """A hash of every array, number and word in a nest of dataclasses, mappings and sequences."""
    total = hashlib.sha256()

    def take(part) -> None:
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        elif dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                take(getattr(part, field.name))
        elif isinstance(part, Mapping):
            for key in part:
                total.update(str(key).encode())
                take(part[key])
        elif isinstance(part, (tuple, list)):
            for item in part:
                take(item)
        elif not callable(part):
            total.update(repr(part).encode())

    take(value)
    return total.hexdigest()


def counted(action: Callable) -> int:
    """How often an action reports its progress."""
    calls = []
    action(lambda *report: calls.append(report))
    return len(calls)


def cancel_at(call: int) -> Callable:
    """A progress callback that cancels at this call."""
    left = [call]

    def progress(stage: str, fraction: float, message: str = "") -> None:
        if left[0] == 0:
            raise Cancelled
        left[0] -= 1

    return progress


@pytest.fixture(scope="module")
def frames():
    config = SyntheticConfig(
        seed=5, num_objects=2, num_views=8, width=120, height=90, supersampling=1,
        layout="spread", kinds=("box", "can"),
    )  # fmt: skip
    return [frame.with_(labels=None) for frame in generate_scene(config).frames()]


@pytest.fixture(scope="module")
def scene(frames):
    """Reconstructed, decomposed, one object completed; a frame has come since."""
    scene = Scene(load_config(None, SETTINGS))
    for frame in frames[:-1]:
        scene.add_frame(frame)
    scene.complete(scene.segment().objects[0].id)
    scene.add_frame(frames[-1])
    return scene


STAGES = {
    "reconstruct": lambda scene, progress: scene.reconstruct(progress),
    "segment": lambda scene, progress: scene.segment(progress),  # reconstructs first: a frame is new
    "complete": lambda scene, progress: scene.complete(
        scene.require_instances().objects[-1].id, progress=progress
    ),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_cancelled_stage_leaves_the_scene_as_it_was(scene, name):
    before, known = scene.state, digest(scene.state)
    calls = counted(lambda progress: STAGES[name](scene, progress))
    assert scene.state is not before
    scene.state = before
    rng, cancelled = np.random.default_rng(len(name)), 0
    while cancelled < MOMENTS:
        try:
            STAGES[name](scene, cancel_at(int(rng.integers(calls))))
        except Cancelled:
            cancelled += 1
            assert scene.state is before
        # Else it got to its end: what was reconstructed before the last cancel was not made again.
        scene.state = before
    assert digest(scene.state) == known


def test_a_reconstruction_is_not_made_twice_for_a_cancelled_segmentation(scene):
    before, stages = scene.state, []

    def cancel_late(stage: str, fraction: float, message: str = "") -> None:
        if stage == "labels":
            raise Cancelled

    with pytest.raises(Cancelled):
        scene.segment(cancel_late)
    assert scene.state is before
    scene.segment(lambda stage, *rest: stages.append(stage))
    assert "reconstruct" not in stages and "depth" in stages
    assert scene.is_reconstructed and scene.instances.objects
    scene.state = before


def test_cancelled_after_working_ahead_the_scene_is_as_it_was(frames):
    scene = Scene(load_config(None, SETTINGS))
    for frame in frames:
        scene.add_frame(frame)
        scene.work_ahead(0.01)
    before, known = scene.state, digest(scene.state)
    for call in range(0, MOMENTS, 4):
        with pytest.raises(Cancelled):
            scene.segment(cancel_at(call))
        assert scene.state is before and digest(scene.state) == known
    assert scene.segment().objects


def test_completing_all_keeps_what_was_complete(scene):
    """Object by object: each is as before, or complete, if not laid to rest with the others."""
    before = scene.state
    calls = counted(lambda progress: scene.complete_all(progress=progress))
    whole, scene.state = scene.state, before
    for call in np.random.default_rng(3).integers(0, calls, 5):
        with pytest.raises(Cancelled):
            scene.complete_all(progress=cancel_at(int(call)))
        after = scene.state
        assert after.decomposition is before.decomposition and after.reconstruction is before.reconstruction
        for number, result in after.objects.items():
            assert any(
                np.array_equal(result.mesh.triangles, known.objects[number].mesh.triangles)
                for known in (before, whole)
                if number in known.objects
            )
        scene.state = before


def test_a_failing_stage_leaves_the_scene_as_it_was(scene, monkeypatch):
    """Also where it is no cancel but an error, late in the decomposition."""
    before, known = scene.state, digest(scene.state)

    def fail(*arguments, **options):
        raise MemoryError("not enough")

    monkeypatch.setattr("instascene_core.scene.decomposition.label_images", fail)
    with pytest.raises(MemoryError):
        scene.segment()
    assert scene.state is before and digest(scene.state) == known
