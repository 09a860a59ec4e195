"""Parts of things at three levels, coarse to fine (Sun, Tong, Liu: Semantic segmentation-assisted instance
feature fusion for multi-level 3D part instance segmentation, CVM 2022)."""
