"""Explanations of what was seen: plain bodies, bodies of revolution, or none."""
