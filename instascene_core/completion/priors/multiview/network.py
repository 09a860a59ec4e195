"""The multi-view diffusion model: a U-Net over the views of a ring, whose views attend to one another.

Built from diffusers' residual blocks.  A pixel attends to

- the places in neighbouring views that show what it shows (given depth, `views.neighbour_lookup`): the view
  attention of MVD-Fusion, which follows rays by depth, with the depth known beforehand;
- the same pixel of all views of the ring, and its mirror image in all of them: where a body of revolution,
  or one that is symmetric in its box's planes, shows the same thing.

It predicts v (Salimans & Ho 2022).  What it computes is a correction to the v of a Gaussian around the
starting point (nearest known colours on the given geometry), scaled as in EDM (Karras et al. 2022): so it
starts from nearest colours and has to learn only where these are wrong.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from instascene_core.completion.priors.multiview.inputs import CONDITIONS, GENERATED
from instascene_core.completion.priors.multiview.views import NEIGHBOURS
from instascene_core.errors import InputError
from instascene_core.weights import filled_network, read_weights, write_weights

WEIGHTS = Path(__file__).parents[2] / "weights" / "multiview.safetensors"
FORMAT = "instascene-multiview-1"
WIDTHS = (64, 96, 160)
SPREAD = 0.3  # standard deviation of what is generated about its starting point
PATCH = 2  # pixels of an image that share one place of the network
CELL = 4 * PATCH // 2  # pixels, side of the cells that attend to one another
HEAD = 32  # channels of a head of the attention


class ViewAttention(nn.Module):
    """[V, C, H, W] → the same: every place attends to the same place of the ring's views, to its mirror image
    in them, and to what is looked up in neighbouring views."""

    def __init__(self, channels: int, views: int = 16) -> None:
        super().__init__()
        self.heads, self.views = channels // HEAD, views
        self.norm = nn.GroupNorm(8, channels)
        self.project = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        # By how many views round the ring the other one lies, straight and mirrored, and by neighbour.
        self.bias = nn.Parameter(torch.zeros(self.heads, 2 * views))
        self.neighbour_bias = nn.Parameter(torch.zeros(self.heads, len(NEIGHBOURS)))

    def forward(self, x: torch.Tensor, cells: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """cells: [V, P, G] indices into V · P places, P = H · W; valid: [V, P, G] bool."""
        count, channels, height, width = x.shape
        rows = self.norm(x).flatten(2).transpose(1, 2)  # [V, P, C]
        q, k, v = self.project(rows).reshape(count, height * width, 3, self.heads, HEAD).unbind(2)
        q = q * HEAD**-0.5
        mirror = torch.arange(height * width, device=x.device).reshape(height, width).flip(1).flatten()
        k2, v2 = torch.cat([k, k[:, mirror]]), torch.cat([v, v[:, mirror]])  # [2V, P, h, d]
        same = torch.einsum("vphd,wphd->phvw", q, k2) + self._ring_bias(count)
        both = torch.cat([k, v], dim=-1).flatten(0, 1)  # [V P, h, 2d]
        gathered = nn.functional.embedding(cells, both.flatten(1)).unflatten(-1, both.shape[1:])
        k3, v3 = gathered.chunk(2, dim=-1)  # [V, P, G, h, d] each
        near = torch.einsum("vphd,vpghd->phvg", q, k3)
        near = near + self.neighbour_bias[:, None]
        near = near.masked_fill(~valid.permute(1, 0, 2)[:, None], -1e4)
        weights = torch.softmax(torch.cat([same, near], dim=-1).float(), dim=-1).to(v.dtype)
        seen = torch.einsum("phvw,wphd->vphd", weights[..., : 2 * count], v2)
        seen = seen + torch.einsum("phvg,vpghd->vphd", weights[..., 2 * count :], v3)
        out = self.out(seen.reshape(count, height * width, channels))
        return x + out.transpose(1, 2).reshape(count, channels, height, width)

    def _ring_bias(self, count: int) -> torch.Tensor:
        """[h, V, 2V] of the views' offsets; mirrored ones by the sum of both azimuths."""
        index = torch.arange(count, device=self.bias.device)
        straight = (index[None, :] - index[:, None]) % self.views
        mirrored = (index[None, :] + index[:, None]) % self.views + self.views
        return self.bias[:, torch.cat([straight, mirrored], dim=1)]


class MultiviewNetwork(nn.Module):
    """v [V, GENERATED, H, W] of V views of one object (see the module)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, views: int = 16) -> None:
        super().__init__()
        a, b, c = widths
        self.widths, self.views, time = widths, views, 4 * a
        self.time_steps = Timesteps(a, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(a, time)
        self.stem = nn.Conv2d(PATCH**2 * (GENERATED + CONDITIONS), a, 3, padding=1)

        def block(inputs: int, outputs: int) -> ResnetBlock2D:
            return ResnetBlock2D(
                in_channels=inputs, out_channels=outputs, temb_channels=time, groups=8, eps=1e-5
            )

        self.down = nn.ModuleList([block(a, a), block(b, b)])
        self.reduce = nn.ModuleList(
            [
                Downsample2D(a, use_conv=True, out_channels=b, name="op"),
                Downsample2D(b, use_conv=True, out_channels=c, name="op"),
            ]
        )
        self.middle = nn.ModuleList([block(c, c), block(c, c)])
        self.grow = nn.ModuleList(
            [Upsample2D(c, use_conv=True, out_channels=b), Upsample2D(b, use_conv=True, out_channels=a)]
        )
        self.up = nn.ModuleList([block(2 * b, b), block(2 * a, a)])
        self.attend = nn.ModuleList([ViewAttention(b, views), ViewAttention(c, views)])
        self.norm = nn.GroupNorm(8, a)
        self.head = nn.Conv2d(a, PATCH**2 * 2 * GENERATED, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None  # a convolution has one unless it is told not to
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        noisy: torch.Tensor,
        start: torch.Tensor,
        conditions: torch.Tensor,
        level: tuple[float, float],
        step: torch.Tensor,
        lookup: tuple[torch.Tensor, torch.Tensor],
        coarse: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """noisy, start: [V, GENERATED, H, W]; conditions: [V, CONDITIONS, H, W]; step: [1] number of the
        noise step, level: its (α, σ), share of the image and of the noise; lookup, coarse: cells and valid
        of `views.neighbour_lookup` for cells of CELL and of 2 · CELL pixels."""
        alpha, sigma = level
        variance = alpha**2 * SPREAD**2 + sigma**2
        away = noisy - alpha * start
        known = alpha * sigma * (1 - SPREAD**2) / variance * away - sigma * start
        away = away / variance**0.5
        added, passed = self._correction(away, conditions, step, lookup, coarse).float().chunk(2, dim=1)
        # Where a colour is sure, all noise is to go: that is a factor a pixel, hard to learn as a picture.
        return known + SPREAD / variance**0.5 * (added + passed * away)

    def _correction(self, away, conditions, step, lookup, coarse) -> torch.Tensor:
        """[V, 2 · GENERATED, H, W]: what is added, and by what the noisy input is multiplied and added."""
        embedded = self.time(self.time_steps(step).to(away.dtype))
        embedded = embedded.expand(len(away), -1)
        x = nn.functional.pixel_unshuffle(torch.cat([away, conditions], dim=1), PATCH)
        a = self.down[0](self.stem(x.contiguous(memory_format=torch.channels_last)), embedded)
        b = self.down[1](self.reduce[0](a), embedded)
        c = self.middle[0](self.reduce[1](b), embedded)
        c = self.middle[1](self.attend[1](c, *coarse), embedded)
        d = self.up[0](torch.cat([self.grow[0](c), b], dim=1), embedded)
        d = self.attend[0](d, *lookup)
        e = self.up[1](torch.cat([self.grow[1](d), a], dim=1), embedded)
        return nn.functional.pixel_shuffle(self.head(nn.functional.silu(self.norm(e))), PATCH)


# --- weights ---


def save_network(network: MultiviewNetwork, path: Path, notes: dict[str, str]) -> None:
    """Write the weights as half-precision safetensors, atomically, with `notes` in the header."""
    arrays = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    write_weights(path, arrays, FORMAT, {"widths": json.dumps(network.widths), **notes})


@lru_cache(maxsize=3)
def load_network(path: Path = WEIGHTS, stage: str = "first") -> tuple[MultiviewNetwork, dict[str, str]]:
    """The network in a weights file, and the file's notes.

    stage: "first" or "second".  Raises InputError when the file is missing, not one of ours or of the other
    stage.
    """
    arrays, notes = read_weights(path, FORMAT, "multi-view model")
    if notes.get("stage", "first") != stage:
        raise InputError(f"'{path}' holds no weights of the {stage} stage of the multi-view model.")
    network = filled_network(MultiviewNetwork, arrays, notes, path, "multi-view model")
    return cast(MultiviewNetwork, network.eval()), notes


def side_of(notes: dict[str, str]) -> int:
    """Pixels, side of the views that weights with these notes were trained with last.

    Raises InputError for a side that the network cannot take.
    """
    side = notes.get("side", "64")
    if side not in ("32", "64", "128"):
        raise InputError(
            f"The weights of the multi-view model name a side of views that it cannot have: {side}."
        )
    return int(side)
