"""Measures against values worked out by hand."""

import json

import numpy as np
import pytest
import trimesh

from instascene_core import metrics
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.geometry import TriangleMesh
from instascene_core.objects import CompletedObject


def box(size=(0.1, 0.1, 0.1), at=(0.0, 0.0, 0.0)) -> TriangleMesh:
    mesh = trimesh.creation.box(size)
    return TriangleMesh(np.array(mesh.vertices) + at, np.array(mesh.faces, dtype=np.int32))


def sphere(radius: float) -> TriangleMesh:
    mesh = trimesh.creation.icosphere(4, radius)
    return TriangleMesh(np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int32))


def completed(mesh: TriangleMesh, instance_id: int = 1, observed=None) -> CompletedObject:
    count = len(mesh.vertices)
    return CompletedObject(
        instance_id=instance_id,
        mesh=mesh,
        colors=np.zeros((count, 3), np.uint8),
        observed=np.ones(count, np.float32) if observed is None else observed,
        vertex_uncertainty=np.zeros(count, np.float32),
        world_from_object=np.eye(4),
        dimensions=np.ptp(mesh.vertices, axis=0),
        watertight=True,
        volume=0.0,
        observed_fraction=1.0,
        uncertainty=0.0,
        confidence=1.0,
        prior="test",
        duration_s=0.0,
    )


# --- surfaces ---


def test_samples_lie_on_the_mesh_and_spread_by_area():
    points = metrics.sample_surface(box((0.2, 0.1, 0.1)), 20_000)
    assert np.abs(np.abs(points / [0.1, 0.05, 0.05]).max(axis=1) - 1).max() < 1e-9
    # The two ends hold 2·0.01 of 2·(0.01 + 0.02 + 0.02) m².
    assert (np.abs(points[:, 0]) > 0.1 - 1e-9).mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_array_equal(points, metrics.sample_surface(box((0.2, 0.1, 0.1)), 20_000))


def test_concentric_spheres_are_their_radii_apart():
    result = metrics.compare_surfaces(sphere(0.05), sphere(0.06), threshold=0.005)
    assert result.accuracy == pytest.approx(0.01, rel=0.02)
    assert result.completeness == pytest.approx(0.01, rel=0.02)
    assert result.chamfer == pytest.approx(0.01, rel=0.02)
    assert metrics.chamfer_distance(sphere(0.05), sphere(0.06)) == result.chamfer
    assert (result.precision, result.recall, result.f_score) == (0, 0, 0)
    assert metrics.f_score(sphere(0.05), sphere(0.06), 0.012) == 1.0


def test_half_a_surface_is_accurate_but_incomplete():
    """One face of a cube: everything predicted is right, one sixth of the truth is there."""
    cube = box((1.0, 1.0, 1.0))
    top = cube.triangles[(cube.vertices[cube.triangles][..., 2] > 0.49).all(axis=1)]
    result = metrics.compare_surfaces(TriangleMesh(cube.vertices, top), cube, threshold=1e-4)
    assert result.accuracy < 1e-6 and result.precision == 1.0
    assert result.recall == pytest.approx(1 / 6, abs=0.01)
    assert result.f_score == pytest.approx(2 / 7, abs=0.02)


def test_an_empty_mesh_cannot_be_measured():
    empty = TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    with pytest.raises(InputError, match="without triangles"):
        metrics.chamfer_distance(empty, box())


# --- volumes ---


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (box(), 1.0),
        (box(at=(0.05, 0, 0)), 1 / 3),
        (box(at=(0.05, 0.05, 0)), 1 / 7),
        (box((0.05, 0.1, 0.1)), 0.5),
        (box(at=(0.1, 0, 0)), 0.0),
        (box(at=(3.0, 0, 0)), 0.0),
    ],
)
def test_volume_iou_of_boxes(second, expected):
    assert metrics.volume_iou(box(), second) == pytest.approx(expected, abs=0.01)
    assert metrics.volume_iou(second, box()) == pytest.approx(expected, abs=0.01)


def test_volume_iou_sees_cavities_and_thin_walls():
    solid = trimesh.creation.cylinder(0.05, 0.1, sections=64)
    shell = trimesh.boolean.difference([solid, trimesh.creation.cylinder(0.047, 0.2, sections=64)])
    solid, shell = (TriangleMesh(np.array(m.vertices), np.array(m.faces, np.int32)) for m in (solid, shell))
    assert metrics.volume_iou(shell, solid) == pytest.approx(1 - 0.94**2, abs=0.01)
    assert metrics.volume_iou(shell, shell) == 1.0


def test_volume_iou_far_from_the_origin():
    far = (500.0, -300.0, 20.0)
    assert metrics.volume_iou(box(at=far), box(at=(500.05, -300.0, 20.0))) == pytest.approx(1 / 3, abs=0.01)


def test_inside():
    points = np.array([[0, 0, 0], [0.049, 0, 0], [0.051, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(metrics.inside(box(), points), [True, True, False, False])


def test_observed_offset_looks_at_observed_triangles_only():
    """A box 2 mm too long at its top; only the top, or only the bottom, was observed."""
    truth, longer = box(), box((0.1, 0.1, 0.102), (0, 0, 0.001))
    top = (longer.vertices[:, 2] > 0).astype(np.float32)
    upper = metrics.observed_offset(completed(longer, observed=top), truth)
    lower = metrics.observed_offset(completed(longer, observed=1 - top), truth)
    assert upper > 3 * lower  # side walls are right in both cases
    assert np.isnan(metrics.observed_offset(completed(longer, observed=0 * top), truth))
    grown = box((0.104, 0.104, 0.104))
    assert metrics.observed_offset(completed(grown), truth) == pytest.approx(0.002, abs=1e-4)


# --- images ---


def test_psnr():
    reference = np.full((20, 20, 3), 100, np.uint8)
    off = reference.copy()
    off[:10] = 110
    half = -10 * np.log10(0.5 * (10 / 255) ** 2)
    assert metrics.psnr(off, reference) == pytest.approx(half)
    mask = np.zeros((20, 20), bool)
    mask[:10] = True
    assert metrics.psnr(off, reference, mask) == pytest.approx(20 * np.log10(25.5))
    assert metrics.psnr(off / 255.0, reference) == pytest.approx(half)
    assert metrics.psnr(reference, reference) == np.inf
    with pytest.raises(ValueError, match="shape"):
        metrics.psnr(reference[:5], reference)


def test_ssim_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    a = rng.uniform(size=(40, 50, 3))
    b = np.clip(a + rng.normal(0, 0.2, a.shape), 0, 1)
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2
    )
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-6)
    assert metrics.ssim(a, a) == pytest.approx(1)
    with pytest.raises(ValueError, match="11×11"):
        metrics.ssim(a[:10], b[:10])


# --- instances ---


def test_match_maximises_the_sum():
    similarity = np.array([[0.6, 0.5, 0.0], [0.5, 0.1, 0.0]])  # greedy would take 0.6 + 0.1
    assert metrics.match(similarity) == [(0, 1), (1, 0)]
    assert metrics.match(np.zeros((2, 2))) == []
    assert metrics.match(np.zeros((0, 3))) == []


U = UNLABELLED
TRUE = [np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, U]])]
PRED = [np.array([[7, 7, 7, 9]]), np.array([[7, 7, U, 9]])]


def test_mask_iou_counts_over_all_views():
    iou, predicted, true = metrics.mask_iou(PRED, TRUE)
    assert (predicted, true) == ([7, 9], [1, 2])
    # 7 and 1: 4 pixels in common, 5 + 5 − 4 = 6 together; 9 and 2: 1 of 2 + 2 − 1 = 3.
    np.testing.assert_allclose(iou, [[4 / 6, 1 / 6], [0, 1 / 3]])


def test_multi_view_iou():
    scores = metrics.multi_view_iou(PRED, TRUE)
    assert scores.partner == {1: 7, 2: 9}
    assert scores.miou == pytest.approx((4 / 6 + 1 / 3) / 2)
    assert scores.ap50 == pytest.approx(0.5) and scores.ap25 == 1.0
    assert scores.ap == pytest.approx(0.5 * 4 / 10)  # IoU 0.67 passes 0.5, 0.55, 0.6, 0.65


def test_one_global_matching_punishes_switched_ids():
    """Right in every view by itself, but the two ids change places half way."""
    true = [np.array([[1, 2]]), np.array([[1, 2]])]
    predicted = [np.array([[1, 2]]), np.array([[2, 1]])]
    assert metrics.multi_view_iou(predicted, true).miou == pytest.approx(1 / 3)


def test_missed_instances_count_zero_and_perfect_is_one():
    assert metrics.multi_view_iou(TRUE, TRUE).miou == metrics.multi_view_iou(TRUE, TRUE).ap == 1.0
    nothing = [np.full((1, 4), U)] * 2
    scores = metrics.multi_view_iou(nothing, TRUE)
    assert scores.miou == 0 and scores.ap25 == 0 and scores.partner == {}
    with pytest.raises(ValueError, match="shape"):
        metrics.multi_view_iou([np.zeros((2, 2))], [np.zeros((1, 4))])


def test_a_split_object_is_one_hit_or_none_and_the_pieces_are_false():
    true = [np.array([[1] * 10 + [2] * 10])]
    scores = metrics.multi_view_iou([np.array([[4] * 8 + [5] * 2 + [6] * 10])], true)  # 1 is 8 + 2
    assert (scores.true_objects, scores.instances, scores.false_instances) == (2, 3, 1)
    assert (scores.recall_50, scores.recall_75) == (1.0, 1.0)
    assert scores.precision_50 == scores.precision_75 == pytest.approx(2 / 3)
    assert scores.miou == pytest.approx(0.9) and scores.iou == {1: 0.8, 2: 1.0}
    scores = metrics.multi_view_iou([np.array([[4] * 4 + [5] * 3 + [7] * 3 + [6] * 10])], true)
    assert (scores.recall_50, scores.precision_50, scores.false_instances) == (0.5, 0.25, 3)
    assert scores.miou == pytest.approx((0.4 + 1) / 2)


def test_merged_twins_are_at_most_one_hit():
    twins = [np.array([[1] * 10 + [2] * 10])]
    scores = metrics.multi_view_iou([np.full((1, 20), 3)], twins)  # half of either
    assert (scores.recall_50, scores.recall_75, scores.precision_50) == (0.5, 0.0, 1.0)
    assert scores.miou == 0.25 and sorted(scores.iou.values()) == [0.0, 0.5]
    with_table = [np.array([[1] * 10 + [2] * 10 + [U]])]
    scores = metrics.multi_view_iou([np.full((1, 21), 3)], with_table)  # 10/21 each: nothing is found
    assert (scores.recall_50, scores.precision_50, scores.false_instances) == (0.0, 0.0, 1)


def test_hits_are_not_given_up_for_two_near_misses():
    iou = np.array([[0.52, 0.4], [0.4, 0.0]])
    assert metrics.match(iou) == [(0, 1), (1, 0)]  # 0.8 > 0.52
    assert metrics.hits(iou, 0.5) == 1 and metrics.hits(iou, 0.75) == 0
    assert metrics.hits(np.array([[0.9], [0.8]]), 0.5) == 1  # one to one
    assert metrics.hits(np.zeros((0, 2)), 0.5) == metrics.hits(np.zeros((2, 0)), 0.5) == 0


def test_table_and_room_are_not_delivered_but_hidden_objects_are():
    true, predicted = [np.array([[1, 1, U, U]])], [np.array([[3, 3, 9, 9]])]
    scores = metrics.multi_view_iou(predicted, true, objects=[3])
    assert (scores.instances, scores.precision_50, scores.false_instances) == (1, 1.0, 0)
    scores = metrics.multi_view_iou(predicted, true, objects=[3, 4])  # no view shows 4
    assert (scores.instances, scores.precision_50, scores.false_instances) == (2, 0.5, 1)
    assert metrics.multi_view_iou(predicted, true).false_instances == 1


def test_shares_of_nothing_are_nan():
    nothing = [np.full((1, 4), U)]
    scores = metrics.multi_view_iou(nothing, [np.array([[1, 1, 2, 2]])])
    assert (scores.recall_50, scores.miou, scores.false_instances) == (0.0, 0.0, 0)
    assert np.isnan(scores.precision_50) and scores.iou == {1: 0.0, 2: 0.0}
    scores = metrics.multi_view_iou([np.array([[5, 5, 5, 5]])], nothing)
    assert np.isnan(scores.recall_50) and np.isnan(scores.miou)
    assert (scores.precision_50, scores.false_instances) == (0.0, 1)


def test_average_precision_by_hand():
    """Hits at ranks 1 and 3 of 3, three true ones: precision 1 and 2/3, over 3."""
    iou = np.array([[0.9, 0, 0], [0.2, 0.1, 0], [0, 0.6, 0]])
    assert metrics.average_precision_at(iou, np.array([0.9, 0.8, 0.7]), 0.5) == pytest.approx((1 + 2 / 3) / 3)
    # The false one last: precision 1 at both hits.
    assert metrics.average_precision_at(iou, np.array([0.9, 0.1, 0.7]), 0.5) == pytest.approx(2 / 3)
    # A second claim on the same true object is false.
    twice = np.array([[0.9], [0.8]])
    assert metrics.average_precision_at(twice, np.array([0.5, 0.9]), 0.5) == 1.0
    assert np.isnan(metrics.average_precision_at(np.zeros((1, 0)), np.ones(1), 0.5))


# --- completed objects ---


@pytest.fixture
def truth(tmp_path):
    """Ground truth with a 10 cm cube (id 1) at 0 and one (id 12) a metre away."""
    (tmp_path / "meshes").mkdir()
    for number, x in ((1, 0.0), (12, 1.0)):
        mesh = box(at=(x, 0, 0))
        trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).export(
            tmp_path / f"meshes/{number}.ply"
        )
    objects = [{"id": 1, "kind": "box", "observed_fraction": 0.5}]
    (tmp_path / "scene.json").write_text(json.dumps({"objects": objects}))
    return tmp_path


def test_evaluate_objects(truth):
    things = {
        5: completed(box((0.1, 0.1, 0.11), (0, 0, 0.005)), 5),
        6: completed(box((0.01, 0.01, 0.01), (1, 0, 0)), 6),  # far too small: not found
    }
    result = metrics.evaluate_objects(things, truth)
    assert (result.true_objects, result.found, result.spurious) == (2, 1, 1)
    first, second = result.objects
    assert (first.truth_id, first.name, first.instance_id) == (1, "box 1", 5)
    assert first.true_observed_fraction == 0.5 and first.watertight
    assert first.volume_iou == pytest.approx(10 / 11, abs=0.01)
    assert result.mean_volume_iou == first.volume_iou
    assert result.mean_volume_iou_all == pytest.approx(first.volume_iou / 2)
    assert 0 < first.observed_offset < 0.005 and 0 < first.chamfer < 0.005 and 0.5 < first.f_score <= 1
    assert (second.name, second.instance_id, second.volume_iou) == ("object 12", None, 0.0)
    plain = result.as_dict()
    json.dumps(plain)
    assert plain["objects"][0]["instance_id"] == 5 and plain["found"] == 1
    assert metrics.evaluate_objects(things.values(), truth).found == 1


def test_nothing_completed(truth):
    result = metrics.evaluate_objects({}, truth)
    assert (result.found, result.spurious, result.mean_volume_iou_all) == (0, 0, 0.0)
    assert np.isnan(result.mean_volume_iou)
    assert (result.true_objects, result.instances, result.recall_50) == (2, 0, 0.0)
    assert result.mean_f_score_all == 0.0 and np.isnan(result.precision_50)


def test_means_and_shares_count_every_true_and_every_delivered_object(truth):
    things = [
        completed(box((0.1, 0.1, 0.06)), 5),  # 60 % of the first: a hit at 0.5 only
        completed(box((0.1, 0.1, 0.03), (0, 0, 0.2)), 6),  # beside everything
        completed(box((0.1, 0.1, 0.02), (0, 0, 0.04)), 7),  # a piece of the first
    ]
    result = metrics.evaluate_objects(things, truth)
    assert (result.true_objects, result.instances, result.found, result.spurious) == (2, 3, 1, 2)
    assert result.recall_50 == 0.5 and result.precision_50 == pytest.approx(1 / 3)
    assert result.recall_75 == result.precision_75 == 0.0
    assert result.mean_volume_iou_all == pytest.approx(0.3, abs=0.01)
    assert result.mean_f_score_all == pytest.approx(result.mean_f_score / 2) and result.mean_f_score > 0
    assert list(result.as_dict())[:3] == ["true_objects", "instances", "recall_50"]  # headline first


def test_completed_objects_without_any_true_one():
    result = metrics.compare_objects([completed(box())], [])
    assert (result.true_objects, result.instances, result.spurious, result.precision_50) == (0, 1, 1, 0.0)
    assert np.isnan(result.recall_50) and np.isnan(result.mean_volume_iou_all)


def test_no_ground_truth(tmp_path):
    with pytest.raises(InputError, match="no ground truth"):
        metrics.evaluate_objects({}, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scene.json", "{"),
        ("scene.json", "[]"),
        ("scene.json", '{"objects": [{}]}'),
        ("scene.json", '{"objects": [{"id": 1, "observed_fraction": "much"}]}'),
        ("scene.json", '{"objects": [], "world_offset_m": [1, 2]}'),
        ("meshes/1.ply", "ply, or so"),
        ("meshes/1.ply", ""),
    ],
)
def test_damaged_ground_truth_is_one_sentence(truth, name, content):
    (truth / name).write_text(content)
    with pytest.raises(InputError, match=r"cannot be read|not readable JSON|no JSON object") as caught:
        metrics.evaluate_objects({5: completed(box(), 5)}, truth)
    assert name.split("/")[-1] in str(caught.value) and "\n" not in str(caught.value)


def test_a_ground_truth_of_something_else_is_told(tmp_path, caplog):
    """In millimetres, say; all figures would be 0, as if nothing had been found."""
    (tmp_path / "meshes").mkdir()

    def judged(true: TriangleMesh) -> int:
        for name in ("1", "mug"):
            trimesh.Trimesh(true.vertices, true.triangles).export(tmp_path / f"meshes/{name}.ply")
        return metrics.evaluate_objects({5: completed(box(), 5)}, tmp_path).found

    assert judged(box()) == 1 and "meets one of" not in caplog.text
    assert "1 meshes are not named <id>.ply and left out: mug.ply" in caplog.text
    assert judged(box((100, 100, 100), at=(400, 0, 0))) == 0
    assert "None of the 1 completed objects meets one of the 1 true ones" in caplog.text
    assert "is 100 m large" in caplog.text


def test_an_open_mesh_is_noticed(truth):
    cube = box()
    result = metrics.evaluate_objects([completed(TriangleMesh(cube.vertices, cube.triangles[:-1]))], truth)
    assert not result.all_watertight
