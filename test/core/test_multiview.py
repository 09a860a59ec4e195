"""In-situ generation: the ring, warping by depth, and the channels of the model."""

import numpy as np
import pytest
from multiview_cases import FRAME, UP, ball, box, given_of, nothing

from instascene_core.camera import PinholeCamera
from instascene_core.completion.priors.multiview.inputs import (
    CONDITIONS,
    GENERATED,
    condition,
    decode,
    encode,
    merged,
    spread_known,
)
from instascene_core.completion.priors.multiview.ring import (
    DISTANCE,
    fitting_focal,
    object_frame,
    ring,
)
from instascene_core.completion.priors.multiview.views import (
    NEIGHBOURS,
    neighbour_lookup,
    render_geometry,
)
from instascene_core.completion.priors.multiview.warping import is_unoccluded, warp_views
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import OTHER, TARGET, DepthView
from instascene_core.transforms import apply, inverse, look_at

# --- frame and ring ---


def test_the_object_frame_of_a_box_by_hand():
    body = box((0.2, 0.6, 0.4), (1.0, 2.0, 3.0))
    frame = object_frame(body.vertices, UP)
    local = frame.from_world(body.vertices)
    assert frame.radius == pytest.approx(np.linalg.norm([0.1, 0.3, 0.2]))
    np.testing.assert_allclose(
        np.ptp(local, axis=0) * frame.radius, [0.6, 0.2, 0.4], atol=1e-9
    )  # x is longer
    np.testing.assert_allclose(local.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(frame.to_world(local), body.vertices, atol=1e-9)
    np.testing.assert_allclose(frame.world_from_frame[:3, 2], UP, atol=1e-9)
    with pytest.raises(InputError, match="no extent"):
        object_frame(np.ones((4, 3)), UP)


def test_the_ring_stands_30_degrees_above_at_uniform_azimuths_and_looks_at_the_origin():
    views = ring(1.0, 64)
    eyes = views.frame_from_camera[:, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), DISTANCE)
    np.testing.assert_allclose(np.arcsin(eyes[:, 2] / DISTANCE), np.deg2rad(30))
    azimuth = np.unwrap(np.arctan2(eyes[:, 1], eyes[:, 0]))
    np.testing.assert_allclose(np.diff(azimuth), np.pi / 8)
    for pose in views.frame_from_camera:
        pixel, z = views.camera.project(apply(inverse(pose), np.zeros(3)))
        np.testing.assert_allclose([*pixel, z], [32, 32, DISTANCE], atol=1e-9)


def test_all_views_hold_the_object_and_one_of_them_barely():
    body = box()
    views = ring(fitting_focal(body.vertices), 100)
    reach = [
        np.abs(views.camera.project(apply(inverse(pose), body.vertices))[0] - 50).max()
        for pose in views.frame_from_camera
    ]
    assert max(reach) == pytest.approx(47)


def test_points_of_depth_images_lie_on_the_mesh():
    body, given = box(), given_of(box(), 32)
    points = given.views.points(given.depth)[given.depth > 0]
    assert np.abs(meshes.signed_distance(body, points.astype(np.float64))).max() < 1e-4
    assert (given.coverage[given.depth > 0] > 0).all() and (given.coverage.max(axis=(1, 2)) == 1).all()


# --- lookups ---


def test_neighbouring_views_are_looked_up_where_they_show_the_same_place():
    given = given_of(ball(), 64)
    found = neighbour_lookup(given.depth, given.views, 4)
    assert found.cells.shape == (16, 256, len(NEIGHBOURS)) and found.valid.any()
    places = given.views.points(given.depth).reshape(16, 16, 4, 16, 4, 3)
    weight = (given.depth > 0).reshape(16, 16, 4, 16, 4, 1)
    mean = ((places * weight).sum((2, 4)) / np.maximum(weight.sum((2, 4)), 1)).reshape(-1, 3)
    here = np.repeat(mean.reshape(16, 256, 1, 3), len(NEIGHBOURS), axis=2)
    apart = np.linalg.norm(mean[found.cells] - here, axis=-1)[found.valid]
    assert np.quantile(apart, 0.9) < 0.2  # a cell is 0.13 wide
    views = found.cells[found.valid] // 256
    own = np.broadcast_to(np.arange(16)[:, None, None], found.valid.shape)[found.valid]
    assert set((views - own) % 16) == {step % 16 for step in NEIGHBOURS}


def test_what_lies_behind_something_is_not_looked_up():
    given, steps = given_of(ball(), 64), np.array(NEIGHBOURS) % 2 == 1
    assert neighbour_lookup(given.depth, given.views, 4).valid[::2][:, :, steps].any()
    given.depth[1::2] = 1.0  # something stands before every second camera
    found = neighbour_lookup(given.depth, given.views, 4)
    assert not found.valid[::2][:, :, steps].any() and found.valid[::2][:, :, ~steps].any()


# --- warping ---


def observed_view(what: int = TARGET, shift: float = 0.0) -> DepthView:
    """A camera above a square on z = 0, red where x < 0 and green elsewhere."""
    camera = PinholeCamera(101, 101, 100, 100, 50.5, 50.5)
    pose = look_at([0.0, 0.0, 2.0], [0.0, 0.0, 0.0])
    points = camera.back_project(np.full((101, 101), 2.0)) @ pose[:3, :3].T + pose[:3, 3]
    rgb = np.where(points[..., :1] < 0, [255, 0, 0], [0, 255, 0]).astype(np.uint8)
    depth = np.full((101, 101), 2.0 + shift, np.float32)
    return DepthView(camera, pose, depth, np.full((101, 101), what, np.uint8), rgb)


PLATE = box((0.8, 0.8, 0.02), (0, 0, -0.01))


def test_known_pixels_are_warped_by_depth_by_hand():
    views = ring(1.2, 32)
    seen = render_geometry(PLATE, views)
    known = warp_views([observed_view()], seen, views, FRAME, 0.0, MultiviewConfig())[0]
    points = views.points(seen.depth)
    top = (points[..., 2] > -1e-3) & seen.shown
    assert (known.valid == top).mean() > 0.99  # the sides face away from the camera above
    left, right = known.valid & (points[..., 0] < -0.1), known.valid & (points[..., 0] > 0.1)
    np.testing.assert_allclose(known.rgb[left], np.broadcast_to([1, 0, 0], (left.sum(), 3)), atol=1e-6)
    np.testing.assert_allclose(known.rgb[right], np.broadcast_to([0, 1, 0], (right.sum(), 3)), atol=1e-6)


@pytest.mark.parametrize("what, shift", [(OTHER, 0.0), (TARGET, -0.2), (TARGET, 0.2)])
def test_other_things_and_what_stands_before_are_not_known(what, shift):
    views = ring(1.2, 32)
    seen = render_geometry(PLATE, views)
    known = warp_views([observed_view(what, shift)], seen, views, FRAME, 0.0, MultiviewConfig())[0]
    assert not known.valid.any() and np.isfinite(known.rgb).all()


def test_grazing_surface_is_not_known():
    views = ring(1.2, 32)
    seen = render_geometry(PLATE, views)
    strict = MultiviewConfig(min_cosine=0.995)
    warped = warp_views([observed_view()], seen, views, FRAME, 0.0, strict)[0]
    assert 0 < warped.valid.sum() < 0.5 * seen.shown.sum()


def test_a_view_is_unoccluded_by_the_papers_rule():
    view = observed_view()
    assert is_unoccluded(view, PLATE, 0.05, 0.85)
    depth = view.depth.copy()
    depth[:, :60] = 1.0  # something in front of more than half of it
    hidden = DepthView(view.camera, view.world_from_camera, depth, view.what, view.rgb)
    assert not is_unoccluded(hidden, PLATE, 0.05, 0.85) and is_unoccluded(hidden, PLATE, 0.05, 0.2)
    beside = DepthView(view.camera, look_at([9.0, 0, 2], [9.0, 0, 0]), view.depth, view.what, view.rgb)
    assert not is_unoccluded(beside, PLATE, 0.05, 0.85)


# --- inputs ---


def test_what_is_generated_survives_encoding():
    given = given_of(ball(), 32)
    rgb = np.random.default_rng(0).uniform(size=(*given.depth.shape, 3)).astype(np.float32)
    back, depth, coverage = decode(encode(rgb, given.depth, given.coverage))
    np.testing.assert_allclose(back[given.coverage > 0], rgb[given.coverage > 0], atol=1e-6)
    np.testing.assert_allclose(coverage, given.coverage, atol=1e-6)
    both = (given.coverage > 0.5) & (given.depth > 0)
    np.testing.assert_allclose(depth[both], given.depth[both], atol=1e-6)


def test_the_nearest_known_colour_is_one_that_faces_the_same_way():
    given = given_of(box((1.0, 1.0, 1.0)), 32)
    up = given.views.to_frame(given.normals)[..., 2] > 0.9
    side = given.views.to_frame(given.normals)[..., 0] > 0.9
    half = given.views.points(given.depth)[..., 1] > 0
    known = nothing(given)
    known.rgb[up], known.rgb[side] = (1, 0, 0), (0, 0, 1)
    known.weight[(up | side) & half] = 1
    colors, nearness = spread_known(given, known)
    near_edge = side & ~half
    assert (colors[near_edge, 2] > 0.7).mean() > 0.95  # blue goes on on the side, though red is as near
    assert (nearness[known.valid] == 1).all() and 0 < nearness[near_edge].mean() < 1
    assert (nearness[given.depth == 0] <= 1).all() and nearness[given.coverage == 0].max() == 0


def test_conditions_have_their_channels_and_nothing_known_says_nothing():
    given = given_of(ball())
    conditions, start = condition(given, nothing(given))
    assert conditions.shape == (16, CONDITIONS, 16, 16) and start.shape == (16, GENERATED, 16, 16)
    assert not conditions[:, :8].any() and np.isfinite(conditions).all() and np.abs(conditions).max() < 4


def test_observed_views_together_know_what_each_of_them_knows():
    given = given_of(ball())
    a, b = nothing(given), nothing(given)
    a.rgb[:], b.rgb[:] = 1.0, 0.0
    a.weight[0], b.weight[0], b.weight[1] = 3.0, 1.0, 1.0
    both = merged([a, b])
    assert both.rgb[0] == pytest.approx(0.75) and both.rgb[1] == pytest.approx(0)
    assert both.valid[:2].all() and not both.valid[2:].any()
