"""Settings of the network on points."""

from dataclasses import dataclass, field
from typing import Literal

from instascene_core.config.ranges import Count, Positive, Share


@dataclass(frozen=True)
class SuperpointConfig:
    """Small pieces of surface by graph over-segmentation (Felzenszwalb and Huttenlocher 2004)."""

    neighbours: Count = 8  # that each point is compared with ...
    max_reach: Positive = 3.0  # ... within so many times the usual distance of the farthest of them
    color_weight: float = 1.0  # of the mean difference of RGB (0 … 1) against 1 − cos of the normals
    granularity: Positive = 1.0  # the larger, the larger the pieces
    min_points: Count = 10  # smaller pieces join a neighbour
    max_points: Count = 100  # larger ones are not made: a seam without a bend can still run between two


@dataclass(frozen=True)
class DecoderConfig:
    """Queries that find the instances among the superpoints."""

    queries: Count = 48  # instances that can be found at most
    width: Count = 64  # channels of a query
    heads: Count = 4  # of an attention
    hidden: Count = 128  # channels within a layer's perceptron
    layers: Count = 6
    # Where queries start: "learned" places in the scene's box; "sampled": superpoints spread over what looks
    # like objects.  The kernel architecture always samples.
    start: Literal["learned", "sampled"] = "learned"
    wavelength_m: Positive = 4.0  # metres: the longest wave of the sine embedding of positions
    bias_steps: Count = 24  # of the relative position bias to either side ...
    bias_step_m: Positive = 0.02  # ... each so many metres
    kernel_inputs: Count = 16  # channels of a superpoint that a query's own network sees ...
    kernel_hidden: Count = 16  # ... and its hidden ones
    gather_m: Positive = 0.05  # metres: votes for a centre about so near to one another are of one query


@dataclass(frozen=True)
class PointsNetworkConfig:
    """What a network on points is made of; stored with its weights."""

    architecture: Literal["transformer", "kernel"] = "transformer"
    voxel_m: Positive = 0.006  # metres: edge of a voxel
    widths: tuple[Count, ...] = (16, 32, 48, 64, 80)  # channels of the U-Net's levels, the finest first
    depth: Count = 1  # residual blocks a level
    channels: Count = 32  # features of a superpoint
    classes: Count = 1  # 1 = without classes
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


@dataclass(frozen=True)
class ReadingConfig:
    """Which of the queries' masks are instances."""

    min_score: Share = 0.02  # below it a query stands for nothing
    min_points: Count = 20  # of a mask
    max_overlap: Share = 0.5  # IoU of two masks above which only the surer one stays


@dataclass(frozen=True)
class PointsConfig:
    """Instances of a whole scene at once, straight from its points."""

    network_weights: str = ""  # file of the network; empty = those that come with the package
    context_m: Positive = 0.04  # metres around what may be an object: so much of the structure is seen
    superpoints: SuperpointConfig = field(default_factory=SuperpointConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
