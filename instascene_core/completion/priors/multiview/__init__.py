"""In-situ generation: a small multi-view RGB-D diffusion model paints what no camera saw."""
