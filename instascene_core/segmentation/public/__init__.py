"""Adapters for public segmentation models whose weights the user brings."""
