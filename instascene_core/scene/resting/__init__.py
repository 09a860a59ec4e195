"""Whole scenes after completion: neighbours do not overlap, and things rest on what carries them."""

from instascene_core.scene.resting.clean_up import Moved, Resting, lay_to_rest

__all__ = ["Moved", "Resting", "lay_to_rest"]
