"""Readers of posed-image datasets."""
