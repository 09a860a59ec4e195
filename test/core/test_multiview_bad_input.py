"""Where in-situ generation cannot be done: one sentence, and the learned prior's result, marked as such."""

import numpy as np
import pytest
import torch
import trimesh
from completion_scene import orbit, render, table_mesh
from multiview_cases import UP

from instascene_core.completion import complete
from instascene_core.completion.priors.multiview.network import MultiviewNetwork, save_network
from instascene_core.config import CompletionConfig
from instascene_core.config_file import config_with
from instascene_core.objects import CompletedObject

BOX = (0.1, 0.08, 0.06)


def thing() -> trimesh.Trimesh:
    body = trimesh.creation.box(BOX)
    body.apply_translation((0, 0, BOX[2] / 2))
    return body


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> CompletionConfig:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_network(MultiviewNetwork((32, 32, 32)), path, {"side": "32"})
    changes = {
        "prior": "multiview",
        "multiview.weights": str(path),
        "observing.max_voxels": 8_000,
        "learned.side": 16,
        "convex_parts.max_parts": 1,
    }
    return config_with(CompletionConfig(), changes)


@pytest.fixture(scope="module")
def frames():
    return render([table_mesh(), thing()], orbit(3, (35.0,), (0.0, 90.0)), 100, 75, 95.0)


def is_the_learned_result(result: CompletedObject, words: str) -> bool:
    """One sentence with `words` says why no view was generated, and the object is marked as the learned
    prior's."""
    notes = [note for note in result.notes if note.startswith("No views were generated")]
    assert result.watertight and result.prior.startswith("learned (Apache-2.0)")
    assert len(notes) == 1 and notes[0].endswith(".") and "\n" not in notes[0]
    return words in notes[0]


def test_one_view_is_enough_and_said(frames, config):
    result = complete(frames[:1], 2, up=UP, config=config)
    assert result.prior.startswith("multiview (Apache-2.0)") and result.watertight
    assert any("Seen from 1 view(s) only" in note for note in result.notes)


def fenced():
    """Frames in each of which a fence hides half of the box."""
    posts = [trimesh.creation.box((0.004, 0.02, 0.12)) for _ in range(12)]
    poses = orbit(3, (15.0,), (-8.0, 8.0))
    for post, y in zip(posts, np.linspace(-0.2, 0.2, 12)):
        post.apply_translation((0.12, y, 0.06))
    return render([table_mesh(), thing(), *posts], poses, 160, 120, 150.0)


def test_an_object_that_no_view_shows_unoccluded_is_generated_and_said_or_refused(config):
    result = complete(fenced(), 2, up=UP, config=config)
    assert result.prior.startswith("multiview") and any("In no view" in note for note in result.notes)
    strict = config_with(config, {"multiview.occluded_views": False})
    refused = complete(fenced(), 2, up=UP, config=strict)
    assert is_the_learned_result(refused, "In no view is the object free")


def test_an_object_that_every_image_cuts_is_not_generated(config):
    poses = orbit(2, (60.0,), (0.0, 90.0), distance=0.08, target=(0, 0, 0.04))
    close = render([table_mesh(), thing()], poses, 60, 45, 57.0)
    borders = [(f.labels[0], f.labels[-1], f.labels[:, 0], f.labels[:, -1]) for f in close]
    assert all((border == 2).any() for four in borders for border in four)
    assert is_the_learned_result(complete(close, 2, up=UP, config=config), "Every image ends before")


@pytest.mark.parametrize("damage", ["missing", "shape", "text"])
def test_missing_and_wrong_weights(frames, config, damage, tmp_path):
    path = tmp_path / "other.safetensors"
    words = {"missing": "There are no weights", "shape": "do not fit", "text": "not a readable weights file"}
    if damage == "shape":
        other = MultiviewNetwork((32, 32, 64))
        other.widths = (32, 32, 32)  # says it is another one than it is
        save_network(other, path, {})
    if damage == "text":
        path.write_text("no weights")
    wrong = config_with(config, {"multiview.weights": str(path)})
    assert is_the_learned_result(complete(frames, 2, up=UP, config=wrong), words[damage])


@pytest.mark.parametrize("vote", [0.0, 0.5])  # with one, depth is generated before the colours are
@pytest.mark.parametrize("allocate", [lambda: torch.empty(10**15), lambda: np.empty(10**15)])
def test_out_of_memory(frames, config, allocate, vote, monkeypatch):
    """The allocator itself refuses, in the middle of a pass."""
    monkeypatch.setattr(MultiviewNetwork, "forward", lambda *arguments: allocate())
    voting = config_with(config, {"multiview.depth_vote": vote})
    assert is_the_learned_result(complete(frames, 2, up=UP, config=voting), "not enough memory")


def test_a_fault_of_the_network_is_not_taken_for_bad_input(frames, config, monkeypatch):
    monkeypatch.setattr(MultiviewNetwork, "forward", lambda *arguments: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        complete(frames, 2, up=UP, config=config)
