"""Training of the multi-view diffusion model on procedural textured objects."""
