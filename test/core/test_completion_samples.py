"""Several guesses of one object, and the box that all of them must fit into."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completion_scene import orbit, render, table_mesh

from instascene_core.completion import PRIORS, Prediction, complete_observation, observe
from instascene_core.completion.meshing import fusion
from instascene_core.completion.observing.regridding import observe_beyond_face
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig, ObservingConfig
from instascene_core.errors import InputError
from instascene_core.geometry import Plane
from instascene_core.geometry import mesh as meshes

TABLE_PLANE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
FAST = CompletionConfig(
    prior="carving",
    observing=ObservingConfig(max_voxels=60_000),
    convex_parts=ConvexPartsConfig(max_parts=1),
)


def cone_seen_from_one_side():
    """Six views; the cone stands on z = 0."""
    cone = trimesh.creation.cone(0.04, 0.1, sections=48)
    cone.apply_transform(trimesh.transformations.rotation_matrix(0.5, (0, 0, 1)))
    return render([table_mesh(), cone], orbit(6, (30, 50), (0, 100)), noise=0.001)


class Shells:
    """Carving, then bodies that are larger by given amounts; an infinite one leaves nothing."""

    name, licence = "shells", "test"

    def __init__(self, amounts):
        self.amounts = amounts

    def predict(self, observation, num_samples, seed):
        base = PRIORS["carving"]().predict(observation, 1, seed)
        fields = [base.fields[0] - np.float32(a) for a in self.amounts[:num_samples]]
        return Prediction(np.stack(fields), base.uncertainty)


@pytest.fixture(scope="module")
def half_seen():
    return observe(cone_seen_from_one_side(), 2, TABLE_PLANE, None, FAST)


def completed_with(observation, amounts, **changes):
    config = replace(FAST, candidates=False, **changes)
    return complete_observation(observation, Shells(amounts), config, len(amounts), 0)


def test_the_spread_of_the_hypotheses_is_the_uncertainty(half_seen):
    near = completed_with(half_seen, (0.0, 0.002, -0.002))
    far = completed_with(half_seen, (0.0, 0.006, -0.006))
    assert len(near.hypotheses) == 2
    assert all(meshes.is_watertight(other) for other in far.hypotheses)
    np.testing.assert_array_equal(near.mesh.vertices, far.mesh.vertices)  # the first one is the mesh
    unseen = near.observed < 0.1
    assert near.uncertainty < far.uncertainty
    assert far.vertex_uncertainty[unseen].mean() > 2.4 * near.vertex_uncertainty[unseen].mean()
    seen = near.observed > 0.9
    assert far.vertex_uncertainty[seen].mean() < 0.15 * far.vertex_uncertainty[unseen].mean()


def test_an_empty_hypothesis_is_closed_too_and_one_that_leaves_nothing_is_dropped(half_seen, monkeypatch):
    """What was seen stays even where the guess is empty: a skin, but a closed one."""
    result = completed_with(half_seen, (0.0, -1.0, 0.002))
    assert len(result.hypotheses) == 2
    assert all(meshes.is_watertight(other) for other in result.hypotheses)
    assert meshes.volume(result.hypotheses[0]) < 0.15 * result.volume
    fuse = fusion.fuse_guess

    def contradicting(observation, predicted, config):
        if predicted.min() > 0.5:
            raise InputError("Nothing remains.")
        return fuse(observation, predicted, config)

    monkeypatch.setattr(fusion, "fuse_guess", contradicting)
    result = completed_with(half_seen, (0.0, -1.0, 0.002))
    assert len(result.hypotheses) == 1
    assert any("1 of 3 guesses" in note for note in result.notes)
    with pytest.raises(InputError, match="Nothing remains"):
        completed_with(half_seen, (-1.0, 0.0))


def test_every_hypothesis_counts_for_the_size_of_the_box(half_seen):
    """Only the second guess is too large for the box."""
    large = float(half_seen.grid.size.max())
    result = completed_with(half_seen, (0.0, large), max_growths=1)
    assert any("cut off" in note for note in result.notes)


# ── the box ───────────────────────────────────────────────────────────────────────────────────────


def test_a_body_cut_by_its_box_says_so():
    """The unseen side of a guess without end is cut; the mesh is closed there, and the notes tell."""
    observation = observe(cone_seen_from_one_side(), 2, None, np.array([0, 0, 1.0]), FAST)
    result = completed_with(observation, (0.5,), max_growths=0)
    assert result.watertight
    assert any("cut off" in note for note in result.notes)
    assert not any("cut off" in note for note in completed_with(observation, (0.0,)).notes)


def test_a_face_where_something_says_that_the_body_ends_does_not_count(half_seen):
    field = np.ones(half_seen.grid.shape, dtype=np.float32)
    below = half_seen.support.height(observe_beyond_face(half_seen, 2, 0).grid.centers())[..., 0] < 0
    assert below.all()  # the box reaches below the support
    inside = field.copy()
    inside[..., 0] = -1
    assert not fusion.touches_unseen_face(half_seen, inside)
    for axis in range(3):
        free = observe_beyond_face(half_seen, axis, -1).free.take(0, axis=axis)
        known, unknown = np.argwhere(free), np.argwhere(~free & _above(half_seen, axis))
        if len(known):
            inside = field.copy()
            np.moveaxis(inside, axis, 0)[-1][tuple(known[0])] = -1
            assert not fusion.touches_unseen_face(half_seen, inside)
        if len(unknown):
            inside = field.copy()
            np.moveaxis(inside, axis, 0)[-1][tuple(unknown[0])] = -1
            assert fusion.touches_unseen_face(half_seen, inside)


def _above(observation, axis):
    layer = observe_beyond_face(observation, axis, -1)
    solid = layer.neighbour | (observation.support.height(layer.grid.centers()) < 0)
    return ~solid.take(0, axis=axis)
