"""Posed frames → 2D Gaussians."""

from instascene_core.reconstruction.evaluation import Evaluation, evaluate
from instascene_core.reconstruction.online import OnlineReconstruction
from instascene_core.reconstruction.trainer import ReconstructionResult, reconstruct

__all__ = ["Evaluation", "OnlineReconstruction", "ReconstructionResult", "evaluate", "reconstruct"]
