"""Generated colours on a completed mesh: where nobody looked, and nowhere else."""

from dataclasses import replace

import numpy as np

from instascene_core.completion.meshing import appearance, texture
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.multiview.painting import LEAST_COVERAGE, PaintedSurface
from instascene_core.completion.priors.multiview.views import render_geometry
from instascene_core.config.meshing import AppearanceConfig, MeshingConfig
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
    observation: Observation,
    config: AppearanceConfig,
) -> appearance.VertexFacts:
    """The facts with generated colours at vertices whose colour was not observed.

    Where the generated views disagree, their colour gives way to the one nearest along the surface; all give
    way a little to the mean of what was observed (least squares: a guess has less contrast); what no view
    shows (an underside) takes the nearest colour, observed or generated.
    """
    colors, confidence = painted.colors(mesh.vertices, meshes.vertex_normals(mesh))
    shown = np.isfinite(colors).all(axis=1) & ~facts.colored
    if not shown.any():
        return facts
    if painted.config.joint_fit:
        colors = fit_jointly(mesh, painted, observation, config)
    mixed = facts.colors.astype(np.float64)
    share = confidence[shown, None]
    mixed[shown] = share * colors[shown] + (1 - share) * mixed[shown]
    if facts.colored.any():
        observed = facts.colors[facts.colored].mean(axis=0)
        mixed[shown] += painted.config.mean_share * (observed - mixed[shown])
    result = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    result = appearance.spread_along_surface(mesh, result, facts.colored | shown)
    return replace(facts, colors=result)


def fit_jointly(
    mesh: TriangleMesh, painted: PaintedSurface, observation: Observation, config: AppearanceConfig
) -> np.ndarray:
    """[V, 3] colours (0 … 255) that reproduce the observed pixels and, of the generated ones, those that no
    camera knows; a generated pixel that contradicts the others counts little."""
    seen = texture.collect_samples(observation, mesh, config)
    made = generated_samples(mesh, painted, observation.pixel)
    both = [np.concatenate(column) for column in zip(_columns(seen), _columns(made))]
    return np.clip(texture.fit_samples(mesh, texture.Samples(*both), config), 0, 255)


def _columns(samples: texture.Samples) -> tuple[np.ndarray, ...]:
    return samples.triangles, samples.barycentric, samples.weight, samples.colors


def generated_samples(mesh: TriangleMesh, painted: PaintedSurface, scale: float) -> texture.Samples:
    """The generated views' pixels on the mesh that no observed view knows.

    scale: metres, a pixel's footprint that has weight 1.
    """
    local = TriangleMesh(painted.frame.from_world(mesh.vertices), mesh.triangles)
    geometry = render_geometry(local, painted.ring)
    rays = painted.ring.camera.rays
    cosine = -(geometry.normals * rays).sum(axis=-1) / np.linalg.norm(rays, axis=-1)
    covered = np.mean([views.coverage for views in painted.views], axis=0) > LEAST_COVERAGE
    used = geometry.shown & covered & ~painted.known & (cosine > painted.config.paint_cosine)
    footprint = geometry.depth[used] * painted.frame.radius / painted.ring.camera.fx
    rgb = np.mean([views.rgb for views in painted.views], axis=0)
    return texture.Samples(
        geometry.triangles[used].astype(np.int64),
        geometry.barycentric[used].astype(np.float64),
        cosine[used].astype(np.float64) ** 2 * (scale / footprint) ** 2,
        255 * rgb[used].astype(np.float64),
    )
