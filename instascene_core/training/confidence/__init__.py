"""Training of the confidence on whole jobs: `python -m instascene_core.training.confidence`."""
