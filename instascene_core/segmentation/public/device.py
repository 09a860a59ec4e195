"""Where a public model runs."""

import torch

from instascene_core.errors import MissingDependencyError


def choose_device(wanted: str) -> torch.device:
    """ "auto": CUDA where torch sees a GPU, else the CPU; MissingDependencyError for "cuda" without one."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise MissingDependencyError(
            "segmentation.public.device is cuda, but torch sees no NVIDIA GPU; set it to cpu or auto."
        )
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")
