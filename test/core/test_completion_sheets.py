"""Walls thinner than the voxels, and the choice between an explanation and none."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completion_scene import mug, orbit, render, table_mesh

from instascene_core.completion import complete, observe
from instascene_core.completion.completer import complete_observation, make_prior
from instascene_core.completion.explanations.explanation import Unexplained
from instascene_core.completion.meshing import sheets
from instascene_core.config import CompletionConfig
from instascene_core.config.completion import ConvexPartsConfig, ObservingConfig
from instascene_core.config.meshing import SheetsConfig
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.geometry import mesh as meshes

TABLE_PLANE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
THING = 2
PLAIN = CompletionConfig(
    prior="carving",
    candidates=False,
    observing=ObservingConfig(max_voxels=60_000),
    convex_parts=ConvexPartsConfig(max_parts=1),
)


def panel(thickness: float) -> trimesh.Trimesh:
    """An upright panel across x, standing on z = 0."""
    box = trimesh.creation.box((thickness, 0.1, 0.08))
    box.apply_translation((0, 0, 0.04))
    return box


def middle_thickness(mesh: TriangleMesh) -> np.ndarray:
    """[N] metres through the middle of the panel along x; NaN where it has a hole."""
    y, z = np.meshgrid(np.linspace(-0.03, 0.03, 13), np.linspace(0.02, 0.06, 9))
    start = np.stack([np.full(y.size, -0.05), y.ravel(), z.ravel()], axis=1)
    along = np.broadcast_to([1.0, 0.0, 0.0], start.shape)
    front = meshes.first_hit(mesh, start, along)
    back = meshes.first_hit(mesh, start * [-1, 1, 1], -along)
    return np.where(np.isfinite(front + back), 0.1 - front - back, np.nan)


@pytest.fixture(scope="module")
def around_a_panel():
    return render([table_mesh(), panel(0.003)], orbit(24, (20, 40)), noise=0.0007)


def test_what_lies_behind_a_thin_wall_is_no_noise(around_a_panel):
    """Readings 0.34 mm apart (0.0007·0.7² m) on a panel of 3 mm: its back is no bad reading of its front, and
    views do not see 5 mm into it."""
    observation = observe(around_a_panel, THING, TABLE_PLANE, None, PLAIN)
    assert observation.noise == pytest.approx(0.00034, rel=0.3)
    found = complete(around_a_panel, THING, TABLE_PLANE, PLAIN)
    off = np.abs(middle_thickness(found.mesh) - 0.003)
    assert np.isfinite(off).all() and np.median(off) < 2e-4
    assert found.watertight and meshes.triangle_components(found.mesh)[0] == 1


@pytest.mark.parametrize("thickness", [0.002, 0.005])
def test_the_sides_of_a_wall_are_moved_to_where_they_were_seen(around_a_panel, thickness):
    """A panel 3 mm thick, as a mesh of 2 and of 5 mm."""
    observation = observe(around_a_panel, THING, TABLE_PLANE, None, PLAIN)
    mesh = meshes.from_trimesh(panel(thickness).subdivide().subdivide().subdivide().subdivide())
    off = middle_thickness(sheets.settle(observation, mesh, SheetsConfig())) - 0.003
    assert np.median(np.abs(off)) < 2e-4


def test_views_noisier_than_the_voxels_move_nothing(around_a_panel):
    observation = observe(around_a_panel, THING, TABLE_PLANE, None, PLAIN)
    noisy = replace(observation, noise=1.01 * observation.grid.voxel)
    mesh = meshes.from_trimesh(panel(0.004))
    assert sheets.settle(noisy, mesh, SheetsConfig()) is mesh
    assert sheets.settle(observation, mesh, SheetsConfig()) is not mesh


def test_the_sides_of_a_wall_do_not_change_places(around_a_panel):
    """However thin the mesh is, no vertex passes to the other side."""
    observation = observe(around_a_panel, THING, TABLE_PLANE, None, PLAIN)
    thin = meshes.from_trimesh(panel(0.0005).subdivide().subdivide())
    settled = sheets.settle(replace(observation, noise=0.002), thin, SheetsConfig())
    moved = np.sign(settled.vertices[:, 0]) * np.sign(thin.vertices[:, 0])
    assert (moved >= 0).all() and meshes.volume(settled) > 0


# ── an explanation that loses what was seen ───────────────────────────────────────────────────────


class Cutting:
    """Takes everything above a height away."""

    suffix, notes = ", cut", ()

    def __init__(self, height: float) -> None:
        self.height, self.none = height, Unexplained()

    def __getattr__(self, name):
        return getattr(self.none, name)

    def confine(self, field, known):
        above = known.grid.centers()[..., 2] - self.height
        return np.maximum(field, above).astype(np.float32)


@pytest.mark.parametrize(("height", "kept"), [(0.089, True), (0.06, False)])
def test_an_explanation_that_loses_seen_surface_is_dropped(monkeypatch, height, kept):
    """A mug 90 mm high, cut where noise would hide it and where a third of what was seen is gone."""
    from instascene_core.completion import completer

    frames = render([table_mesh(), mug()], orbit(16, (25, 50)), noise=0.002)
    observation = observe(frames, THING, TABLE_PLANE, None, PLAIN)
    monkeypatch.setattr(completer, "explain", lambda *_: Cutting(height))
    found = complete_observation(observation, make_prior("carving", PLAIN), PLAIN, 1, 0)
    assert (", cut" in found.prior) == kept
    top = found.mesh.vertices[:, 2].max()
    assert top == pytest.approx(height if kept else 0.09, abs=0.002)
