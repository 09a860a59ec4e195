"""What a scene tells."""

from collections.abc import Mapping

import numpy as np
import torch

from instascene_core import features
from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.gaussians import GaussianModel
from instascene_core.instances import InstanceId, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.rendering import RenderResult, rasterize
from instascene_core.scene.results import SceneState


class SceneReading:
    """The results in `state`, by name; nothing here changes them."""

    config: Config
    state: SceneState

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames held, as they came; poses in the scene's frame."""
        return self.state.frames

    @property
    def world_offset(self) -> np.ndarray:
        """[3] float64 metres, world = the scene's frame + this; 0 but for worlds far from the origin."""
        return self.state.world_offset

    @property
    def posed_frames(self) -> tuple[Frame, ...]:
        """The frames reconstructed, with refined poses where refinement is on."""
        return self.state.posed_frames

    @property
    def gaussians(self) -> GaussianModel | None:
        """The Gaussians; with instance features once there is a decomposition."""
        return self.state.gaussians

    @property
    def instances(self) -> InstanceMap | None:
        """The instances of the latest decomposition."""
        return self.state.instances

    @property
    def objects(self) -> Mapping[InstanceId, CompletedObject]:
        """The completed objects by instance id."""
        return self.state.objects

    @property
    def metrics(self) -> Mapping:
        """What was measured on the way: seconds of each stage, psnr, counts."""
        return self.state.metrics

    @property
    def is_reconstructed(self) -> bool:
        """Whether the Gaussians explain every frame taken so far."""
        return self.state.is_reconstructed

    @property
    def background_color(self) -> np.ndarray | None:
        """[3] colour behind the Gaussians, where one was learned."""
        background = self._background
        return None if background is None else background.detach().cpu().numpy()

    def render(self, frame: Frame) -> RenderResult:
        """The Gaussians as `frame`'s camera sees them; its pose is in the scene's frame, as of `frames`."""
        return rasterize(
            self.require_gaussians(), frame.camera, frame.world_from_camera, background=self._background
        )

    def surface(self) -> features.Surface:
        """The Gaussians as a graph over the surface, made once for a decomposition."""
        return self.state.require_decomposition().surface

    def require_gaussians(self) -> GaussianModel:
        """The Gaussians, or NotReadyError."""
        gaussians = self.state.gaussians
        return self.state.require_reconstruction().gaussians if gaussians is None else gaussians

    def require_instances(self) -> InstanceMap:
        """The latest decomposition's instances, or NotReadyError."""
        return self.state.require_decomposition().instances

    @property
    def _background(self) -> torch.Tensor | None:
        known = self.state.reconstruction
        return None if known is None else known.background

    @property
    def _poses_moved(self) -> bool:
        """Whether the scene has other poses than came with the frames."""
        corrected = self.state.require_reconstruction().metrics.get("poses", {}).get("corrected", False)
        return self.config.reconstruction.refine_poses or corrected
