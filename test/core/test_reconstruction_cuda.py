"""Training on a GPU: on a pretended one with a stand-in for gsplat, and on a real one."""

import warnings
from dataclasses import replace

import pytest
import torch
from pretended_gpu import PretendedGpu, gsplat_on_gpu
from reconstruction_scene import tabletop_frames

from instascene_core.config import Config, ReconstructionConfig
from instascene_core.errors import MissingDependencyError
from instascene_core.reconstruction import OnlineReconstruction, reconstruct
from instascene_core.rendering import cuda, device
from instascene_core.scene import Scene

EVERYTHING = ReconstructionConfig(
    iterations=16,
    pose_iterations=16,
    exposure=True,
    refine_poses=True,
    distortion_weight=10.0,
    refine_every=5,
    densify_gradient=1e-6,
    opacity_reset_every=7,
    gaussians_per_pixel=0.15,
    sh_degree=2,
)
PROBLEM = cuda.cuda_problem()


@pytest.mark.parametrize("densification", ["budgeted", "gradient"])
def test_every_part_of_training_runs_on_the_gpu(densification, monkeypatch):
    """Tensors that refuse to mix with those on the CPU; and the numbers are those of the CPU kernel."""
    monkeypatch.setattr(cuda, "gsplat", gsplat_on_gpu)
    monkeypatch.setattr(device, "cuda_problem", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Pretended GPU")
    frames, config = tabletop_frames(3, 32, 24), replace(EVERYTHING, densification=densification)
    ours = reconstruct(frames, replace(config, device="cpu"))
    with PretendedGpu(), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reconstruct(frames, replace(config, device="cuda"))
    assert (ours.device, found.device) == ("cpu", "Pretended GPU")
    for tensor in (*vars(found.gaussians).values(), found.background):
        assert tensor is None or type(tensor) is torch.Tensor  # results are on the CPU
    assert len(found.gaussians) == len(ours.gaussians)
    assert found.psnr_train == pytest.approx(ours.psnr_train, abs=0.05)
    torch.testing.assert_close(found.background, ours.background, rtol=0, atol=1e-3)


def test_frames_are_folded_in_on_the_gpu_as_well(monkeypatch):
    monkeypatch.setattr(cuda, "gsplat", gsplat_on_gpu)
    monkeypatch.setattr(device, "cuda_problem", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Pretended GPU")
    config = ReconstructionConfig(
        max_gaussians=300, online_iterations=3, polish_iterations=4, polish_time_s=0
    )

    def stream(device_name: str):
        online = OnlineReconstruction(replace(config, device=device_name))
        for frame in tabletop_frames(3, 32, 24):
            online.add(frame)
            online.work(60.0)
        return online.polish(tabletop_frames(3, 32, 24))

    ours = stream("cpu")
    with PretendedGpu(), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stream("cuda")
    assert len(found.gaussians) == len(ours.gaussians) > 20
    assert type(found.gaussians.means) is torch.Tensor
    assert found.psnr_train == pytest.approx(ours.psnr_train, abs=0.1)


def test_a_scene_says_what_computes_and_refuses_a_gpu_that_is_not_there(monkeypatch):
    assert Scene(Config(reconstruction=ReconstructionConfig(device="cpu"))).device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="needs an NVIDIA GPU"):
        Scene(Config(reconstruction=ReconstructionConfig(device="cuda")))


@pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
def test_a_real_gpu_reaches_the_same_quality():
    frames, config = tabletop_frames(12, 160, 120), ReconstructionConfig(iterations=400)
    ours = reconstruct(frames, replace(config, device="cpu"))
    found = reconstruct(frames, replace(config, device="cuda"))
    assert found.psnr_train == pytest.approx(ours.psnr_train, abs=0.3)
