"""Masks cut in the fused surface of all frames."""
