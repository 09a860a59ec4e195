"""Which voxels a sparse convolution brings together: pairs of input and output rows, by place in the kernel.

Pairs are found once a level by searching sorted keys, and kept: all convolutions of a level share them.
"""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from instascene_core.sparse.voxels import KeyGrid, Voxels, distinct_voxels

NEIGHBOURS = tuple(itertools.product((-1, 0, 1), repeat=3))  # places of a 3×3×3 kernel, as conv3d has them
CHILDREN = tuple(itertools.product((0, 1), repeat=3))  # places of a 2×2×2 kernel of stride 2


@dataclass(frozen=True)
class Pairs:
    """For each place k of a kernel: output row `outputs[k][i]` sees input row `inputs[k][i]`.

    Within one place no output row and no input row occurs twice, so sums need no order.
    """

    inputs: tuple[torch.Tensor, ...]  # K × [P_k] int64
    outputs: tuple[torch.Tensor, ...]  # K × [P_k] int64
    num_inputs: int
    num_outputs: int
    centre: int | None = None  # the place where row i sees row i, for all rows

    @cached_property
    def transposed(self) -> "Pairs":
        """The same with inputs and outputs exchanged: of the transposed convolution."""
        return replace(
            self, inputs=self.outputs, outputs=self.inputs,
            num_inputs=self.num_outputs, num_outputs=self.num_inputs,
        )  # fmt: skip

    @cached_property
    def table(self) -> torch.Tensor:
        """[num_outputs, K] int64: which input row each output row sees at each place, num_inputs = none."""
        places = len(self.inputs)
        table = self.inputs[0].new_full((self.num_outputs, places), self.num_inputs)
        for k, (inputs, outputs) in enumerate(zip(self.inputs, self.outputs)):
            table[outputs, k] = inputs
        return table


def neighbour_pairs(voxels: Voxels) -> Pairs:
    """Of a submanifold convolution: each voxel and those of its 27 neighbours that are occupied."""
    grid = KeyGrid.around(voxels.coordinates, voxels.batch)
    keys = grid.keys(voxels.coordinates, voxels.batch)
    half = len(NEIGHBOURS) // 2
    every = torch.arange(len(keys), device=keys.device)
    inputs, outputs = [every] * len(NEIGHBOURS), [every] * len(NEIGHBOURS)
    for k, step in enumerate(NEIGHBOURS[:half]):
        wanted = keys + grid.step(*step)
        found = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        here = torch.nonzero(keys[found] == wanted)[:, 0]
        there = found[here]
        inputs[k], outputs[k] = there, here
        mirror = len(NEIGHBOURS) - 1 - k  # the opposite step brings the same two together
        inputs[mirror], outputs[mirror] = here, there
    return Pairs(tuple(inputs), tuple(outputs), len(keys), len(keys), centre=half)


def coarser(voxels: Voxels) -> tuple[Voxels, Pairs]:
    """Voxels twice as large that hold these, and the pairs of the 2×2×2 convolution between them."""
    parents = torch.div(voxels.coordinates, 2, rounding_mode="floor")
    grouped = distinct_voxels(parents, voxels.batch)
    within = (voxels.coordinates - 2 * parents).to(torch.int64)  # [V, 3] of 0 and 1
    place = within[:, 0] * 4 + within[:, 1] * 2 + within[:, 2]
    inputs = tuple(torch.nonzero(place == k)[:, 0] for k in range(len(CHILDREN)))
    outputs = tuple(grouped.voxel_of_point[i] for i in inputs)
    return grouped.voxels, Pairs(inputs, outputs, len(voxels), len(grouped.voxels))


class Pyramid:
    """The levels of a U-Net on some voxels: each twice as coarse, with the pairs of all convolutions."""

    def __init__(self, voxels: Voxels, levels: int) -> None:
        """levels: how many, the finest included."""
        self.voxels = [voxels]
        self.down: list[Pairs] = []  # from level i to level i + 1
        for _ in range(levels - 1):
            coarse, pairs = coarser(self.voxels[-1])
            self.voxels.append(coarse)
            self.down.append(pairs)

    @cached_property
    def neighbours(self) -> list[Pairs]:
        """The 3×3×3 pairs of each level."""
        return [neighbour_pairs(voxels) for voxels in self.voxels]

    @cached_property
    def up(self) -> list[Pairs]:
        """From level i + 1 to level i."""
        return [pairs.transposed for pairs in self.down]
