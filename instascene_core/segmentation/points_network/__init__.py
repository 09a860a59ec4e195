"""Instances of a whole scene at once, straight from its points: a sparse U-Net and queries.

After "Insightful Instance Features for 3D Instance Segmentation" (IKNE, CVPR 2025) as far as its public
description tells: superpoints, queries with reference points or dynamic kernels, and a loss that decorrelates
the queries.  Own code throughout.
"""
