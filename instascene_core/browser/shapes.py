"""Objects in their shadings, as files that a browser draws."""

from dataclasses import replace

import numpy as np

from instascene_core.colors import UNCERTAIN, instance_color, observed_colors, part_color, uncertainty_colors
from instascene_core.config import ExportConfig
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.glb import glb
from instascene_core.export.shapes import placed
from instascene_core.objects import CompletedObject
from instascene_core.parts.segment import PartLabels

# Shading → what it is called in the panel
SHADINGS = {
    "texture": "Texture",
    "observed": "Seen (blue) or generated (orange)",
    "uncertainty": f"Uncertainty (0 to {1000 * UNCERTAIN:g} mm)",
    "instance": "One colour an object",
    "parts": "Parts, where `instascene parts` named them",
}
UNNAMED = 160  # gray, of 0 … 255
# A glTF file is y up; this turns it z up again (about x by 90°), wxyz.
Z_UP = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])


def shaded(thing: CompletedObject, shading: str, parts: PartLabels | None = None) -> bytes:
    """The object as GLB in its own frame, y up.  parts: of its vertices, where they are known."""
    if shading != "texture":
        thing = replace(thing, colors=colors_of(thing, shading, parts).astype(np.uint8), texture=None)
    asset = ObjectAsset(thing, ExportConfig())
    return glb([placed(asset)], asset.name)


def colors_of(thing: CompletedObject, shading: str, parts: PartLabels | None = None) -> np.ndarray:
    """[V, 3] in 0 … 255; parts that nobody has named are gray."""
    if shading == "observed":
        return observed_colors(thing.observed)
    if shading == "uncertainty":
        return uncertainty_colors(thing.vertex_uncertainty)
    if shading == "parts":
        if parts is None:
            return np.full(thing.colors.shape, UNNAMED)
        finest = parts.levels[-1]
        return np.stack([part_color(p) for p in range(len(finest.names))])[finest.part]
    return np.broadcast_to(instance_color(thing.instance_id), thing.colors.shape)
