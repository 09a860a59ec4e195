"""Guesses of what was not seen: the protocol, carving, the learned prior."""
