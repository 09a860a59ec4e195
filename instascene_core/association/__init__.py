"""2D masks → 3D instances: Gaussian tracer, view consensus, mask clustering."""

from instascene_core.association.associate import Association, Cluster, MaskTable, associate

__all__ = ["Association", "Cluster", "MaskTable", "associate"]
