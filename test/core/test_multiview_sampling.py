"""In-situ generation: the network, sampling, painting, and the prior end to end."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from completion_scene import orbit, render, table_mesh
from multiview_cases import FRAME, UP, ball, box, given_of, half_known

from instascene_core.completion import complete, make_prior
from instascene_core.completion.meshing import appearance
from instascene_core.completion.meshing.painting import paint_unseen
from instascene_core.completion.priors.multiview.disks import disks_on
from instascene_core.completion.priors.multiview.inputs import (
    GeneratedViews,
    condition,
    decode,
    merged,
)
from instascene_core.completion.priors.multiview.network import (
    MultiviewNetwork,
    load_network,
    save_network,
)
from instascene_core.completion.priors.multiview.noise import make_solver, shares
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.ring import (
    fitting_focal,
    ring,
)
from instascene_core.completion.priors.multiview.sampling import Sampler, conditions_of
from instascene_core.completion.priors.multiview.views import (
    neighbour_lookup,
    render_geometry,
)
from instascene_core.config import CompletionConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.config_file import config_with
from instascene_core.errors import Cancelled, InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes

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


def painted(mesh: TriangleMesh, rgb, mean_share: float = 0.0) -> PaintedSurface:
    views = ring(fitting_focal(mesh.vertices), 64)
    seen = render_geometry(mesh, views)
    images = np.broadcast_to(np.asarray(rgb, np.float32), (16, 64, 64, 3)).copy()
    generated = GeneratedViews(images, seen.depth, seen.coverage)
    known = np.zeros(seen.depth.shape, bool)
    config = MultiviewConfig(mean_share=mean_share)
    return PaintedSurface(views, FRAME, seen, [generated], known, config)


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
    surface = painted(body, (0.2, 0.4, 0.6))
    colors = paint_unseen(body, facts, surface).colors
    assert (colors[colored] == 200).all()
    far = (body.vertices[:, 0] < 0) & (body.vertices[:, 2] > 0)
    np.testing.assert_allclose(colors[far], np.broadcast_to([51, 102, 153], (far.sum(), 3)), atol=2)
    assert set(map(tuple, colors)) <= {(200, 200, 200), (51, 102, 153)}
    # A share of the observed colours' mean is taken where, and only where, colours are generated.
    half = paint_unseen(body, facts, painted(body, (0.2, 0.4, 0.6), 0.5)).colors
    assert (half[colored] == 200).all()
    np.testing.assert_allclose(half[far], np.broadcast_to([125, 151, 176], (far.sum(), 3)), atol=2)


def test_optimised_colours_replace_those_of_the_views_and_observed_ones_where_told_to():
    body = ball()
    half = body.vertices[:, 0] > 0.3
    zero = np.zeros(len(body.vertices), np.float32)
    facts = appearance.VertexFacts(zero, zero, np.full((len(zero), 3), 200, np.uint8), half)
    disks = disks_on(body, 0.08, 10_000, lambda points: 0 * points + [0.8, 0.4, 0.0], seed=0)
    surface = replace(painted(body, (0.2, 0.4, 0.6)), gaussians=disks)
    colors = paint_unseen(body, facts, surface).colors
    assert (colors[half] == 200).all()
    far = (body.vertices[:, 0] < 0) & (body.vertices[:, 2] > 0)
    np.testing.assert_allclose(colors[far], np.broadcast_to([204, 102, 0], (far.sum(), 3)), atol=1)
    joint = replace(surface.config.joint, recolor_observed=True)
    colors = paint_unseen(body, facts, replace(surface, config=replace(surface.config, joint=joint))).colors
    np.testing.assert_allclose(colors[half], np.broadcast_to([204, 102, 0], (half.sum(), 3)), atol=1)


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
        "multiview.color_samples": 2,
        "multiview.joint.steps": 20,
        "multiview.joint.disks": 1000,
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
    assert any("optimising the object, step 0 of 20" in message for _, _, message in told)
    shares = [share for _, share, _ in told]
    assert shares == sorted(shares)
    again = complete(frames, 2, up=UP, config=config)
    np.testing.assert_array_equal(result.colors, again.colors)
    other = complete(frames, 2, up=UP, config=config, seed=5)
    assert not np.array_equal(result.colors, other.colors)


@pytest.mark.parametrize("when", ["pass 2", "optimising"])
def test_generation_can_be_cancelled_at_any_pass(frames, config, when):
    def stop(stage: str, share: float, message: str = "") -> None:
        if when in message:
            raise Cancelled()

    with pytest.raises(Cancelled):
        complete(frames, 2, up=UP, config=config, progress=stop)


def test_generated_depth_has_a_say_where_it_is_given_one(frames, config):
    plain = complete(frames, 2, up=UP, config=config, num_samples=2)
    voted = complete(
        frames, 2, up=UP, config=config_with(config, {"multiview.depth_vote": 0.5}), num_samples=2
    )
    assert voted.watertight and len(voted.hypotheses) == 1
    assert voted.volume != plain.volume and voted.uncertainty > 0
    missing = config_with(
        config, {"multiview.depth_vote": 0.5, "multiview.weights": "/nowhere/at.safetensors"}
    )
    result = complete(frames, 2, up=UP, config=missing)
    assert result.prior.startswith("learned (Apache-2.0)")


def test_without_weights_the_learned_priors_result_comes_and_says_so(frames, config):
    missing = config_with(config, {"multiview.weights": "/nowhere/at.safetensors"})
    result = complete(frames, 2, up=UP, config=missing)
    assert result.prior.startswith("learned (Apache-2.0)")
    assert any("No views were generated" in note and "There are no weights" in note for note in result.notes)


def test_without_diffusers_it_is_said_what_to_install(frames, config, monkeypatch):
    monkeypatch.delitem(sys.modules, "instascene_core.completion.priors.multiview.network", raising=False)
    monkeypatch.setitem(sys.modules, "diffusers.models.downsampling", None)
    result = complete(frames, 2, up=UP, config=config_with(config, {}))
    assert result.prior.startswith("learned (Apache-2.0)")
    assert any("pip install diffusers" in note for note in result.notes)


def test_the_prior_is_registered_and_the_learned_one_stays_the_default():
    assert make_prior("multiview").name == "multiview"
    assert CompletionConfig().prior == "learned"
