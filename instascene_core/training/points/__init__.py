"""Training of the network on points: `python -m instascene_core.training.points`."""
