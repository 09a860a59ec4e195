"""In-situ generation: joint optimisation and the vote of generated depth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from multiview_cases import FRAME, ball, box, given_of

from instascene_core.completion.priors.multiview.agreement import agreement
from instascene_core.completion.priors.multiview.disks import colors_at, disks_on
from instascene_core.completion.priors.multiview.inputs import GeneratedViews
from instascene_core.completion.priors.multiview.joint import Tensors, optimise, write_gradients
from instascene_core.completion.priors.multiview.ring import fitting_focal, ring
from instascene_core.completion.priors.multiview.targets import (
    generated_targets,
    held_out,
    observed_targets,
)
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.completion.priors.multiview.vote import moved_by_depth
from instascene_core.config.multiview import JointConfig, MultiviewConfig
from instascene_core.errors import Cancelled
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.tsdf import OTHER, TARGET, DepthView, VoxelGrid
from instascene_core.rendering import losses
from instascene_core.rendering.view import ImageGradients, RasterImages

RED, BLUE = (0.8, 0.1, 0.1), (0.1, 0.2, 0.7)

# --- confidence by agreement ---


def test_a_view_that_contradicts_its_neighbours_is_believed_less_than_they():
    views, given = given_of(ball(), 32).views, given_of(ball(), 32)
    rgb = np.full((*given.depth.shape, 3), 0.5, np.float32)
    shown = given.depth > 0
    full = agreement(rgb, given.depth, views, 0.04, 0.1)
    assert (full[~shown] == 0).all() and (full[shown] >= 0.5).all() and np.median(full[shown]) == 1
    rgb[5] = 0.8
    sure = agreement(rgb, given.depth, views, 0.04, 0.1)
    inner = given.coverage == 1
    # Against all four neighbours by 0.3: 1 / (1 + 9); its neighbours against one of four or three.
    np.testing.assert_allclose(sure[5][inner[5] & (full[5] == 1)], 0.1, atol=0.01)
    assert 0.2 < np.median(sure[4][inner[4]]) < 0.35
    assert np.median(sure[0][inner[0]]) == 1


# --- disks ---


def test_disks_lie_on_the_surface_face_outward_and_give_back_its_colours():
    body = ball()
    disks = disks_on(body, 0.08, 10_000, lambda points: 0.5 + 0.4 * points, seed=0)
    centers = disks.means.numpy()
    outward = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    assert ((disks.normals.numpy() * outward).sum(axis=1) > 0.98).all()
    area = 4 * np.pi * 0.9**2
    assert 0.8 * area / 0.08**2 < len(disks) < 2.2 * area / 0.08**2
    assert len(disks_on(body, 0.001, 500, lambda points: 0 * points, seed=0)) < 1200
    colors = colors_at(disks, body.vertices, meshes.vertex_normals(body), 12)
    np.testing.assert_allclose(colors, 0.5 + 0.4 * body.vertices, atol=0.03)


def test_the_two_sides_of_a_thin_wall_keep_their_colours():
    wall = box((1.0, 1.0, 0.01))

    def two_colors(points):
        return np.where(points[:, 2:] > 0, RED, BLUE)

    disks = disks_on(wall, 0.05, 10_000, two_colors, seed=0)
    grid = np.stack(np.meshgrid([-0.2, 0.1, 0.3], [-0.3, 0.0, 0.25], [0.005]), -1).reshape(-1, 3)
    up = np.broadcast_to([0.0, 0.0, 1.0], grid.shape)
    np.testing.assert_allclose(colors_at(disks, grid, up, 12), np.broadcast_to(RED, grid.shape), atol=1e-6)
    under = colors_at(disks, grid * [1, 1, -1], -up, 12)
    np.testing.assert_allclose(under, np.broadcast_to(BLUE, grid.shape), atol=1e-6)


# --- the optimisation ---


def targets_of(body, generated, weight, share=0.1):
    """Generated views of one colour of a body, a weight for all of their pixels."""
    views = ring(fitting_focal(body.vertices), 32)
    seen = render_geometry(body, views)
    rgb = np.broadcast_to(np.float32(generated), (*seen.depth.shape, 3)).copy()
    made = GeneratedViews(rgb, seen.depth, seen.coverage)
    sure = np.full(seen.depth.shape, weight, np.float32)
    return generated_targets(views, seen, made, sure, share, np.random.default_rng(0))


def observed_view(body, color) -> DepthView:
    """The ring's first camera with twice the pixels, in the world (FRAME: the same as the frame)."""
    views = ring(fitting_focal(body.vertices), 64)
    seen = render_geometry(body, views)
    what = np.where(seen.shown[0], TARGET, OTHER).astype(np.uint8)
    rgb = np.broadcast_to(np.uint8(255 * np.array(color)), (64, 64, 3)).copy()
    return DepthView(views.camera, views.frame_from_camera[0], seen.depth[0], what, rgb)


def front_and_back(result, body):
    """Mean colours of the side that the first camera sees, and of the other one."""
    eye = ring(1.0, 8).frame_from_camera[0, :3, 3]
    cosine = body.vertices @ eye / np.linalg.norm(eye) / 0.9
    upper = body.vertices[:, 2] > -0.2
    colors = colors_at(result.gaussians, body.vertices, meshes.vertex_normals(body), 12)
    return colors[(cosine > 0.5) & upper], colors[(cosine < -0.3) & upper]


def test_observed_pixels_stay_and_generated_ones_colour_the_rest():
    body, config = ball(), JointConfig(steps=300, color_rate=0.05, spacing=0.1, patience=9)
    start = disks_on(body, 0.1, 2000, lambda points: 0 * points + 0.5, seed=0)
    seen = observed_targets([observed_view(body, RED)], body, FRAME, 48, 0.05, 0.1, np.random.default_rng(0))
    assert len(seen) == 1 and seen[0].camera.width <= 48 and seen[0].weight.max() == 1
    made = targets_of(body, BLUE, 1.0)
    cosine = np.stack([t.normals @ ring(1.0, 8).frame_from_camera[0, :3, 3] / 2.5 for t in made])
    made = [replace(t, weight=np.where(c > 0.1, 0, t.weight)) for t, c in zip(made, cosine)]  # known there
    result = optimise(start, [*seen * 4, *made], config, seed=0)
    front, back = front_and_back(result, body)
    for colors, expected in ((front, RED), (back, BLUE)):  # but for the seam between them
        assert np.quantile(np.abs(colors - expected).max(axis=1), 0.9) < 0.06
    assert result.residuals[-1] < 0.2 * result.residuals[0]
    centers = np.linalg.norm(result.gaussians.means.numpy(), axis=1)
    assert np.abs(centers - 0.9).max() < 0.05  # held on the surface


def test_pixels_without_weight_say_nothing():
    body, config = ball(), JointConfig(steps=60, spacing=0.15)
    start = disks_on(body, 0.15, 1000, lambda points: 0 * points + 0.5, seed=0)
    result = optimise(start, targets_of(body, BLUE, 0.0), replace(config, patience=9), seed=0)
    assert result.residuals == (0.0,) and torch.equal(result.gaussians.sh, start.sh)


def test_it_stops_early_with_the_best_and_can_be_cancelled():
    body = ball()
    start = disks_on(body, 0.15, 1000, lambda points: 0 * points + BLUE, seed=0)
    config = JointConfig(steps=400, check_every=20, patience=1, color_rate=0.5, final_rate=1.0, spacing=0.15)
    result = optimise(start, targets_of(body, BLUE, 1.0), config, seed=0)
    assert len(result.residuals) < 20 and result.steps < 400
    assert min(result.residuals) == result.residuals[result.steps // 20]

    def stop(done: int, total: int) -> None:
        assert total == 400
        if done == 20:
            raise Cancelled()

    with pytest.raises(Cancelled):
        optimise(start, targets_of(body, BLUE, 1.0), replace(config, patience=9), 0, stop)


def test_the_same_bits_for_any_number_of_threads():
    body, config = ball(), JointConfig(steps=20, check_every=10, spacing=0.15)
    start = disks_on(body, 0.15, 1000, lambda points: 0 * points + 0.5, seed=0)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(optimise(start, targets_of(body, BLUE, 1.0), config, seed=0))
    finally:
        torch.set_num_threads(before)
    assert found[0].residuals == found[1].residuals
    for name in ("means", "sh", "log_scales"):
        assert torch.equal(getattr(found[0].gaussians, name), getattr(found[1].gaussians, name))


def test_held_out_pixels_are_whole_squares_and_never_trained_on():
    held = held_out((32, 31), 0.25, np.random.default_rng(0))
    assert held.shape == (32, 31) and 0.15 < held.mean() < 0.35
    np.testing.assert_array_equal(held[::2], held[1::2])
    target = targets_of(ball(), RED, 1.0, share=0.3)[0]
    assert (Tensors.of(target).weight.numpy()[target.held] == 0).all() and target.weight[target.held].any()


def test_the_image_gradients_are_those_of_the_loss_in_float64():
    target = targets_of(ball(), RED, 0.7)[2]
    tensors, config = Tensors.of(target), JointConfig(alpha_weight=0.3, normal_weight=0.2, depth_weight=0.4)
    generator = torch.Generator().manual_seed(0)
    shape = (32, 32)
    color, normal = (torch.rand((*shape, 3), generator=generator) for _ in range(2))
    alpha, depth = torch.rand(shape, generator=generator), 2 + torch.rand(shape, generator=generator)
    zeros = torch.zeros(shape)
    images = RasterImages(color, alpha, depth, zeros, normal, zeros)
    back = ImageGradients.zeros(target.camera, 3)
    write_gradients(images, tensors, 0.5, config, back)

    def double(value):
        return value.double().requires_grad_()

    color, alpha, depth, normal = (double(t) for t in (color, alpha, depth, normal))
    assert tensors.coverage is not None
    off = torch.sqrt((color - tensors.rgb) ** 2 + config.robust**2).sum(dim=-1)
    loss = 0.5 * (tensors.weight * off).mean()
    loss = loss + 0.2 * (tensors.guided * alpha - (normal * tensors.normals).sum(dim=-1)).mean()
    loss = loss + 0.3 * ((alpha - tensors.coverage) ** 2).mean()
    loss = loss + 0.4 * losses.depth_loss(depth, tensors.depth.double(), tensors.guided.double())
    loss.backward()
    for mine, twin in ((back.color, color), (back.alpha, alpha), (back.depth, depth), (back.normal, normal)):
        assert twin.grad is not None and twin.grad.abs().max() > 0
        torch.testing.assert_close(mine.double(), twin.grad, atol=1e-7, rtol=1e-3)


def test_only_pixels_that_show_the_completed_surface_are_observed():
    body = ball()
    view = observed_view(body, RED)
    wrong = replace(view, depth=view.depth + 0.3)  # measured something else
    rng = np.random.default_rng(0)
    (target,) = observed_targets([wrong], body, FRAME, 64, 0.05, 0.1, rng)
    assert target.weight.max() == 0 and target.depth.max() == 0
    nothing = replace(view, what=np.full_like(view.what, OTHER))
    assert observed_targets([nothing], body, FRAME, 64, 0.05, 0.1, rng) == []


# --- the vote of generated depth ---


def test_generated_depth_moves_the_guessed_surface_by_its_share_and_doubt():
    grid = VoxelGrid(
        np.array([[1, 0, 0, -1.2], [0, 1, 0, -1.2], [0, 0, 1, -1.2], [0, 0, 0, 1.0]]), 0.06, (41,) * 3
    )
    radius = np.linalg.norm(grid.centers(), axis=-1)
    field = (radius - 0.9).astype(np.float32)
    views = ring(fitting_focal(ball(0.9).vertices), 64)
    seen, smaller = render_geometry(ball(0.9), views), render_geometry(ball(0.84), views)
    still = np.zeros_like(seen.depth)
    config = MultiviewConfig(depth_vote=1.0, vote_spread=0.03)
    moved, unsure = moved_by_depth(field, grid, FRAME, views, seen, smaller.depth, still, config)
    height = grid.centers()[..., 2]
    band = (np.abs(field) < 0.1) & (height > 0.1) & (height < 0.7)
    # From the side a ray meets the smaller ball later than the normal says; frontal views count most.
    assert np.median((moved - field)[band]) == pytest.approx(0.06, abs=0.012) and unsure.max() == 0
    assert (moved == field)[np.abs(field) > 0.25].all()
    half, _ = moved_by_depth(
        field, grid, FRAME, views, seen, smaller.depth, still, replace(config, depth_vote=0.5)
    )
    np.testing.assert_allclose((half - field)[band], 0.5 * (moved - field)[band], atol=1e-6)
    doubted, unsure = moved_by_depth(field, grid, FRAME, views, seen, smaller.depth, still + 0.03, config)
    np.testing.assert_allclose((doubted - field)[band], 0.5 * (moved - field)[band], atol=1e-6)
    assert 0.02 < np.median(unsure[band]) < 0.031
    same, _ = moved_by_depth(field, grid, FRAME, views, seen, seen.depth, still, config)
    np.testing.assert_array_equal(same, field)
