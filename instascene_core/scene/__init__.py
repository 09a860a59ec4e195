"""The paper in order: its steps as functions, their results, and the owner of a scene."""

from instascene_core.scene.nothing import nothing_delivered, nothing_found
from instascene_core.scene.results import Decomposition, IdHistory, Reconstruction, SceneState
from instascene_core.scene.scene import STAGES, Scene
from instascene_core.scene.stages import complete, decompose, reconstruct

__all__ = [
    "STAGES",
    "Decomposition",
    "IdHistory",
    "Reconstruction",
    "Scene",
    "SceneState",
    "complete",
    "decompose",
    "nothing_delivered",
    "nothing_found",
    "reconstruct",
]
