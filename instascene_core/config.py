"""All defaults, one frozen dataclass a stage; nothing else in the package holds one.

YAML overlays (`config/*.yaml`) and ROS parameters are checked against these classes:
an unknown key is refused, a wrong type is refused, a missing key keeps its default.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReconstructionConfig:
    """2D Gaussian Splatting (METHOD: Huang et al. 2024; InstaScene section 3)."""

    iterations: int = 1500
    seed: int = 0


@dataclass(frozen=True)
class SegmentationConfig:
    """2D instance masks."""

    segmenter: str = (
        "auto"  # "labels" (given label images), "geometric" (built in), "auto": labels where given
    )


@dataclass(frozen=True)
class AssociationConfig:
    """Mask clustering (InstaScene section 3.1; MaskClustering)."""


@dataclass(frozen=True)
class FeaturesConfig:
    """Spatial contrastive learning (InstaScene section 3.2)."""


@dataclass(frozen=True)
class CompletionConfig:
    """In-situ completion."""

    prior: str = "carving"


@dataclass(frozen=True)
class ExportConfig:
    """Files of one completed object."""


@dataclass(frozen=True)
class Config:
    """The whole pipeline."""

    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
