"""Normals that come with the images, as a network guesses them, held against the rendered ones."""

import numpy as np
import torch


def add_normal_prior(
    normals: torch.Tensor, world_from_camera: np.ndarray, weight: float, gradient: torch.Tensor
) -> None:
    """Add to `gradient` [H, W, 3], by the rendered world normals n, that of weight · mean(|m| − n · R m).

    normals: m [H, W, 3] unit, camera axes, 0 = unknown; R the rotation of world_from_camera [4, 4].  The mean
    goes over all pixels, so that a prior for few of them weighs little.  (InstaScene, supplementary: a
    monocular normal prior of weight 0.25.)
    """
    rotation = torch.from_numpy(world_from_camera[:3, :3]).to(normals)
    gradient.sub_(normals @ rotation.T, alpha=weight / (normals.shape[0] * normals.shape[1]))
