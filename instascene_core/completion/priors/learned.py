"""The learned prior: a small 3D network, trained on procedural shapes, completes what was observed."""

from functools import cached_property
from pathlib import Path

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.carving import claimed_by_neighbours
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import CarvingConfig, LearnedConfig
from instascene_core.geometry.tsdf import VoxelGrid
from instascene_core.threads import one_thread


class LearnedPrior:
    """Several hypotheses of the whole shape and the doubt about each place, by a trained network.

    The observation is fused again in the network's own grid of about side³ voxels, so that nothing
    depends on the scale; a thin or flat box gets finer voxels than a cube of the same length.
    """

    name = "learned"
    licence = "Apache-2.0"

    def __init__(
        self,
        config: LearnedConfig | None = None,
        carving: CarvingConfig | None = None,
        weights: Path | None = None,
    ) -> None:
        """carving: of the carved body, which the network corrects; weights: None takes those of the
        package."""
        self.config, self.carving = config or LearnedConfig(), carving or CarvingConfig()
        self.weights = weights

    @classmethod
    def from_config(cls, config: CompletionConfig) -> "LearnedPrior":
        return cls(config.learned, config.carving)

    @cached_property
    def _network(self):
        from instascene_core.completion.priors.network import WEIGHTS, load_network

        return load_network(Path(self.weights) if self.weights else WEIGHTS)

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The best single guess first, then the other hypotheses, the likelier first; beyond them,
        mixtures of all drawn from `seed`.

        A hypothesis that is less likely than chance is drawn toward the first guess, so that the samples
        agree where the observation leaves no choice.
        Raises InputError when the weights cannot be loaded.
        """
        from instascene_core.completion.priors.network import observed_at

        small = observed_at(observation, self.config.side)
        heads, doubt, likelihood = self._run(small)
        share = np.minimum(1, len(heads) * likelihood)
        share[0] = 1
        samples = heads[:1] + share[:, None, None, None] * (heads - heads[:1])
        fields = _with_mixtures(samples, likelihood, num_samples, seed, self.config)
        # What the hypotheses disagree about, the first one cannot know.
        spread = np.tensordot(likelihood, (heads - heads[:1]) ** 2, axes=1)
        uncertainty = np.sqrt(doubt**2 + spread) * small.grid.voxel
        grid = observation.grid
        back = [resample(field * small.grid.voxel, small.grid, grid) for field in fields]
        uncertainty = resample(uncertainty, small.grid, grid)
        least = np.float32(self.config.min_doubt * observation.noise)
        return Prediction(np.stack(back), np.maximum(uncertainty, least))

    def _run(self, small: Observation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances [HEADS, nx, ny, nz] in voxels, ordered by likelihood after the first; the expected
        error of the first [nx, ny, nz] in voxels; the likelihoods [HEADS]."""
        import torch

        from instascene_core.completion.priors.network import CLIP, network_input

        network, notes = self._network
        inputs = torch.from_numpy(network_input(small, self.carving))[None]
        with torch.inference_mode(), one_thread():
            distances, doubt, rank = network(inputs.contiguous(memory_format=torch.channels_last_3d))
        order = [0, *(1 + torch.argsort(rank[0, 1:], descending=True)).tolist()]
        heads, carved = distances[0, order].clamp(-CLIP, CLIP).numpy(), CLIP * inputs[0, 7].numpy()
        heads = _without_neighbours(heads, small, carved > 0, self.carving.hull_resolution)
        heads = _with_floor(heads, small, carved, self.config)
        expected = np.exp(np.clip(doubt[0].numpy(), -5, 3)) * float(notes.get("doubt_scale", "1"))
        likelihood = torch.softmax(rank[0], dim=0)[order].numpy().astype(np.float32)
        return heads, expected.astype(np.float32), likelihood


def _without_neighbours(
    fields: np.ndarray, observation: Observation, carved: np.ndarray, resolution: float
) -> np.ndarray:
    """`fields` [S, nx, ny, nz] (voxels) without what reaches into other objects: a thing on a box ends
    where the box begins.

    carved: [nx, ny, nz] bool, outside of the carved body, which may fill a neighbour's hull (a bowl's);
    resolution: of the neighbours' hulls.
    """
    if observation.support is None or not observation.neighbour_points:
        return fields
    foreign = carved & claimed_by_neighbours(observation, resolution)
    return np.where(foreign, np.maximum(fields, np.float32(0.5)), fields)


def _with_floor(
    fields: np.ndarray, observation: Observation, carved: np.ndarray, config: LearnedConfig
) -> np.ndarray:
    """`fields` [S, nx, ny, nz] (voxels) of a vessel with the floor of its carved body: one as thin as a
    voxel, with nothing of it in view, is easily lost.

    carved: [nx, ny, nz] voxels.
    """
    support = observation.support
    if support is None or observation.wall is None:
        return fields
    height = support.height(observation.grid.centers()) / observation.grid.voxel
    floor = (carved < 0) & (height > -config.floor_below) & (height < config.floor_above)
    return np.where(floor, np.minimum(fields, carved), fields)


def _with_mixtures(
    samples: np.ndarray, likelihood: np.ndarray, count: int, seed: int, config: LearnedConfig
) -> np.ndarray:
    """[count, nx, ny, nz]: the samples, and beyond their number mixtures of them by likelihood [S]."""
    if count <= len(samples):
        return samples[:count]
    concentration = config.mixture_likelihood * likelihood + config.mixture_base
    shares = np.random.default_rng(seed).dirichlet(concentration, count - len(samples))
    mixed = np.tensordot(shares.astype(np.float32), samples, axes=1)
    return np.concatenate([samples, mixed])


def resample(values: np.ndarray, source: VoxelGrid, target: VoxelGrid) -> np.ndarray:
    """`values` of one grid at the voxels of another whose axes are parallel to it, linear, float32."""
    from scipy.ndimage import affine_transform

    start = source.coordinates(target.world_from_grid[:3, 3])
    scale = np.full(3, target.voxel / source.voxel)
    return affine_transform(
        values.astype(np.float32), scale, start, target.shape, order=1, mode="nearest"
    ).astype(np.float32)
