"""The optimiser, the densification strategies, the pyramid and the exposure model."""

import numpy as np
import pytest
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.reconstruction.background import BackgroundColor
from instascene_core.reconstruction.densification import (
    BudgetedStrategy,
    GradientStrategy,
    ScreenPull,
    reset_opacities,
)
from instascene_core.reconstruction.exposure import ExposureModel
from instascene_core.reconstruction.normal_prior import add_normal_prior
from instascene_core.reconstruction.views import scale_view
from instascene_core.rendering.optimiser import PARAMETERS, GaussianOptimiser

RATES = {"means": 0.01, "quaternions": 0.02, "log_scales": 0.03, "logit_opacities": 0.04, "sh": 0.05}


def model(n: int = 20) -> GaussianModel:
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.randn(*shape, generator=generator)

    return GaussianModel(rand(n, 3), rand(n, 4), 0.3 * rand(n, 2) - 3, rand(n), rand(n, 1, 3))


def gradients_of(gaussians: GaussianModel) -> dict[str, torch.Tensor]:
    """Of the sum of squares of all parameters."""
    return {name: 2 * getattr(gaussians, name).detach() for name in PARAMETERS}


def test_adam_is_torch_adam():
    optimiser, reference = GaussianOptimiser(model()), model()
    leaves = {name: getattr(reference, name).requires_grad_() for name in PARAMETERS}
    adam = torch.optim.Adam([{"params": [leaves[n]], "lr": RATES[n]} for n in PARAMETERS], eps=1e-15)
    for _ in range(5):
        optimiser.step(gradients_of(optimiser.model), RATES)
        for name, gradient in gradients_of(reference).items():
            leaves[name].grad = gradient
        adam.step()
    for name in PARAMETERS:
        assert torch.allclose(getattr(optimiser.model, name), leaves[name], rtol=1e-4, atol=1e-5), name


def test_the_given_gaussians_are_not_changed():
    given = model()
    GaussianOptimiser(given).step(gradients_of(given), RATES)
    assert torch.equal(given.means, model().means)


def test_rows_keep_their_momentum_when_others_leave_or_come():
    whole, cut = GaussianOptimiser(model()), GaussianOptimiser(model())
    keep = torch.arange(20) % 3 != 0
    for optimiser in (whole, cut):
        optimiser.step(gradients_of(optimiser.model), RATES)
    new = {name: getattr(model(4), name) for name in PARAMETERS}
    cut.rebuild(keep, new)
    assert len(cut) == int(keep.sum()) + 4
    for optimiser in (whole, cut):
        optimiser.step(gradients_of(optimiser.model), RATES)
    for name in PARAMETERS:
        assert torch.equal(getattr(whole.model, name)[keep], getattr(cut.model, name)[:-4]), name


def test_sh_band_is_added_as_zeros():
    optimiser = GaussianOptimiser(model())
    before = optimiser.model.sh.detach().clone()
    optimiser.raise_sh_degree()
    assert optimiser.model.sh_degree == 1
    assert torch.equal(optimiser.model.sh[:, :1], before) and (optimiser.model.sh[:, 1:] == 0).all()
    optimiser.step(gradients_of(optimiser.model), RATES)  # the moments grew along


def pulled(n: int, strong: list[int]) -> ScreenPull:
    pull = ScreenPull(n)
    gradients = torch.full((n,), 1e-6)
    gradients[strong] = 1.0
    pull.add(gradients)
    return pull


def opaque(n: int = 20) -> GaussianModel:
    gaussians = model(n)
    gaussians.logit_opacities[:] = 1.0
    return gaussians


def test_budget_is_filled_where_the_pull_is_and_never_exceeded():
    optimiser = GaussianOptimiser(opaque())
    original = optimiser.model.means.detach().clone()
    strategy = BudgetedStrategy(extent=10.0, growth=0.2, max_gaussians=23, min_opacity=0.05, seed=0)
    strategy.refine(optimiser, pulled(20, [3, 7, 11]))
    assert len(optimiser) == 23
    gone = [i for i in range(20) if not (optimiser.model.means == original[i]).all(dim=1).any()]
    assert gone == [3, 7, 11]  # split in two halves each
    strategy.refine(optimiser, pulled(23, [1]))
    assert len(optimiser) == 23


def test_halves_lie_along_the_long_axis_inside_the_parent():
    gaussians = opaque(1)
    gaussians.log_scales[0] = torch.tensor([-1.0, -3.0])
    optimiser = GaussianOptimiser(gaussians)
    BudgetedStrategy(10.0, 1.0, 2, 0.05, 0).refine(optimiser, pulled(1, [0]))
    halves = optimiser.model.detached()
    axis = gaussians.rotations[0, :, 0]
    offset = (halves.means - gaussians.means) @ axis
    assert offset.sum().abs() < 1e-6 and 0 < offset.abs()[0] < gaussians.scales[0, 0]
    assert (halves.scales[:, 0] < gaussians.scales[0, 0]).all()
    assert torch.equal(halves.scales[:, 1], gaussians.scales[:, 1].repeat(2))


def test_dead_ones_leave_and_are_replaced():
    gaussians = opaque()
    gaussians.logit_opacities[5] = -9.0
    gaussians.log_scales[6] = 5.0  # far larger than the scene
    optimiser = GaussianOptimiser(gaussians)
    BudgetedStrategy(10.0, 0.0, 20, 0.05, 0).refine(optimiser, pulled(20, [1, 2]))
    assert len(optimiser) == 20
    assert optimiser.model.opacities.min() > 0.05 and optimiser.model.scales.max() < 5.0


def test_gradient_strategy_clones_small_and_splits_large():
    gaussians = opaque()
    gaussians.log_scales[:] = -6.0
    gaussians.log_scales[4] = 0.0
    optimiser = GaussianOptimiser(gaussians)
    GradientStrategy(10.0, 0.5, 100, 0.05, 0).refine(optimiser, pulled(20, [2, 4]))
    means = optimiser.model.means.detach()
    assert len(means) == 22  # one clone; one split: parent gone, two children
    assert (means == gaussians.means[2]).all(dim=1).sum() == 2
    assert (means == gaussians.means[4]).all(dim=1).sum() == 0


def test_opacity_reset_leaves_only_what_is_fainter_already():
    gaussians = opaque()
    gaussians.logit_opacities[3] = -7.0
    optimiser = GaussianOptimiser(gaussians)
    optimiser.step(gradients_of(gaussians), dict.fromkeys(RATES, 1e-6))
    reset_opacities(optimiser, 0.1)
    opacities = optimiser.model.opacities
    assert torch.allclose(opacities[torch.arange(20) != 3], torch.full((19,), 0.1), rtol=1e-3)
    assert opacities[3] < 1e-3
    before = optimiser.model.logit_opacities.clone()
    still = {name: torch.zeros_like(getattr(optimiser.model, name)) for name in PARAMETERS}
    optimiser.step(still, dict.fromkeys(RATES, 0.1))
    assert torch.equal(optimiser.model.logit_opacities, before)  # no momentum is left


def test_pull_is_the_mean_over_the_views_that_saw_it():
    pull = ScreenPull(3)
    for seen in ([5.0, 0.0, 2.0], [1.0, 0.0, 0.0]):
        pull.add(torch.tensor(seen))
    assert pull.mean.tolist() == [3.0, 0.0, 2.0] and pull.seen.tolist() == [True, False, True]


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.4])
def test_a_shrunk_plane_keeps_its_depth_and_edges_lose_it(factor):
    camera = PinholeCamera(80, 60, 70.0, 70.0, 41.0, 29.0)
    normal = np.array([0.2, 0.5, 1.0])
    depth = (1.0 / (camera.rays @ normal)).astype(np.float32)
    depth[:, 60:] += 0.5
    depth[0:10] = 0
    rgb = np.full((60, 80, 3), 77, dtype=np.uint8)
    view = scale_view(Frame("a", 0.0, camera, np.eye(4), rgb, depth), factor, 1.0)
    shape = (view.camera.height, view.camera.width)
    assert view.depth.shape == shape and view.rgb.shape == (*shape, 3)
    truth = 1.0 / (view.camera.rays @ normal)
    left = (view.camera.rays[..., 0] * camera.fx + camera.cx) < 58
    known = (view.depth.numpy() > 0) & left
    assert known.sum() > 0.75 * left.sum() * 50 / 60
    assert np.allclose(view.depth.numpy()[known], truth[known], rtol=2e-4 if factor >= 0.5 else 2e-3)
    assert torch.allclose(view.color(), torch.full((*shape, 3), 77 / 255))
    assert (view.trust.numpy()[view.depth.numpy() == 0] == 0).all()


def test_exposure_is_learned_and_leaves_the_mean_alone():
    model = ExposureModel(3, learning_rate=0.02)
    color = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    gains = [0.8, 1.0, 1.25]
    for step in range(900):
        i = step % 3
        error = model.apply(i, color) - gains[i] * color
        by_scene = model.backward(i, color, 200 * error / error.numel())
        assert by_scene.shape == color.shape
    for i in range(3):
        assert torch.allclose(model.apply(i, color), gains[i] * color, atol=0.03)
    assert model.log_gains.mean(dim=0).abs().max() < 1e-6


def test_the_background_learns_as_torch_has_it():
    """To the bit: Adam of our own stands in for one that takes a second to load."""
    generator = torch.Generator().manual_seed(3)
    background = BackgroundColor([], learning_rate=0.01, color=torch.tensor([0.2, 0.5, 0.8]))
    expected = background.color.clone().requires_grad_()
    adam = torch.optim.Adam([expected], lr=0.01)
    for _ in range(50):
        gradient = torch.randn(1, 1, 3, generator=generator)
        background.step(gradient, torch.zeros(1, 1))
        expected.grad = gradient[0, 0].clone()
        adam.step()
        with torch.no_grad():
            expected.clamp_(0, 1)
        assert torch.equal(background.color, expected.detach())


def test_background_follows_what_shines_through():
    camera = PinholeCamera(8, 6, 7.0, 7.0, 4.0, 3.0)
    frame = Frame("a", 0.0, camera, np.eye(4), np.full((6, 8, 3), 77, dtype=np.uint8))
    background = BackgroundColor([frame], learning_rate=0.01)
    assert torch.allclose(background.color, torch.full((3,), 77 / 255))  # before it has learned
    target = torch.tensor([0.9, 0.2, 0.5])
    alpha = torch.linspace(0, 1, 48).reshape(6, 8)
    for _ in range(300):
        error = (1 - alpha)[..., None] * (background.color - target)
        background.step(2 * error / error.numel(), alpha)
    assert torch.allclose(background.color, target, atol=0.01)
    before = background.color.clone()
    background.step(torch.zeros(6, 8, 3), torch.ones(6, 8))
    assert (background.color - before).abs().max() < 0.01  # nothing shines through


def test_normal_prior_is_the_gradient_of_one_minus_the_cosine():
    rng = np.random.default_rng(0)
    given = torch.from_numpy(rng.normal(size=(3, 4, 3))).float()
    given /= given.norm(dim=2, keepdim=True)
    given[0, 0] = 0  # unknown
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rendered = torch.from_numpy(rng.normal(size=(3, 4, 3))).requires_grad_()
    rotation = torch.from_numpy(pose[:3, :3])
    loss = 0.25 * (given.norm(dim=2) - (rendered * (given.double() @ rotation.T)).sum(dim=2)).mean()
    (expected,) = torch.autograd.grad(loss, rendered)
    gradient = torch.ones(3, 4, 3)
    add_normal_prior(given, pose, 0.25, gradient)
    assert torch.allclose(gradient - 1, expected.float(), atol=1e-6)


def test_a_shrunk_view_averages_normals_and_forgets_edges():
    camera = PinholeCamera(4, 2, 4.0, 4.0, 2.0, 1.0)
    normals = np.zeros((2, 4, 3), np.float32)
    normals[:, :2] = [0, 0, -1]
    normals[0, 2:] = [1, 0, 0]  # half of the right coarse pixel, the rest of it unknown
    frame = Frame("f", 0.0, camera, np.eye(4), np.zeros((2, 4, 3), np.uint8), normals=normals)
    shrunk = scale_view(frame, 0.5, 1.0).normals
    assert shrunk.shape == (1, 2, 3) and shrunk.dtype == torch.float32
    assert shrunk[0, 0].tolist() == [0, 0, -1] and not shrunk[0, 1].any()
