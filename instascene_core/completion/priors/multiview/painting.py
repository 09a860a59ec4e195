"""Colours of a surface from generated views of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.completion.priors.multiview.disks import colors_at
from instascene_core.completion.priors.multiview.inputs import GeneratedViews
from instascene_core.completion.priors.multiview.ring import ObjectFrame, Ring
from instascene_core.completion.priors.multiview.views import ViewGeometry, look_up
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.gaussians import GaussianModel
from instascene_core.transforms import apply, inverse

LEAST_COVERAGE = 0.3  # of a generated pixel by the object, from which its colour is the object's


@dataclass(frozen=True)
class PaintedSurface:
    """Generated views of a body, ready to colour places on it."""

    ring: Ring
    frame: ObjectFrame
    geometry: ViewGeometry  # what the views show
    views: Sequence[GeneratedViews]  # at least one; of their colours the mean counts
    known: np.ndarray  # [N, H, W] bool: pixels that an observed view knows
    config: MultiviewConfig
    gaussians: GaussianModel | None = None  # in the frame: of the joint optimisation, where there was one

    @property
    def pixel(self) -> float:
        """Metres that a pixel of the views covers at the object's centre."""
        distance = float(np.linalg.norm(self.ring.frame_from_camera[0, :3, 3]))
        return distance * self.frame.radius / self.ring.camera.fx

    def colors(self, points: np.ndarray, normals: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Colours [N, 3] (0 … 255, NaN where no view shows the place) at world points [N, 3] on the body, and
        confidence [N] in [0, 1]: how far the views that show a place agree on its colour.

        normals: [N, 3] unit, world; without them grazing views count as much as others.
        """
        local = self.frame.from_world(points)
        total, squares = np.zeros((len(points), 3)), np.zeros((len(points), 3))
        weight = np.zeros(len(points))
        rgb = np.mean([views.rgb for views in self.views], axis=0)
        coverage = np.mean([views.coverage for views in self.views], axis=0)
        for k, pose in enumerate(self.ring.frame_from_camera):
            pixels, z = self.ring.camera.project(apply(inverse(pose), local))
            depth = np.where(coverage[k] > LEAST_COVERAGE, self.geometry.depth[k], 0)
            color, sure = look_up(rgb[k], depth, pixels, z, self.config.same_place)
            if normals is not None:
                toward = pose[:3, 3] - local
                turned = normals @ self.frame.world_from_frame[:3, :3]
                cosine = np.einsum("nc,nc->n", toward, turned) / np.linalg.norm(toward, axis=1)
                sure = sure * np.where(cosine > self.config.paint_cosine, cosine, 0) ** 2
            total += sure[:, None] * color
            squares += sure[:, None] * color**2
            weight += sure
        known = weight > 1e-4
        mean = total / np.maximum(weight, 1e-9)[:, None]
        spread = np.sqrt(np.maximum(squares / np.maximum(weight, 1e-9)[:, None] - mean**2, 0).mean(axis=1))
        confidence = np.where(known, 1 / (1 + (spread / self.config.agreement) ** 2), 0)
        return np.where(known[:, None], 255 * np.clip(mean, 0, 1), np.nan), confidence.astype(np.float32)

    def optimised_colors(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray | None:
        """Colours [N, 3] (0 … 255) of the Gaussians at world points [N, 3] with normals [N, 3]; None where
        there are no Gaussians."""
        if self.gaussians is None:
            return None
        turned = normals @ self.frame.world_from_frame[:3, :3]
        local = self.frame.from_world(points)
        return 255 * colors_at(self.gaussians, local, turned, self.config.joint.neighbours)
