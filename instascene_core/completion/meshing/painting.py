"""Generated colours on a completed mesh: where nobody looked, and nowhere else."""

from dataclasses import replace

import numpy as np

from instascene_core.completion.meshing import appearance, texture
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.config.meshing import MeshingConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes


def refine_for_paint(
    mesh: TriangleMesh, painted: PaintedSurface, observation: Observation, config: MeshingConfig
) -> TriangleMesh:
    """The same surface with edges halved where the generated colours along them are not linear; no edge
    becomes shorter than a pixel of the generated views, and no colour that was observed decides."""
    seen = texture.known_colors(observation, config.appearance)

    def unseen_colors(points: np.ndarray) -> np.ndarray:
        colors, _ = painted.colors(points)
        return np.where(np.isfinite(seen(points)), np.nan, colors)

    shortest = painted.pixel
    return texture.split_where_colors_bend(
        mesh, unseen_colors, shortest, config.max_triangles, config.appearance
    )


def paint_unseen(
    mesh: TriangleMesh,
    facts: appearance.VertexFacts,
    painted: PaintedSurface,
) -> appearance.VertexFacts:
    """The facts with generated colours at vertices whose colour was not observed (of the others as well,
    those of the Gaussians, where `joint.recolor_observed` says so).

    Where the generated views disagree, their colour gives way to the one nearest along the surface; all give
    way a little to the mean of what was observed (least squares: a guess has less contrast); what no view
    shows (an underside) takes the nearest colour, observed or generated.
    """
    normals = meshes.vertex_normals(mesh)
    colors, confidence = painted.colors(mesh.vertices, normals)
    optimised = painted.optimised_colors(mesh.vertices, normals)
    shown = np.isfinite(colors).all(axis=1) & ~facts.colored
    if optimised is not None:
        colors = optimised
        if painted.config.joint.recolor_observed:
            mixed = np.where(facts.colored[:, None], _bytes(optimised), facts.colors)
            facts = replace(facts, colors=mixed)
    if not shown.any():
        return facts
    mixed = facts.colors.astype(np.float64)
    share = confidence[shown, None]
    mixed[shown] = share * colors[shown] + (1 - share) * mixed[shown]
    if facts.colored.any():
        observed = facts.colors[facts.colored].mean(axis=0)
        mixed[shown] += painted.config.mean_share * (observed - mixed[shown])
    result = appearance.spread_along_surface(mesh, _bytes(mixed), facts.colored | shown)
    return replace(facts, colors=result)


def _bytes(colors: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(colors), 0, 255).astype(np.uint8)
