"""What is recorded as CUDA graphs: on the CPU what would be recorded, on a GPU the graphs."""

import gsplat_stand_in
import pytest
import torch
from rendering_scenes import by_rigid_motion, deviation, random_scene

from instascene_core.camera import PinholeCamera
from instascene_core.rendering import TrainingPass, cuda, cuda_training_pass, fused
from instascene_core.rendering.cuda_training_pass import CudaTrainingPass
from instascene_core.rendering.view import ImageGradients

PROBLEM = cuda.cuda_problem()
real = pytest.param("real", marks=pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM)))


@pytest.mark.parametrize("where", ["cpu", real])
def test_recorded_projections_are_those_that_are_computed(where, monkeypatch):
    """Steps of changing values and poses through one record; broken Gaussians and such behind the camera."""
    if where == "cpu":
        monkeypatch.setattr(cuda, "gsplat", lambda: gsplat_stand_in)
        monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda function, _samples: function)
        monkeypatch.setattr(cuda_training_pass, "recordable", lambda tensor: True)
    device = torch.device("cpu" if where == "cpu" else "cuda")
    recorded, plain = CudaTrainingPass(), TrainingPass()
    for step in range(3):
        scene = random_scene(300, seed=5 + step)
        model, pose = scene.gaussians, scene.pose
        model.means[0], model.quaternions[1, 2], model.log_scales[2, 0] = torch.nan, torch.inf, torch.nan
        model.means[3] = torch.from_numpy(pose[:3, 3] - 0.1 * pose[:3, 2])  # behind the camera
        model.means[4] = torch.from_numpy(pose[:3, 3])
        found = []
        for passes, of in ((plain, model), (recorded, model.to(device))):
            images = passes.render(of, scene.camera, pose)
            passes.image_gradients.color.copy_(images.color)
            passes.image_gradients.depth.fill_(0.01)
            passes.image_gradients.normal.copy_(images.normal)
            gradients = passes.backward()
            gradients.world_from_camera = by_rigid_motion(
                torch.from_numpy(pose).float(), gradients.world_from_camera
            )
            found.append({k: v.detach().cpu().clone() for k, v in vars(gradients).items()})
            found[-1] |= {name: getattr(images, name).cpu().clone() for name in ("color", "depth", "normal")}
        for name, ours in found[0].items():
            assert torch.isfinite(found[1][name]).all(), name
            # The kernel's gradient of a broken mean is as broken as the mean.
            assert deviation(found[1][name], ours.double().nan_to_num()) < 2e-3, name


@pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
def test_recorded_losses_are_those_that_are_computed():
    """More than once with other values, and with another pose and size in between."""
    generator = torch.Generator().manual_seed(0)
    for seed, height in ((1, 40), (2, 40), (3, 24), (4, 40)):
        camera = PinholeCamera(33, height, 50.0, 60.0, 14.0, 12.0)
        pose = torch.from_numpy(random_scene(10, seed=seed).pose)
        color, target, normal = (torch.rand(height, 33, 3, generator=generator) for _ in range(3))
        depth, measured, trust, alpha = (torch.rand(height, 33, generator=generator) for _ in range(4))
        valid = torch.rand(height, 33, generator=generator) > 0.2
        found = []
        for device in ("cpu", "cuda"):
            images = ImageGradients.zeros(camera, 3, torch.float32, torch.device(device))
            images.normal.copy_(normal), images.depth.copy_(1 + depth), images.alpha.copy_(alpha)
            gradients = ImageGradients.zeros(camera, 3, torch.float32, torch.device(device))
            seen = [t.to(device) for t in (color, target, valid, 1 + measured, trust)]
            values = [
                fused.write_photometric(*seen[:2], gradients.color, 0.3, seen[2] if seed % 2 else None),
                fused.add_normal_consistency(images, camera, pose, 0.05, gradients),
                fused.add_depth_loss(images.depth, *seen[3:], 0.5, gradients.depth),
            ]
            found.append((values, {k: v.cpu() for k, v in vars(gradients).items()}))
        (ours, by_kernel), (theirs, by_graph) = found
        assert theirs == pytest.approx(ours, rel=1e-4)
        for name in ("color", "normal", "depth", "alpha"):
            assert deviation(by_graph[name], by_kernel[name].double()) < 1e-3, name
