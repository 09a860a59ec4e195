"""Textures of completed objects: charts, an atlas of them, and its colours from the observed frames."""

from instascene_core.export.texturing.baking import textured

__all__ = ["textured"]
