"""Measures (filled next)."""
