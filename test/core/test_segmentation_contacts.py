"""The contact model: evidence on pairs of surface patches, its weights file, its training."""

import numpy as np
import pytest

from instascene_core.config.segmentation import FusedSurfaceConfig, SegmentationConfig
from instascene_core.errors import InputError
from instascene_core.segmentation.fused_surface.contacts import (
    FORMAT,
    NUM_FEATURES,
    WEIGHTS,
    ContactModel,
    _quantile,
    describe_pairs,
    load_contact_model,
)
from instascene_core.segmentation.fused_surface.cutting import grow_patches, neighbour_pairs, patch_contacts
from instascene_core.segmentation.fused_surface.surface import FusedSurface
from instascene_core.segmentation.graph import Links
from instascene_core.training.segmenter.contacts import ContactTraining, train
from instascene_core.training.segmenter.evidence import gather_scene, read_scene, write_scene
from instascene_core.weights import write_weights


def bent_sheet(scale: float = 1.0) -> FusedSurface:
    """A floor of 40 × 20 elements and a wall that rises from one edge of it; another colour on the wall."""
    x, y = (a.ravel().astype(float) for a in np.meshgrid(np.arange(40), np.arange(20), indexing="ij"))
    floor = np.stack([x, y, np.zeros_like(x)], axis=1)
    wall = np.stack([x, np.full_like(x, -0.5), y + 0.5], axis=1)
    normals = np.repeat([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], len(x), axis=0)
    colors = np.repeat([[60.0, 0.0, 0.0], [50.0, 30.0, 10.0]], len(x), axis=0)
    positions = np.concatenate([floor, wall]) * scale
    count = len(positions)
    return FusedSurface(positions, normals, colors, np.full(count, 5), np.full(count, 0.9), scale)


def evidence_of(surface: FusedSurface, views=()):
    config = FusedSurfaceConfig()
    pairs = neighbour_pairs(surface, config.patches)
    patch = grow_patches(surface, pairs, config.patches)
    border = np.where((surface.normals[pairs[:, 0]] * surface.normals[pairs[:, 1]]).sum(1) < 0.5, 0.8, 0.1)
    contacts = patch_contacts(surface, pairs, patch, config.creases)
    return describe_pairs(surface, pairs, patch, border, contacts, views), patch


def test_evidence_has_no_unit_of_length():
    small, _ = evidence_of(bent_sheet())
    large, _ = evidence_of(bent_sheet(1000.0))
    assert small.features.shape == (len(small.first), NUM_FEATURES) and len(small.first) > 10
    assert np.isfinite(small.features).all() and (small.first < small.second).all()
    np.testing.assert_allclose(small.features, large.features, atol=1e-4)


def test_the_contact_of_floor_and_wall_looks_different_from_those_within():
    evidence, patch = evidence_of(bent_sheet())
    surface = bent_sheet()
    upright = np.array([surface.normals[patch == p, 1].mean() > 0.5 for p in range(patch.max() + 1)])
    across = upright[evidence.first] != upright[evidence.second]
    assert evidence.touching.all() and across.any() and not across.all()
    border, colour = evidence.features[:, 26], evidence.features[:, 27]
    assert border[across].min() > 0.7 and border[~across].max() < 0.2
    assert colour[across].min() > 1.0 and colour[~across].max() < 1e-6
    angle = evidence.features[:, 15]
    assert np.degrees(angle[across]).min() > 80 and np.degrees(angle[~across]).max() < 10


def test_what_views_see_is_told_by_pair_and_counts_for_patches_apart():
    def seen(cut, weight):
        far = np.array([[0, patches - 1]])
        return Links(far[:, 0], far[:, 1], np.array([weight]), np.array([cut]), np.zeros(1, bool))

    _, patch = evidence_of(bent_sheet())
    patches = int(patch.max()) + 1
    evidence, _ = evidence_of(bent_sheet(), [seen(0.2, 1.0), seen(0.9, 3.0)])
    row = np.flatnonzero((evidence.first == 0) & (evidence.second == patches - 1))
    assert len(row) == 1 and not evidence.touching[row] and evidence.seen[row] == 4.0
    features = evidence.features[row[0]]
    assert features[0] == pytest.approx((0.2 + 2.7) / 4)  # weighted mean
    assert features[3:7].tolist() == pytest.approx([0.2, 0.9, 0.9, 0.9])  # quantiles
    assert features[7] == pytest.approx(0.9)  # the view with most evidence
    others = np.delete(np.arange(len(evidence.first)), row)
    assert (evidence.features[others, 3:8] == 0.5).all() and (evidence.seen[others] == 0).all()


def test_quantiles_by_weight():
    index, values = np.array([1, 1, 1, 1, 3]), np.array([0.0, 0.1, 0.9, 1.0, 0.3])
    found = _quantile(index, values, np.array([1.0, 1.0, 1.0, 1.0, 2.0]), 0.7, 5)
    np.testing.assert_allclose(found, [0.5, 0.9, 0.5, 0.3, 0.5])
    found = _quantile(index, values, np.array([9.0, 9.0, 1.0, 1.0, 2.0]), 0.7, 5)
    assert found[1] == 0.1  # views that hardly see it do not count


def test_the_model_in_the_package_is_small_and_reads():
    assert WEIGHTS.stat().st_size < 100_000
    odds = load_contact_model().log_odds(np.zeros((3, NUM_FEATURES), np.float32))
    assert odds.shape == (3,) and np.isfinite(odds).all()


def test_a_bad_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no weights of the contact model"):
        load_contact_model(tmp_path / "none.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing of use")
    with pytest.raises(InputError, match="not a readable"):
        load_contact_model(bad)
    with pytest.raises(InputError, match="does not hold weights of the contact model"):
        load_contact_model(WEIGHTS.with_name("segmenter.safetensors"))


def test_training_tells_pairs_apart(tmp_path):
    config = ContactTraining(steps=300, batch=256, width=16)
    found = [gather_scene(5, index, SegmentationConfig(), views=6) for index in range(3)]
    scenes = [scene for scene in found if scene is not None]
    assert len(scenes) >= 2
    state, scores = train(scenes[:-1], scenes[-1:], config)
    assert scores["auc_touching"] > 0.85 and scores["auc_apart"] > 0.8, scores
    write_weights(tmp_path / "contacts.safetensors", state, FORMAT, {}, half=False)
    again = load_contact_model(tmp_path / "contacts.safetensors")
    features = scenes[0].pairs.features
    np.testing.assert_array_equal(again.log_odds(features), ContactModel(state).log_odds(features))


def test_evidence_comes_back_from_its_file(tmp_path):
    scene = gather_scene(5, 0, SegmentationConfig(), views=4)
    assert scene is not None
    write_scene(tmp_path / "scene.npz", scene)
    again = read_scene(tmp_path / "scene.npz")
    assert again is not None
    np.testing.assert_array_equal(again.owner, scene.owner)
    np.testing.assert_array_equal(again.pairs.features, scene.pairs.features)
    np.testing.assert_allclose(again.surface.positions, scene.surface.positions, atol=1e-6)
    write_scene(tmp_path / "empty.npz", None)
    assert read_scene(tmp_path / "empty.npz") is None
