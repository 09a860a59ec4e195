"""Whether a GPU can be used, and which device is chosen."""

import importlib.metadata
import importlib.util
import logging
from pathlib import Path

import pytest
import torch
from rendering_scenes import PARAMETERS, random_scene

from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import TrainingPass, cuda, device, rasterize, trace
from instascene_core.rendering.cuda_training_pass import CudaTrainingPass


@pytest.fixture
def claimed_gpu(monkeypatch):
    """torch says that there is a GPU, and gsplat is found in the right version."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Pretended GPU")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{cuda.GSPLAT_VERSION}+pt25cu124")
    cuda.gsplat.cache_clear()
    device._best.cache_clear()
    yield monkeypatch
    cuda.gsplat.cache_clear()
    device._best.cache_clear()


def test_no_gpu_is_one_clear_sentence(claimed_gpu):
    claimed_gpu.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="needs an NVIDIA GPU"):
        cuda.gsplat()
    with pytest.raises(MissingDependencyError, match="needs an NVIDIA GPU"):
        device.choose_device("cuda")
    assert device.choose_device("auto") == device.choose_device("cpu") == torch.device("cpu")


def test_missing_or_other_gsplat_is_one_clear_sentence(claimed_gpu, caplog):
    assert cuda.cuda_problem() is None
    claimed_gpu.setattr(importlib.metadata, "version", lambda name: "1.4.0")
    with pytest.raises(
        MissingDependencyError, match=f"exactly gsplat {cuda.GSPLAT_VERSION}, and gsplat 1.4.0"
    ):
        device.choose_device("cuda")
    claimed_gpu.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="instascene\\[cuda\\]") as caught:
        cuda.gsplat()
    assert len(str(caught.value).splitlines()) == 1
    with caplog.at_level(logging.INFO):
        assert device.choose_device("auto").type == device.choose_device("auto").type == "cpu"
    assert len(caplog.records) == 1 and "instascene[cuda]" in caplog.text  # said once


def test_the_best_device_is_the_gpu_where_all_is_there(claimed_gpu, caplog):
    with caplog.at_level(logging.INFO):
        chosen = device.choose_device("auto")
    assert chosen.type == "cuda" and device.device_name(chosen) == "Pretended GPU" in caplog.text
    assert isinstance(device.make_training_pass(chosen), CudaTrainingPass)
    assert isinstance(device.make_training_pass(torch.device("cpu")), TrainingPass)
    assert device.device_name(torch.device("cpu")) == "cpu"
    with pytest.raises(InputError, match="known are auto, cpu, cuda"):
        device.choose_device("tpu")


def test_other_devices_are_refused_in_words():
    scene = random_scene(3)
    elsewhere = GaussianModel(**{name: getattr(scene.gaussians, name).to("meta") for name in PARAMETERS})
    with pytest.raises(InputError, match="on the CPU and on CUDA, not on meta"):
        rasterize(elsewhere, scene.camera, scene.pose)
    with pytest.raises(InputError, match="on the CPU and on CUDA, not on meta"):
        trace(elsewhere, scene.camera, scene.pose)


def test_the_extra_installs_the_pinned_version():
    lines = (Path(cuda.__file__).parents[2] / "pyproject.toml").read_text()
    assert f'cuda = ["gsplat=={cuda.GSPLAT_VERSION}' in lines
