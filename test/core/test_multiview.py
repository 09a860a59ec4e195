"""In-situ generation: ring, warping by depth, conditions, network, sampling, and the prior end to end."""

import numpy as np
import pytest
import torch
import trimesh
from completion_scene import orbit, render, table_mesh

from instascene_core.camera import PinholeCamera
from instascene_core.completion import complete, make_prior
from instascene_core.completion.meshing import appearance
from instascene_core.completion.meshing.painting import paint_unseen
from instascene_core.completion.priors.multiview.inputs import (
    CONDITIONS,
    GENERATED,
    GeneratedViews,
    Given,
    Known,
    condition,
    decode,
    encode,
    merged,
    spread_known,
)
from instascene_core.completion.priors.multiview.network import (
    MultiviewNetwork,
    load_network,
    save_network,
)
from instascene_core.completion.priors.multiview.noise import make_solver, shares
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.ring import (
    DISTANCE,
    ObjectFrame,
    fitting_focal,
    object_frame,
    ring,
)
from instascene_core.completion.priors.multiview.sampling import Sampler, conditions_of
from instascene_core.completion.priors.multiview.views import (
    NEIGHBOURS,
    neighbour_lookup,
    render_geometry,
)
from instascene_core.completion.priors.multiview.warping import is_unoccluded, warp_views
from instascene_core.config import CompletionConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.config_file import config_with
from instascene_core.errors import Cancelled, InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import OTHER, TARGET, DepthView
from instascene_core.transforms import apply, inverse, look_at

UP = np.array([0.0, 0.0, 1.0])
FRAME = ObjectFrame(np.eye(4), 1.0)


def box(size=(1.0, 0.6, 0.4), center=(0.0, 0.0, 0.0)) -> TriangleMesh:
    corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    return meshes.convex_hull(corners * size + center)


def ball(radius=0.9) -> TriangleMesh:
    sphere = trimesh.creation.icosphere(3, radius)
    return TriangleMesh(np.array(sphere.vertices), np.array(sphere.faces))


def given_of(mesh: TriangleMesh, side: int = 16) -> Given:
    views = ring(fitting_focal(mesh.vertices), side)
    seen = render_geometry(mesh, views)
    return Given(views, seen.depth, seen.coverage, seen.normals, np.zeros_like(seen.depth), -0.5)


def nothing(given: Given) -> Known:
    return Known(np.zeros((*given.depth.shape, 3), np.float32), np.zeros(given.depth.shape, np.float32))


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


# --- network and sampling ---


@pytest.fixture(scope="module")
def tiny() -> MultiviewNetwork:
    """A random network of the true architecture."""
    torch.manual_seed(0)
    network = MultiviewNetwork((32, 32, 32)).eval()
    torch.nn.init.normal_(network.head.weight, std=0.02)
    return network


def test_both_solvers_start_from_pure_noise():
    for name in ("ddim", "dpm"):
        solver = make_solver(name)
        solver.set_timesteps(10)
        alpha, sigma = shares(solver, int(solver.timesteps[0]))
        assert alpha == pytest.approx(0, abs=1e-3) and alpha**2 + sigma**2 == pytest.approx(1)
    with pytest.raises(InputError, match="known are ddim, dpm"):
        make_solver("euler")


def half_known(given: Given, color=(1.0, 0.0, 0.0)) -> Known:
    known = nothing(given)
    known.rgb[:] = color
    known.weight[(given.depth > 0) & (given.views.points(given.depth)[..., 0] > 0)] = 1
    return known


def test_an_untrained_network_gives_back_the_starting_point():
    given = given_of(ball())
    network = MultiviewNetwork((32, 32, 32)).eval()  # its last convolution is zero
    known = half_known(given)
    config = MultiviewConfig(steps=1, warp_steps=0.0)
    views = Sampler(network, config).sample(given, [known], seed=0)
    start = decode(condition(given, known)[1])
    np.testing.assert_allclose(views.rgb, start[0], atol=2e-2)
    np.testing.assert_allclose(views.coverage, start[2], atol=2e-2)


@pytest.mark.parametrize("conditions", ["joint", "averaged", "alternated", "single"])
@pytest.mark.parametrize("solver", ["ddim", "dpm"])
def test_known_pixels_come_out_known(tiny, conditions, solver):
    given = given_of(ball())
    known = [half_known(given), half_known(given, (0.9, 0.1, 0.0))]
    config = MultiviewConfig(steps=3, conditions=conditions, solver=solver, guidance=1.5)
    views = Sampler(tiny, config).sample(given, known, seed=0)
    valid = merged(known).valid
    np.testing.assert_allclose(views.rgb[valid], merged(known).rgb[valid], atol=1e-5)
    assert np.isfinite(views.rgb).all() and np.isfinite(views.depth).all()


def test_a_seed_gives_the_same_views_and_another_seed_others(tiny):
    given = given_of(ball())
    sampler = Sampler(tiny, MultiviewConfig(steps=2))
    first, again, other = (sampler.sample(given, [half_known(given)], seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.rgb, again.rgb)
    assert np.abs(first.rgb - other.rgb).max() > 1e-3


def test_conditions_are_the_first_views_given():
    given = given_of(ball())
    known = [half_known(given, (k / 10, 0, 0)) for k in range(4)]
    assert conditions_of(known, MultiviewConfig(conditions="single")) == known[:1]
    chosen = conditions_of(known, MultiviewConfig(conditions="averaged", max_conditions=3))
    assert [k is c for k, c in zip(known, chosen)] == [True] * 3
    assert len(conditions_of(known, MultiviewConfig())) == 1
    with pytest.raises(InputError, match="No observed view"):
        conditions_of([], MultiviewConfig())


def test_sampling_stops_between_two_passes(tiny):
    given = given_of(ball())

    def stop(done: int, total: int) -> None:
        assert total == 8
        if done == 3:
            raise Cancelled()

    config = MultiviewConfig(steps=4, conditions="averaged")
    with pytest.raises(Cancelled):
        Sampler(tiny, config).sample(given, [half_known(given)] * 2, 0, stop)


def test_attention_is_the_same_for_a_ring_that_starts_elsewhere(tiny):
    given = given_of(box())
    tables = [torch.from_numpy(a) for a in vars(neighbour_lookup(given.depth, given.views, 4)).values()]
    x = torch.randn(16, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    attend = tiny.attend[0]
    torch.nn.init.normal_(attend.out.weight, std=0.1)
    before = attend(x, *tables)
    count = torch.arange(16)
    moved_cells = torch.roll(tables[0], -3, 0)
    moved_cells = (moved_cells // 16 - 3) % 16 * 16 + moved_cells % 16
    attend.bias.data[:, 16:] = 0  # mirrored views are counted from the first one
    after = attend(torch.roll(x, -3, 0), moved_cells, torch.roll(tables[1], -3, 0))
    torch.testing.assert_close(after, torch.roll(before, -3, 0), atol=1e-5, rtol=1e-4)
    assert len(count) == 16 and not torch.allclose(before, x)


def test_weights_survive_their_file_and_wrong_ones_are_refused(tiny, tmp_path):
    path = tmp_path / "multiview.safetensors"
    save_network(tiny, path, {"steps": "1"})
    network, notes = load_network(path)
    assert notes["steps"] == "1" and network.widths == (32, 32, 32)
    from instascene_core.completion.priors.network import WEIGHTS as OTHERS

    for wrong, words in ((OTHERS, "does not hold weights"), (tmp_path / "none", "There are no weights")):
        with pytest.raises(InputError, match=words):
            load_network(wrong)


# --- painting ---


def painted(mesh: TriangleMesh, rgb) -> PaintedSurface:
    views = ring(fitting_focal(mesh.vertices), 64)
    seen = render_geometry(mesh, views)
    images = np.broadcast_to(np.asarray(rgb, np.float32), (16, 64, 64, 3)).copy()
    generated = GeneratedViews(images, seen.depth, seen.coverage)
    return PaintedSurface(views, FRAME, seen, [generated], MultiviewConfig())


def test_places_take_the_colour_of_the_views_that_show_them_and_agree():
    body = ball()
    surface = painted(body, (0.2, 0.4, 0.6))
    colors, confidence = surface.colors(body.vertices, meshes.vertex_normals(body))
    top = body.vertices[:, 2] > 0
    np.testing.assert_allclose(colors[top], np.broadcast_to([51, 102, 153], (top.sum(), 3)), atol=1e-3)
    assert (confidence[top] > 0.99).all()
    under = body.vertices[:, 2] < -0.85
    assert np.isnan(colors[under]).all() and (confidence[under] == 0).all()
    surface.views[0].rgb[::2] = 0.9  # every second view says something else
    assert surface.colors(body.vertices, meshes.vertex_normals(body))[1][top].max() < 0.5


def test_observed_colours_stay_and_undersides_take_the_nearest():
    body = ball()
    count = len(body.vertices)
    colored = body.vertices[:, 0] > 0.3
    facts = appearance.VertexFacts(
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
        np.full((count, 3), 200, np.uint8),
        colored,
    )
    colors = paint_unseen(body, facts, painted(body, (0.2, 0.4, 0.6))).colors
    assert (colors[colored] == 200).all()
    far = (body.vertices[:, 0] < 0) & (body.vertices[:, 2] > 0)
    np.testing.assert_allclose(colors[far], np.broadcast_to([51, 102, 153], (far.sum(), 3)), atol=2)
    assert set(map(tuple, colors)) <= {(200, 200, 200), (51, 102, 153)}


# --- the prior, end to end ---


@pytest.fixture(scope="module")
def frames():
    body = trimesh.creation.box((0.1, 0.08, 0.06))
    body.apply_translation((0, 0, 0.03))
    return render([table_mesh(), body], orbit(4, (35.0,), (0.0, 90.0)), 200, 150, 190.0)


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory) -> CompletionConfig:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(tiny, path, {})
    changes = {
        "prior": "multiview",
        "multiview.weights": str(path),
        "multiview.steps": 2,
        "observing.max_voxels": 30_000,
        "learned.side": 24,
    }
    return config_with(CompletionConfig(), changes)


def test_the_prior_paints_the_shape_of_the_learned_one(frames, config):
    told = []
    result = complete(frames, 2, up=UP, config=config, progress=lambda *report: told.append(report))
    plain = complete(frames, 2, up=UP, config=config_with(config, {"prior": "learned"}))
    assert result.prior.startswith("multiview (Apache-2.0)") and plain.prior.startswith("learned")
    assert result.watertight and result.volume == pytest.approx(plain.volume, rel=1e-6)
    steps = [message for _, _, message in told if "generating views" in message]
    assert steps == ["generating views, pass 1 of 2", "generating views, pass 2 of 2"] * 2
    shares = [share for _, share, _ in told]
    assert shares == sorted(shares)
    again = complete(frames, 2, up=UP, config=config)
    np.testing.assert_array_equal(result.colors, again.colors)
    other = complete(frames, 2, up=UP, config=config, seed=5)
    assert not np.array_equal(result.colors, other.colors)


def test_generation_can_be_cancelled_at_any_pass(frames, config):
    def stop(stage: str, share: float, message: str = "") -> None:
        if "pass 2" in message:
            raise Cancelled()

    with pytest.raises(Cancelled):
        complete(frames, 2, up=UP, config=config, progress=stop)


def test_without_weights_the_learned_priors_result_comes_and_says_so(frames, config):
    missing = config_with(config, {"multiview.weights": "/nowhere/at.safetensors"})
    result = complete(frames, 2, up=UP, config=missing)
    assert result.prior.startswith("learned (Apache-2.0)")
    assert any("No views were generated" in note and "There are no weights" in note for note in result.notes)


def test_the_prior_is_registered_and_the_learned_one_stays_the_default():
    assert make_prior("multiview").name == "multiview"
    assert CompletionConfig().prior == "learned"
