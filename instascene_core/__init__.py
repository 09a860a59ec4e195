"""InstaScene: complete, watertight object meshes from posed images of a cluttered scene.

The rooms, bottom to top (imports go only downward; `test/core/test_architecture.py` holds this):

    transforms camera config errors progress geometry files weights open3d_loader config_file   floor 0
    frame keyframes gaussians gaussians_ply instances objects datasets   floor 1: data types and their files
    rendering losses tsdf mesh metrics                         floor 2: geometry and measures
    reconstruction segmentation association features completion   floor 3: the steps of the paper
    decomposition editing removal pipeline                     floor 4: the paper in order
    cli export viewer synthetic training doctor                floor 5
"""

import os

# OpenMP's threads otherwise spin after each parallel section, which on shared or few cores steals the
# time of whoever works next.  Read when torch loads its OpenMP, so it must be set before that.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
