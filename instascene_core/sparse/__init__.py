"""Sparse convolutions on voxels: what the networks on points share.

Gather, multiply, scatter in plain torch (Graham et al. 2018, "3D semantic segmentation with submanifold
sparse convolutional networks"), on the CPU and on CUDA alike.
"""

from instascene_core.sparse.convolution import CoarserConv, FinerConv, SubmanifoldConv, convolve
from instascene_core.sparse.pairs import Pairs, Pyramid
from instascene_core.sparse.unet import SparseDecoder, SparseEncoder, SparseUNet
from instascene_core.sparse.voxels import VoxelizedPoints, Voxels, voxelize

__all__ = [
    "CoarserConv",
    "FinerConv",
    "Pairs",
    "Pyramid",
    "SparseDecoder",
    "SparseEncoder",
    "SparseUNet",
    "SubmanifoldConv",
    "VoxelizedPoints",
    "Voxels",
    "convolve",
    "voxelize",
]
