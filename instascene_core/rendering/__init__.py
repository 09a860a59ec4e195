"""Rasterising and tracing 2D Gaussians."""
