"""Settings of trainings for things on a table and for rooms."""

from dataclasses import replace

from instascene_core.config.points import DecoderConfig, PointsNetworkConfig
from instascene_core.training.points.augmentation import AugmentationConfig
from instascene_core.training.points.losses import LossConfig
from instascene_core.training.points.scannet import CLASSES
from instascene_core.training.points.train import PointsTraining

TABLE = PointsTraining()

# Twice as wide, for a GPU: 7 MB; finding superpoints still takes the larger part of a scene's time.
WIDE = replace(
    TABLE,
    batch=8,
    learning_rate=2e-3,
    network=PointsNetworkConfig(
        widths=(32, 48, 64, 96, 128), channels=48, decoder=DecoderConfig(width=96, hidden=192)
    ),
    augmentation=AugmentationConfig(max_points=25_000),
)

# ScanNet: voxels of 2 cm, furniture instead of cups, the sizes of the public architecture.
ROOM = replace(
    TABLE,
    batch=4,
    learning_rate=2e-4,
    held_back=0,
    network=PointsNetworkConfig(
        voxel_m=0.02,
        widths=(32, 64, 96, 128, 160),
        depth=2,
        channels=32,
        classes=len(CLASSES),
        decoder=DecoderConfig(
            queries=400, width=256, heads=8, hidden=1024, wavelength_m=16.0, bias_step_m=0.1, gather_m=0.3
        ),
    ),
    losses=LossConfig(centre_m=0.5),
    augmentation=AugmentationConfig(
        max_points=250_000, jitter_m=0.002, normal_noise=0.02, least_kept=1.0, see_through=0.0, floaters=0.0
    ),
)
PRESETS = {"table": TABLE, "wide": WIDE, "room": ROOM}
