"""A network that says which pixels near a border of labels belong to the label beyond it.

It is told where the border is thought to be and looks for where the thing really ends: `borders` makes its
inputs and acts on its answer.
"""

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from instascene_core.weights import filled_network, read_weights, write_weights

WEIGHTS = Path(__file__).parent / "weights" / "borders.safetensors"
FORMAT = "instascene borders 1"
CHANNELS = 24  # of `borders.border_input`
WIDTHS = (24, 40)  # channels at full and at half resolution


def _layer(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(True),
    )


class BorderNetwork(nn.Module):
    """[B, CHANNELS, H, W] inputs → [B, H, W] log odds that a pixel is of the label beyond the border."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        fine, coarse = widths
        self.fine = nn.Sequential(_layer(CHANNELS, fine, 3), _layer(fine, fine, 3))
        self.coarse = nn.Sequential(_layer(fine, coarse, 3), _layer(coarse, coarse, 3))
        self.mix = _layer(fine + coarse, fine, 1)
        self.last = _layer(fine, fine, 3)
        self.head = nn.Conv2d(fine, 1, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        height, width = inputs.shape[-2:]
        inputs = F.pad(inputs, (0, width % 2, 0, height % 2), mode="replicate")
        fine = self.fine(inputs)
        coarse = F.interpolate(self.coarse(F.max_pool2d(fine, 2)), scale_factor=2, mode="nearest")
        mixed = self.mix(torch.cat([fine, coarse], dim=1))
        return self.head(self.last(mixed))[:, 0, :height, :width]


def save_border_network(network: BorderNetwork, path: Path, notes: dict[str, str]) -> None:
    """Write the weights as half-precision safetensors, atomically, with `notes` in the header."""
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    write_weights(path, arrays, FORMAT, {"widths": json.dumps(network.widths), **notes})


@lru_cache(maxsize=2)
def load_border_network(path: Path = WEIGHTS) -> BorderNetwork:
    """The network in a weights file.  Raises InputError when the file is missing or not one of ours."""
    advice = "leave segmentation.fused_surface.edges.weights empty for those that come with the package"
    arrays, notes = read_weights(path, FORMAT, "border network", advice)
    network = filled_network(BorderNetwork, arrays, notes, path, "border network", advice)
    return cast(BorderNetwork, network.eval())


def for_inference(network: BorderNetwork) -> nn.Module:
    """A copy that says the same sooner: normalisation is part of the convolutions, and a pixel's channels lie
    side by side."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = copy.deepcopy(network.eval())
    for module in network.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            convolution = cast(nn.Conv2d, module[0])
            normalisation = cast(nn.BatchNorm2d, module[1])
            module[0], module[1] = fuse_conv_bn_eval(convolution, normalisation), nn.Identity()
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stub)
