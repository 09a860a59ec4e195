"""Where to render: on the CPU by the C++ kernel, or on a CUDA GPU through gsplat."""

import logging
from functools import cache

import torch

from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.rendering.cuda import cuda_problem
from instascene_core.rendering.cuda_training_pass import CudaTrainingPass
from instascene_core.rendering.training_pass import TrainingPass

logger = logging.getLogger(__name__)

CHOICES = ("auto", "cpu", "cuda")


def choose_device(wanted: str) -> torch.device:
    """ "auto": CUDA where it can be used, else the CPU; "cuda": MissingDependencyError where it cannot."""
    if wanted not in CHOICES:
        raise InputError(f"Unknown device '{wanted}'; known are {', '.join(CHOICES)}.")
    if wanted == "auto":
        return torch.device(_best())
    if wanted == "cuda" and (problem := cuda_problem()):
        raise MissingDependencyError(problem)
    return torch.device(wanted)


def make_training_pass(device: torch.device) -> TrainingPass | CudaTrainingPass:
    """The training pass for Gaussians on `device`."""
    return TrainingPass() if device.type == "cpu" else CudaTrainingPass()


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def _best() -> str:
    problem = cuda_problem()
    if problem is None:
        logger.info("Reconstruction runs on %s.", torch.cuda.get_device_name())
        return "cuda"
    if torch.cuda.is_available():  # a GPU that stays idle is worth a word
        logger.warning("Reconstruction runs on the CPU: %s", problem)
    else:
        logger.info("Reconstruction runs on the CPU.")
    return "cpu"
