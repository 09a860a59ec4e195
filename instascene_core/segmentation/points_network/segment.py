"""All instances of a cloud of points in one go."""

from pathlib import Path

import torch

from instascene_core.config.points import PointsConfig
from instascene_core.segmentation.points_network.cloud import PointCloud
from instascene_core.segmentation.points_network.files import WEIGHTS, load_points_network
from instascene_core.segmentation.points_network.network import PointsNetwork, network_input
from instascene_core.segmentation.points_network.reading import PointInstances, read_instances
from instascene_core.segmentation.points_network.superpoints import find_superpoints
from instascene_core.threads import one_thread


def points_network_of(config: PointsConfig) -> PointsNetwork:
    """The network a configuration asks for.  Raises InputError where its weights cannot be used."""
    return load_points_network(Path(config.network_weights) if config.network_weights else WEIGHTS)


def segment_points(cloud: PointCloud, network: PointsNetwork, config: PointsConfig) -> PointInstances:
    """The instances of a scene whose z points up, the surest first; the same for any number of threads.

    Raises InputError where there are no points, or where they span too far.
    """
    superpoint = find_superpoints(cloud, config.superpoints)
    inputs = network_input([cloud], [superpoint], network.config.voxel_m)
    with torch.inference_mode(), one_thread():
        (output,) = network(inputs)
        return read_instances(output, superpoint, config.reading)
