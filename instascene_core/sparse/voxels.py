"""Points into voxels: occupied cells of a regular grid, in one order, without doubles."""

from dataclasses import dataclass

import torch

from instascene_core.errors import InputError

KEY_LIMIT = 2**62  # what one number must hold: batch and three coordinates
MARGIN = 1  # empty cells around all voxels, so that a neighbour's key is never another row's


@dataclass(frozen=True)
class Voxels:
    """Occupied cells of some scenes, sorted by (batch, x, y, z), each of them once."""

    coordinates: torch.Tensor  # [V, 3] int32, cells
    batch: torch.Tensor  # [V] int32, the scene, from 0

    def __len__(self) -> int:
        return len(self.coordinates)


@dataclass(frozen=True)
class VoxelizedPoints:
    """Points and the voxels that hold them."""

    voxels: Voxels
    voxel_of_point: torch.Tensor  # [N] int64
    points_of_voxel: torch.Tensor  # [V] float32, how many

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """[V, C] the mean of the points' values [N, C] in each voxel."""
        total = values.new_zeros(len(self.voxels), values.shape[1])
        total = total.index_add(0, self.voxel_of_point, values)
        return total / self.points_of_voxel.to(values.dtype)[:, None]


@dataclass(frozen=True)
class KeyGrid:
    """How cells become numbers: key order is the order (batch, x, y, z)."""

    origin: torch.Tensor  # [3] int64: the smallest coordinates, less the margin
    strides: tuple[int, int, int, int]  # of batch, x, y, z in a key

    @classmethod
    def around(cls, coordinates: torch.Tensor, batch: torch.Tensor) -> "KeyGrid":
        """For coordinates [V, 3] and batch [V], with a margin.  InputError where they span too far."""
        low = coordinates.amin(dim=0).to(torch.int64) - MARGIN
        extent = (coordinates.amax(dim=0).to(torch.int64) - low + 1 + MARGIN).tolist()
        scenes = int(batch.max()) + 1
        if scenes * extent[0] * extent[1] * extent[2] >= KEY_LIMIT:
            raise InputError(
                f"These points span {extent[0]} × {extent[1]} × {extent[2]} voxels, which is too many; "
                "remove the points far away or use larger voxels."
            )
        return cls(low, (extent[0] * extent[1] * extent[2], extent[1] * extent[2], extent[2], 1))

    def keys(self, coordinates: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """[V] int64 of coordinates [V, 3] and batch [V]."""
        cell = coordinates.to(torch.int64) - self.origin
        of_batch, x, y, z = self.strides
        return batch.to(torch.int64) * of_batch + cell[:, 0] * x + cell[:, 1] * y + cell[:, 2] * z

    def step(self, dx: int, dy: int, dz: int) -> int:
        """What a step of so many cells adds to a key."""
        return dx * self.strides[1] + dy * self.strides[2] + dz * self.strides[3]


def distinct_voxels(coordinates: torch.Tensor, batch: torch.Tensor) -> VoxelizedPoints:
    """Cells [N, 3] (integers) of scenes [N], each once and in order."""
    if not len(coordinates):
        raise InputError("There are no points to make voxels of.")
    grid = KeyGrid.around(coordinates, batch)
    keys, inverse, counts = torch.unique(
        grid.keys(coordinates, batch), return_inverse=True, return_counts=True
    )
    of_batch, x, y, _ = grid.strides
    cells = torch.stack([keys % of_batch // x, keys % x // y, keys % y], dim=1) + grid.origin
    voxels = Voxels(cells.to(torch.int32), (keys // of_batch).to(torch.int32))
    return VoxelizedPoints(voxels, inverse, counts.to(torch.float32))


def voxelize(positions: torch.Tensor, size: float, batch: torch.Tensor | None = None) -> VoxelizedPoints:
    """The voxels of edge `size` that hold points at positions [N, 3] (float, metres).

    batch: [N] integers, the scene of each point; None = one scene.  Raises InputError where there are no
    points, where a position is not finite, or where they span more cells than can be numbered.
    """
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise InputError(f"Positions have shape {tuple(positions.shape)}; [N, 3] is needed.")
    if not torch.isfinite(positions).all():
        raise InputError("Positions contain NaN or infinity; remove those points.")
    cells = torch.floor(positions.to(torch.float64) / size)
    if len(cells) and float(cells.abs().max()) >= 2**31 - 2:
        raise InputError("Some points lie too far away for voxels of this size; remove them.")
    if batch is None:
        batch = torch.zeros(len(positions), dtype=torch.int32, device=positions.device)
    return distinct_voxels(cells.to(torch.int64), batch)
