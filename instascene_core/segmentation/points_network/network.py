"""The network on points: voxels, a sparse U-Net, superpoints, and a decoder; its weights and their file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from instascene_core.config.points import PointsNetworkConfig
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.heads import perceptron
from instascene_core.segmentation.points_network.kernels import KernelDecoder
from instascene_core.segmentation.points_network.outputs import SceneOutput, SuperpointScene
from instascene_core.segmentation.points_network.transformer import QueryDecoder
from instascene_core.sparse import Pyramid, SparseUNet, VoxelizedPoints, Voxels, voxelize

INPUTS = 9  # normal, colour, opacity, logarithm of the scale, one
DECODERS: dict[str, type[nn.Module]] = {"transformer": QueryDecoder, "kernel": KernelDecoder}


@dataclass(frozen=True)
class NetworkInput:
    """Some scenes made ready; superpoints of the second scene are numbered after those of the first."""

    features: torch.Tensor  # [V, INPUTS] float32, a row a voxel
    points: VoxelizedPoints
    superpoint: torch.Tensor  # [N] int64
    centres: torch.Tensor  # [S, 3] float32 metres
    sizes: torch.Tensor  # [S] float32: points
    counts: tuple[int, ...]  # superpoints of each scene

    def to(self, device: str) -> "NetworkInput":
        """The same on another device."""
        voxels = Voxels(self.points.voxels.coordinates.to(device), self.points.voxels.batch.to(device))
        points = VoxelizedPoints(
            voxels, self.points.voxel_of_point.to(device), self.points.points_of_voxel.to(device)
        )
        return NetworkInput(
            self.features.to(device), points, self.superpoint.to(device),
            self.centres.to(device), self.sizes.to(device), self.counts,
        )  # fmt: skip


def network_input(
    clouds: Sequence[PointCloud], superpoints: Sequence[np.ndarray], voxel_m: float
) -> NetworkInput:
    """Some scenes together; superpoints: [N] int of each, from 0 without gaps."""
    positions = torch.from_numpy(np.concatenate([c.positions for c in clouds]))
    batch = np.repeat(np.arange(len(clouds)), [len(c) for c in clouds])
    points = voxelize(positions, voxel_m, torch.from_numpy(batch.astype(np.int32)))
    rows = torch.from_numpy(np.concatenate([point_features(c, voxel_m) for c in clouds]))
    counts = tuple(int(s.max()) + 1 for s in superpoints)
    first = np.cumsum([0, *counts[:-1]])
    superpoint = torch.from_numpy(
        np.concatenate([s.astype(np.int64) + f for s, f in zip(superpoints, first, strict=True)])
    )
    centres, sizes = group_means(positions, superpoint, sum(counts))
    return NetworkInput(points.mean(rows), points, superpoint, centres, sizes, counts)


def point_features(cloud: PointCloud, voxel_m: float) -> np.ndarray:
    """[N, INPUTS] float32 of every point."""
    scale = np.log(np.clip(cloud.scales / voxel_m, 0.05, 20.0))
    columns = [
        cloud.normals, 2 * cloud.colors - 1,
        cloud.opacities[:, None], scale[:, None], np.ones((len(cloud), 1)),
    ]  # fmt: skip
    return np.concatenate(columns, axis=1).astype(np.float32)


def group_means(values: torch.Tensor, group: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """([count, C] mean of the rows [N, C] of each group, [count] their number)."""
    total = values.new_zeros(count, values.shape[1]).index_add(0, group, values)
    size = values.new_zeros(count).index_add(0, group, values.new_ones(len(values)))
    return total / size.clamp(min=1)[:, None], size


class PointsNetwork(nn.Module):
    """Points → superpoints with features → what the queries of the decoder say of each scene."""

    def __init__(self, config: PointsNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = SparseUNet(INPUTS, config.widths, config.channels, config.depth)
        self.objectness = perceptron(config.channels, config.channels, 1)
        self.offsets = perceptron(config.channels, config.channels, 3)
        self.decoder = DECODERS[config.architecture](config.channels, config.classes, config.decoder)

    def forward(self, inputs: NetworkInput) -> list[SceneOutput]:
        """One output a scene."""
        pyramid = Pyramid(inputs.points.voxels, len(self.config.widths))
        features = self.backbone(inputs.features, pyramid)
        of_points = features.index_select(0, inputs.points.voxel_of_point)
        pooled, _ = group_means(of_points, inputs.superpoint, sum(inputs.counts))
        objectness, offsets = self.objectness(pooled)[:, 0], self.offsets(pooled)
        columns = (pooled, inputs.centres, objectness, offsets)
        scenes = [SuperpointScene(*parts) for parts in zip(*(c.split(inputs.counts) for c in columns))]
        return [SceneOutput(scene, self.decoder(scene)) for scene in scenes]
