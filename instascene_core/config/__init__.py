"""All settings with their defaults: frozen dataclasses, nested by stage and by part of a stage.

What decides on a shape, a mask or a cut is set here and nowhere else.  Numerical constants lie beside the
code: epsilons, paddings, steps of solvers, limits of the renderer, scales that trained weights expect.

YAML overlays (`config/*.yaml`) and ROS parameters are checked against these classes:
an unknown key is refused, a wrong type is refused, a missing key keeps its default.
"""

from dataclasses import dataclass, field
from typing import Literal

from instascene_core.config.association import AssociationConfig
from instascene_core.config.completion import CompletionConfig
from instascene_core.config.export import ExportConfig
from instascene_core.config.features import ClickConfig, FeaturesConfig
from instascene_core.config.following import FollowingConfig
from instascene_core.config.measured_depth import (
    DepthBendConfig,
    EstimatedDepthConfig,
    MeasuredDepthConfig,
)
from instascene_core.config.ownership import PixelLabelsConfig, SurfaceAdoptionConfig
from instascene_core.config.parts import PartsConfig
from instascene_core.config.plausibility import PlausibilityConfig
from instascene_core.config.ranges import Count, Share, Signed
from instascene_core.config.reconstruction import ReconstructionConfig
from instascene_core.config.region import RegionConfig
from instascene_core.config.registration import RegistrationConfig
from instascene_core.config.removal import RemovalConfig
from instascene_core.config.resting import RestingConfig
from instascene_core.config.segmentation import SegmentationConfig
from instascene_core.config.synthetic import SyntheticConfig


@dataclass(frozen=True)
class Config:
    """The whole pipeline."""

    # Direction against gravity in the world frame: three numbers.  "auto": z, as REP 103 says, unless the way
    # the cameras were held contradicts it; then the plane that things stand on tells.  Empty = not known: the
    # support plane decides.
    up: Literal["auto"] | tuple[Signed, ...] = "auto"
    # Frames held; of more, the most redundant ones go.  A frame of 640×480 takes about 9 MB with all that
    # is made from it.
    max_frames: Count = 240
    # Share of a pixel that Gaussians must cover for its rendered depth to count, where a frame has none.
    min_depth_coverage: Share = 0.5
    depth_bend: DepthBendConfig = field(default_factory=DepthBendConfig)
    measured_depth: MeasuredDepthConfig = field(default_factory=MeasuredDepthConfig)
    estimated_depth: EstimatedDepthConfig = field(default_factory=EstimatedDepthConfig)
    # Which things are objects to be completed.  "auto": those on, in or at the support, within reach of the
    # cameras; "all"; or a box "x y z x y z": lower and upper corner, metres in the world frame.
    region: str = "auto"
    region_of_interest: RegionConfig = field(default_factory=RegionConfig)
    plausibility: PlausibilityConfig = field(default_factory=PlausibilityConfig)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    pixel_labels: PixelLabelsConfig = field(default_factory=PixelLabelsConfig)
    click: ClickConfig = field(default_factory=ClickConfig)
    removal: RemovalConfig = field(default_factory=RemovalConfig)
    following: FollowingConfig = field(default_factory=FollowingConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    resting: RestingConfig = field(default_factory=RestingConfig)
    parts: PartsConfig = field(default_factory=PartsConfig)
    export: ExportConfig = field(default_factory=ExportConfig)


__all__ = [
    "AssociationConfig",
    "ClickConfig",
    "CompletionConfig",
    "Config",
    "DepthBendConfig",
    "ExportConfig",
    "FeaturesConfig",
    "FollowingConfig",
    "MeasuredDepthConfig",
    "PartsConfig",
    "PixelLabelsConfig",
    "PlausibilityConfig",
    "ReconstructionConfig",
    "RegionConfig",
    "RegistrationConfig",
    "RemovalConfig",
    "RestingConfig",
    "SegmentationConfig",
    "SurfaceAdoptionConfig",
    "SyntheticConfig",
]
