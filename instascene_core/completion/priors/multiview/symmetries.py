"""Changes of a ring of views that change nothing about the task: the mirror image of the world, and another
order of the colour channels.

The training draws both at random, but a network of this size learns them only about; the mean of its answers
to all of them has them exactly, and its errors average out.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from instascene_core.completion.priors.multiview.inputs import COLORS, GENERATED, TO_THE_RIGHT, Given

_ORDERS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


@dataclass(frozen=True)
class Symmetry:
    """Mirrored in the plane of the object's longer side (y → −y in its frame), or not; and an order of red,
    green and blue."""

    mirrored: bool
    order: tuple[int, int, int]

    def of_views(self, values: torch.Tensor) -> torch.Tensor:
        """Generated channels [N, GENERATED, H, W] of the changed views."""
        values = values[:, [*self.order, *range(3, GENERATED)]]
        return _mirror(values) if self.mirrored else values

    def back(self, values: torch.Tensor) -> torch.Tensor:
        """The inverse of `of_views`."""
        channels = [self.order.index(k) for k in range(3)]
        values = values[:, [*channels, *range(3, GENERATED)]]
        return _mirror(values) if self.mirrored else values

    def of_conditions(self, values: torch.Tensor) -> torch.Tensor:
        """Conditions [N, CONDITIONS, H, W] of the changed views (see `inputs.condition`)."""
        channels = list(range(values.shape[1]))
        for colors in COLORS:
            channels[colors] = [colors.start + k for k in self.order]
        values = values[:, channels]
        if not self.mirrored:
            return values
        values = _mirror(values)
        values[:, list(TO_THE_RIGHT)] *= -1
        return values

    def of_given(self, given: Given) -> Given:
        """The depth of the changed views, which says where they show the same places."""
        if not self.mirrored:
            return given
        return replace(given, depth=_mirror(torch.from_numpy(given.depth)[:, None])[:, 0].numpy())


def symmetries(count: int) -> list[Symmetry]:
    """The first `count` of six: as it is, mirrored, then both with the channels turned."""
    return [Symmetry(mirrored, order) for order in _ORDERS for mirrored in (False, True)][:count]


def _mirror(values: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W]: view k of the mirror image is view −k, left and right exchanged."""
    ring = torch.from_numpy(-np.arange(len(values)) % len(values))
    return values[ring].flip(-1)
