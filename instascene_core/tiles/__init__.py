"""Rooms and floors: a recording too large for one scene is made tile by tile, and joined to one saved scene.

    frames on disk → survey → tiling → a scene a tile, one after another → seams → one saved scene

Only the frames of one tile are in memory at a time, and of every other tile only the files that it left.
"""

from instascene_core.tiles.deciding import tiling_of
from instascene_core.tiles.layout import Tile, Tiling
from instascene_core.tiles.work import Job, TilesResult, run_tiles

__all__ = ["Job", "Tile", "TilesResult", "Tiling", "run_tiles", "tiling_of"]
