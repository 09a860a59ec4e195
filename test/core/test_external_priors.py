"""Priors from elsewhere: six views of public weights, and a shape by another program through a folder."""

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from completion_scene import orbit, render, table_mesh
from multiview_cases import UP, box
from tiny_checkpoints import write_zero123plus

from instascene_core.completion import complete, observe
from instascene_core.completion.priors.external import zero123plus
from instascene_core.completion.priors.external.alignment import aligned
from instascene_core.completion.priors.external.picture import azimuth_of, best_view, cut_out
from instascene_core.completion.priors.external.six_views import in_observed_colors, onto_shape, six_cameras
from instascene_core.completion.priors.multiview.inputs import Known
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.config import CompletionConfig
from instascene_core.config.external import QueueConfig, SixViewsConfig
from instascene_core.config_file import config_with
from instascene_core.errors import Cancelled, InputError
from instascene_core.geometry import Plane
from instascene_core.geometry import mesh as meshes

FAST = {
    "observing.max_voxels": 12_000, "learned.side": 16, "convex_parts.max_parts": 1, "candidates": False,
}  # fmt: skip
SMALL = SixViewsConfig(side=32, steps=2)


def corner() -> trimesh.Trimesh:
    """A step: no symmetry but one mirror plane."""
    low, high = trimesh.creation.box((0.12, 0.06, 0.04)), trimesh.creation.box((0.04, 0.06, 0.05))
    low.apply_translation((0, 0, 0.02))
    high.apply_translation((-0.04, 0, 0.06))
    return low.union(high)


def opened() -> trimesh.Trimesh:
    mesh = corner()
    return trimesh.Trimesh(mesh.vertices, mesh.faces[:-2])


@pytest.fixture(scope="module")
def frames():
    return render([table_mesh(), corner()], orbit(4, (35.0,), (200.0, 340.0)), 120, 90, 120.0)


@pytest.fixture(scope="module")
def observation(frames):
    config = config_with(CompletionConfig(), FAST)
    return observe(frames, 2, Plane(UP, 0.0), UP, config)


# --- one picture ---


def test_the_object_is_cut_out_on_grey_and_centred(observation):
    view = best_view(observation.views)
    picture = cut_out(view, 64)
    rows, columns = np.nonzero(picture.mask)
    assert (
        abs((rows.min() + rows.max()) / 2 - 31.5) < 1.5
        and abs((columns.min() + columns.max()) / 2 - 31.5) < 1.5
    )
    assert 0.75 < max(np.ptp(rows), np.ptp(columns)) / 64 < 0.82
    assert (picture.rgb[~picture.mask] == 127).all() and (picture.rgb[picture.mask] != 127).any()
    eye = view.world_from_camera[:3, 3]
    assert azimuth_of(view, np.zeros(3), np.eye(3)) == pytest.approx(np.arctan2(eye[1], eye[0]))
    with pytest.raises(InputError, match="No image shows"):
        best_view([])


# --- Zero123++ ---


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zero123plus") / "tiny"
    write_zero123plus(folder)
    return folder


def image(value: int) -> np.ndarray:
    return np.full((40, 40, 3), value, np.uint8)


def test_six_views_come_from_a_grid_and_depend_on_image_and_seed(checkpoint):
    model = zero123plus.Zero123Plus(checkpoint)
    told = []
    views = model.generate(image(30), 0, 32, 2, 4.0, lambda *passes: told.append(passes))
    assert views.shape == (6, 32, 32, 3) and views.min() >= 0 and views.max() <= 1
    assert told == [(0, 2), (1, 2)] and model.licence == "cc-by-nc-4.0"
    np.testing.assert_array_equal(views, model.generate(image(30), 0, 32, 2, 4.0))
    for other in (model.generate(image(200), 0, 32, 2, 4.0), model.generate(image(30), 1, 32, 2, 4.0)):
        assert np.abs(views - other).max() > 1e-4
    # The grid is read row by row.
    model.parts["vae"].decode = lambda latents: type("D", (), {"sample": marked()})
    bright = model.generate(image(30), 0, 32, 1, 1.0).mean(axis=(1, 2, 3)) > 0.6
    assert np.flatnonzero(bright).tolist() == [3]


def marked() -> torch.Tensor:
    """A picture of three rows of two views of 32 pixels, bright in the second row's right one."""
    grid = torch.zeros(1, 3, 96, 64)
    grid[..., 32:64, 32:64] = 0.5
    return grid


def test_the_image_acts_through_reference_attention_too(checkpoint):
    model = zero123plus.Zero123Plus(checkpoint)
    model.ramp = torch.zeros_like(model.ramp)  # the embedding tells nothing now
    with_image, other = (model.generate(image(v), 0, 32, 1, 1.0) for v in (30, 200))
    assert np.abs(with_image - other).max() > 1e-5
    for attention in model.parts["unet"].attn_processors.values():
        if isinstance(attention, zero123plus._ReferenceAttention):
            attention.reference = zero123plus._Reference()  # ignores
    np.testing.assert_array_equal(*(model.generate(image(v), 0, 32, 1, 1.0) for v in (30, 200)))


@pytest.mark.parametrize("damage", ["no folder", "no ramp", "no unet"])
def test_what_is_no_such_folder_is_one_sentence(checkpoint, tmp_path, damage):
    folder = tmp_path / "copy"
    if damage != "no folder":
        shutil.copytree(checkpoint, folder)
    if damage == "no ramp":
        (folder / "model_index.json").write_text("{}")
    if damage == "no unet":
        shutil.rmtree(folder / "unet")
    with pytest.raises(InputError) as caught:
        zero123plus.Zero123Plus(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_the_cameras_go_round_from_the_image_on():
    views = six_cameras(np.deg2rad(100), SMALL)
    eyes = views.frame_from_camera[:, :3, 3]
    azimuths = np.rad2deg(np.arctan2(eyes[:, 1], eyes[:, 0])) % 360
    np.testing.assert_allclose(azimuths, (100 + 30 + 60 * np.arange(6)) % 360)
    elevations = np.rad2deg(np.arcsin(eyes[:, 2] / np.linalg.norm(eyes, axis=1)))
    np.testing.assert_allclose(elevations, [20, -10] * 3)


def drawn(color=(0.9, 0.3, 0.2), shrink=0.8):
    """(geometry, pictures [6, 64, 64, 3]): views of a box, painted smaller than they are, on grey."""
    import cv2

    geometry = render_geometry(box((1.0, 0.6, 0.4)), six_cameras(0.3, SixViewsConfig(side=64)))
    images = []
    for shown in geometry.coverage > 0.5:
        flat = np.where(shown[..., None], color, 0.5).astype(np.float32)
        move = np.array([[shrink, 0, 9.0], [0, shrink, 4.0]])
        images.append(cv2.warpAffine(flat, move, (64, 64), borderValue=(0.5, 0.5, 0.5)))
    return geometry, np.stack(images)


def test_views_are_put_onto_the_shape_by_their_outlines():
    geometry, images = drawn()
    images[2] = 0.5  # an empty view
    images[4, :20] = 0.0  # another outline
    rgb, coverage, used = onto_shape(images, geometry, SixViewsConfig())
    assert used.tolist() == [True, True, False, True, False, True] and not coverage[~used].any()
    for k in np.flatnonzero(used):
        overlap = (coverage[k] > 0.5) == (geometry.coverage[k] > 0.5)
        assert overlap.mean() > 0.97
        inner = (coverage[k] > 0.99) & (np.abs(rgb[k] - 0.5).max(axis=-1) > 0.3)
        np.testing.assert_allclose(np.median(rgb[k][inner], axis=0), [0.9, 0.3, 0.2], atol=0.01)


def test_generated_colours_follow_the_observed_ones():
    made, coverage = np.full((6, 8, 8, 3), 0.4, np.float32), np.ones((6, 8, 8), np.float32)
    seen = np.zeros((6, 8, 8), np.float32)
    seen[0] = 1
    known = Known(np.full((6, 8, 8, 3), 0.6, np.float32) * [1, 1, 0.1], seen)
    colors = in_observed_colors(made, coverage, known, SixViewsConfig())
    np.testing.assert_allclose(colors[1:], np.broadcast_to([0.6, 0.6, 0.2], colors[1:].shape), atol=1e-6)
    np.testing.assert_allclose(colors[0], known.rgb[0], atol=1e-6)  # observed ones stay


def test_an_object_is_painted_by_the_six_views_and_names_their_licence(frames, checkpoint, monkeypatch):
    changes = {
        **FAST, "prior": "zero123plus", "zero123plus.checkpoint": str(checkpoint), "zero123plus.side": 32,
        "zero123plus.steps": 1, "zero123plus.min_overlap": 0.3,
    }  # fmt: skip
    config = config_with(CompletionConfig(), changes)
    refused = complete(frames, 2, up=UP, config=config_with(config, {"zero123plus.min_overlap": 1.0}))
    assert refused.prior.startswith("learned (Apache-2.0)")
    assert any("None of the six generated views" in note for note in refused.notes)

    def blue(self, rgb, seed, side, steps, guidance, on_step):
        views = np.full((6, side, side, 3), 0.5, np.float32)
        views[:, 4:-4, 4:-4] = (0.1, 0.1, 0.9)
        return views

    monkeypatch.setattr(zero123plus.Zero123Plus, "generate", blue)
    result = complete(frames, 2, up=UP, config=config)
    assert result.prior.startswith("zero123plus (cc-by-nc-4.0)") and result.watertight
    seen, hidden = result.observed > 0.9, result.observed < 0.05
    plain = result.colors[seen].astype(int)
    assert (plain[:, 2] < 150).mean() > 0.95  # observed colours stay
    assert (result.colors[hidden][:, 2].astype(int) > result.colors[hidden][:, 0]).mean() > 0.4


# --- a shape through a folder ---


def moved(mesh: trimesh.Trimesh, scale: float = 7.0) -> trimesh.Trimesh:
    """The same, y up, turned, in other units and elsewhere."""
    other = mesh.copy()
    other.apply_transform(trimesh.transformations.rotation_matrix(0.7, (0, 0, 1)))
    other.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0)))
    other.apply_scale(scale)
    other.apply_translation((3, -2, 1))
    return other


def test_a_mesh_is_put_into_its_place(observation):
    truth = meshes.from_trimesh(corner())
    guess = meshes.from_trimesh(trimesh.creation.box((0.13, 0.07, 0.08)).apply_translation((0, 0, 0.04)))
    placed, fit = aligned(meshes.from_trimesh(moved(corner())), guess, observation, QueueConfig())
    assert fit.distance < 0.02 and fit.free < 0.1
    off = meshes.distance(truth, placed.vertices)
    assert np.abs(off).max() < 0.006  # of 0.14 m, also on the side that nobody saw
    stick = meshes.from_trimesh(moved(trimesh.creation.cylinder(0.005, 0.3)))
    with pytest.raises(InputError, match="does not fit what was observed"):
        aligned(stick, guess, observation, QueueConfig())


def answering(folder: Path, mesh: trimesh.Trimesh | bytes) -> threading.Thread:
    """A program that answers the first request."""

    def work() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for request in (folder / "requests").glob("*"):
                facts = json.loads((request / "request.json").read_text())
                assert (request / "image.png").stat().st_size > 100
                target = folder / f"{facts['answer']}.ply"
                data = mesh if isinstance(mesh, bytes) else mesh.export(file_type="ply")
                hidden = folder / "half.ply"
                hidden.write_bytes(data)
                hidden.rename(target)
                return
            time.sleep(0.02)

    (folder / "answers").mkdir()
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def with_queue(folder: Path, **changes) -> CompletionConfig:
    settings = {"folder": str(folder), "licence": "mit", "poll_s": 0.02, "timeout_s": 15.0, **changes}
    given = {f"queue.{name}": value for name, value in settings.items()}
    return config_with(CompletionConfig(), {**FAST, "prior": "queue", **given})


def test_another_programs_shape_completes_the_object(frames, tmp_path):
    program = answering(tmp_path, moved(corner()))
    result = complete(frames, 2, Plane(UP, 0.0), up=UP, config=with_queue(tmp_path))
    program.join()
    assert result.prior == "queue (mit)" and result.watertight
    assert result.volume == pytest.approx(corner().volume, rel=0.12)
    assert not list((tmp_path / "requests").iterdir())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"no mesh", "no readable mesh"),
        (opened(), "not closed"),
        (None, "No answer"),
    ],
)
def test_without_a_usable_answer_the_learned_shape_comes(frames, tmp_path, answer, words):
    program = None if answer is None else answering(tmp_path, answer)
    wait = 0.1 if answer is None else 15.0
    result = complete(frames, 2, Plane(UP, 0.0), up=UP, config=with_queue(tmp_path, timeout_s=wait))
    if program is not None:
        program.join()
    notes = [note for note in result.notes if note.startswith("No shape came from the prior 'queue'")]
    assert result.prior.startswith("learned (Apache-2.0)") and len(notes) == 1 and words in notes[0]
    assert not list((tmp_path / "requests").iterdir())


def test_waiting_can_be_cancelled(frames, tmp_path):
    def stop(stage: str, share: float, message: str = "") -> None:
        if "waiting" in message:
            raise Cancelled()

    with pytest.raises(Cancelled):
        complete(frames, 2, up=UP, config=with_queue(tmp_path), progress=stop)
    assert not list((tmp_path / "requests").iterdir())


def test_a_queue_needs_its_folder(frames, tmp_path):
    result = complete(frames, 2, up=UP, config=with_queue(tmp_path / "nowhere"))
    assert any("completion.queue.folder" in note for note in result.notes)
