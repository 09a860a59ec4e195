"""Training of the learned completion prior on procedural shapes and simulated observations."""
