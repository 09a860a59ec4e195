"""InstaScene: complete, watertight object meshes from posed images of a cluttered scene.

The layers, bottom to top.  A module imports only from layers below its own, never from another package of
the same layer, and no two files import each other in a circle (`test/core/test_architecture.py` holds this):

    errors progress                                                 layer 0
    transforms camera config images                                 layer 1: plain values
    files config_file                                               layer 2
    weights geometry                                                layer 3
    frame gaussians objects                                         layer 4: what one step hands to the next
    instances gaussians_ply                                         layer 5
    datasets rendering                                              layer 6
    metrics                                                         layer 7
    synthetic                                                       layer 8
    reconstruction segmentation association features completion     layer 9: the steps of the paper
    scene training                                                  layer 10: the paper in order
    viewer                                                          layer 11
    export                                                          layer 12
    browser doctor                                                  layer 13
    cli                                                             layer 14
"""

import os

# OpenMP's threads otherwise spin after each parallel section, which on shared or few cores steals the
# time of whoever works next.  Read when torch loads its OpenMP, so it must be set before that.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
