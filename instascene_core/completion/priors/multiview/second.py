"""The second stage: the first one's views at twice the side.

Either the first stage's own network looks at the finer pixels, too (`sharpened`), or a network of the same
kind that was trained for it corrects them (`refined`), in one pass without noise; one whose last convolution
is zero gives back the first stage's views.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from instascene_core.completion.priors.multiview.inputs import (
    GeneratedViews,
    Given,
    Known,
    condition,
    decode,
    encode,
    merged,
)
from instascene_core.completion.priors.multiview.network import MultiviewNetwork
from instascene_core.completion.priors.multiview.noise import STEPS
from instascene_core.completion.priors.multiview.sampling import Sampler, conditions_of, lookups
from instascene_core.config.multiview import MultiviewConfig

LEVEL = (0.0, 1.0)  # shares of image and noise that the network is told: nothing of the image is in its input


def enlarged(rgb: np.ndarray, coverage: np.ndarray, side: int) -> np.ndarray:
    """Images [N, H, W, 3] in `side` × `side` pixels, bilinear over the pixels that the object covers,
    grey where none does; coverage: [N, H, W] in [0, 1]."""
    weight = np.asarray(coverage > 0, np.float32)[..., None]
    stack = np.moveaxis(np.concatenate([rgb * weight, weight], axis=-1), -1, 1)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(stack, dtype=np.float32)),
        size=(side, side),
        mode="bilinear",
        align_corners=False,
    ).numpy()
    color, share = np.moveaxis(large[:, :3], 1, -1), large[:, 3, ..., None]
    return np.where(share > 1e-3, color / np.maximum(share, 1e-3), np.float32(0.5))


def second_start(given: Given, known: Known, first: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """[N, GENERATED, H, W] what the second stage corrects: the first one's images `first` [N, h, w, 3],
    in which the object covers `coverage` [N, h, w], enlarged; known colours; the given geometry."""
    valid = known.valid & (given.depth > 0)
    colors = np.where(valid[..., None], known.rgb, enlarged(first, coverage, given.depth.shape[1]))
    return encode(colors, given.depth, given.coverage)


def refined(
    network: MultiviewNetwork,
    given: Given,
    known: Sequence[Known],
    first: GeneratedViews,
    coverage: np.ndarray,
    config: MultiviewConfig,
) -> GeneratedViews:
    """The first stage's views `first` of the same body at the side of `given`.

    known: by observed view, the best first, at that side; coverage: [N, h, w] by the given geometry, in the
    first stage's pixels.  Observed pixels come out as observed.  Same arguments, same bits, on one thread.
    """
    everything = merged(known)
    conditions, _ = condition(given, merged(conditions_of(known, config)))
    start = torch.from_numpy(second_start(given, everything, first.rgb, coverage))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        v = network(
            torch.zeros_like(start),
            start,
            torch.from_numpy(conditions),
            LEVEL,
            torch.tensor([STEPS - 1]),
            *lookups(given),
        )
    rgb, depth, cover = decode(-v.float().numpy())
    valid = everything.valid & (given.depth > 0)
    return GeneratedViews(np.where(valid[..., None], everything.rgb, rgb), depth, cover)


def sharpened(
    network: MultiviewNetwork,
    given: Given,
    known: Sequence[Known],
    first: GeneratedViews,
    coverage: np.ndarray,
    config: MultiviewConfig,
) -> GeneratedViews:
    """The mean of the first stage's views enlarged and of what its network makes of the finer pixels in one
    pass; arguments as of `refined`."""
    fine = Sampler(network, replace(config, steps=1, warp_steps=1.0)).sample(given, known, seed=0)
    everything = merged(known)
    valid = everything.valid & (given.depth > 0)
    mean = (enlarged(first.rgb, coverage, given.depth.shape[1]) + fine.rgb) / 2
    rgb = np.where(valid[..., None], everything.rgb, mean).astype(np.float32)
    return GeneratedViews(rgb, fine.depth, fine.coverage)
