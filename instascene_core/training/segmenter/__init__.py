"""Training of the segmenter on procedural clutter: `python -m instascene_core.training.segmenter`."""
