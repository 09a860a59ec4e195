"""Training of the part network on procedural things: `python -m instascene_core.training.parts`."""
