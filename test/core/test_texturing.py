"""Textures: charts, atlas, colours from the frames."""

from dataclasses import replace

import numpy as np
import pytest
from textured_box import BELOW, SIZE, frames_of, paint, painted_box

from instascene_core.config.texture import TextureConfig
from instascene_core.export.asset import in_object_frame
from instascene_core.export.lods import reduced
from instascene_core.export.texturing import textured
from instascene_core.export.texturing.atlas import pack
from instascene_core.export.texturing.charts import cut_into_charts
from instascene_core.export.texturing.exposure import exposure_gains
from instascene_core.export.texturing.texels import covered_texels
from instascene_core.export.texturing.views import _bilinear, sightings
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes


@pytest.fixture(scope="module")
def box():
    return painted_box()


@pytest.fixture(scope="module")
def made(box):
    return textured(box, frames_of(box), TextureConfig())


def surface_places(thing):
    """(triangle, barycentric, points and normals in the object's frame) of the middles of all triangles."""
    mesh = in_object_frame(thing, thing.mesh)
    middle = np.full((len(mesh.triangles), 3), 1 / 3)
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return np.arange(len(mesh.triangles)), middle, (a + b + c) / 3, normals


def test_a_box_is_six_charts_and_each_is_as_large_as_its_side(box):
    charts = cut_into_charts(in_object_frame(box, box.mesh))
    assert charts.chart.max() == 5
    a, b, c = (charts.flat[charts.triangles[:, k]] for k in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    area = 0.5 * (ux * vy - uy * vx)
    assert (area > 0).all()  # none is turned over
    x, y, z = SIZE
    expected = sorted([x * y, x * y, x * z, x * z, y * z, y * z])
    np.testing.assert_allclose(sorted(np.bincount(charts.chart, area)), expected, rtol=1e-6)


def test_a_part_that_hides_another_of_its_direction_is_another_chart():
    """Two slabs one above the other on a post: both tops face up, and the lower one is half covered."""
    import trimesh

    low = trimesh.creation.box(bounds=[[-1, -1, 0], [1, 1, 0.2]])
    post = trimesh.creation.box(bounds=[[-0.2, -0.2, 0.1], [0.2, 0.2, 1.1]])
    high = trimesh.creation.box(bounds=[[-0.8, -0.8, 1], [0.8, 0.8, 1.2]])
    body = meshes.from_trimesh(trimesh.boolean.union([low, post, high]))
    body = meshes.refine(body, 0.1, 40_000)
    charts = cut_into_charts(body)
    atlas = pack(charts, 0.01, 1024, 4)
    a, b, c = (atlas.places[atlas.triangles[:, k]] for k in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    total = 0.5 * np.abs(ux * vy - uy * vx).sum()
    assert len(covered_texels(atlas).index) == pytest.approx(total, rel=0.01)  # nothing lies on another


def test_observed_sides_have_the_colours_of_the_frames_and_the_bottom_its_own(box, made):
    triangle, middle, points, normals = surface_places(box)
    colors = made.texture.at(triangle, middle)
    below = normals[:, 2] < -0.9
    inner = (np.abs(points[:, :2]) < 0.42 * SIZE[:2]).all(axis=1) | ~below
    np.testing.assert_allclose(colors[below & inner], np.tile(BELOW, ((below & inner).sum(), 1)), atol=2)
    error = np.abs(colors[~below] - paint(points[~below]))
    assert np.median(error) < 3 and np.percentile(error, 95) < 12
    assert 0.6 < made.texture.observed < 0.9  # all but the bottom


def test_a_texel_is_no_coarser_than_the_cameras_saw(box, made):
    footprint = 0.55 / 260  # metres, of a pixel
    assert made.texture.texel <= TextureConfig().texel_footprints * footprint * 1.05
    size = len(made.texture.image)
    assert made.texture.image.shape == (size, size, 3) and size & (size - 1) == 0
    small = textured(box, frames_of(box, 4), TextureConfig(max_size=64))
    assert len(small.texture.image) == 64 and small.texture.texel > footprint


def test_between_the_charts_lies_the_colour_of_the_nearest(made):
    """So that smaller copies of the image mix no other colours in: none is black, all are near a chart's."""
    image = made.texture.image.astype(int)
    assert image.sum(axis=2).min() > 60
    quarter = image.reshape(len(image) // 4, 4, len(image) // 4, 4, 3).mean(axis=(1, 3))
    assert quarter.sum(axis=2).min() > 60


def test_frames_of_other_exposure_are_brought_together(box):
    gains = np.array([1.0, 1.25, 0.85, 1.0, 1.2, 0.8, 1.0, 1.1, 0.9, 1.0])
    frames, config = frames_of(box, gains=gains), TextureConfig()
    views = sightings(frames, 4, box.mesh, config)
    found = exposure_gains(views, box.mesh.vertices, meshes.vertex_normals(box.mesh), 0.002, config)
    relative = found.mean(axis=1) * gains
    assert np.std(relative / relative.mean()) < 0.4 * np.std(gains)
    with_gains, without = (
        np.abs(textured(box, frames, c).texture.at(*surface_places(box)[:2]) - paint(surface_places(box)[2]))
        for c in (config, replace(config, max_gain=1.0))
    )
    up = surface_places(box)[3][:, 2] > -0.5
    assert np.median(with_gains[up]) < np.median(without[up])


def test_a_thing_before_the_object_does_not_paint_it(box):
    """A frame whose pixels are another instance's gives no colour, however well it looks at the object."""
    frames = frames_of(box)
    frames[0] = frames[0].with_(rgb=np.zeros_like(frames[0].rgb), labels=np.full_like(frames[0].labels, 9))
    colors = textured(box, frames, TextureConfig()).texture.at(*surface_places(box)[:2])
    assert colors.sum(axis=1).min() > 100


def test_the_same_input_gives_the_same_bits(box, made):
    again = textured(box, frames_of(box), TextureConfig())
    np.testing.assert_array_equal(again.texture.image, made.texture.image)
    np.testing.assert_array_equal(again.texture.uv, made.texture.uv)


def test_without_a_frame_that_shows_it_the_object_stays_as_it_is(box):
    assert textured(box, [], TextureConfig()) is box
    assert textured(box, frames_of(replace(box, instance_id=7)), TextureConfig()) is box
    assert textured(box, frames_of(box), TextureConfig(enabled=False)) is box


def test_fewer_triangles_show_the_same_colours(box, made):
    small = reduced(made, 500, 4)
    assert len(small.mesh.triangles) <= 520 and meshes.is_watertight(small.mesh)
    triangle, middle, points, normals = surface_places(small)
    side = normals[:, 2] > -0.5
    error = np.abs(small.texture.at(triangle, middle)[side] - paint(points[side]))
    assert np.median(error) < 8
    assert reduced(made, 100_000, 4) is None


def test_an_object_of_degenerate_triangles_is_textured_all_the_same(box):
    triangles = np.concatenate([box.mesh.triangles, box.mesh.triangles[:3, [0, 1, 1]]])
    odd = replace(box, mesh=TriangleMesh(box.mesh.vertices, triangles))
    assert np.isfinite(textured(odd, frames_of(box, 4), TextureConfig()).texture.uv).all()


def test_many_charts_get_an_image_in_which_they_fit():
    """With room for the space between them alone they would shrink to nothing."""
    import trimesh

    from instascene_core.export.texturing.atlas import pack
    from instascene_core.export.texturing.charts import cut_into_charts
    from instascene_core.geometry import mesh as meshes

    pieces = [trimesh.creation.box((0.002,) * 3) for _ in range(120)]
    for k, piece in enumerate(pieces):
        piece.apply_translation([0.01 * (k % 11), 0.01 * (k // 11), 0])
    atlas = pack(cut_into_charts(meshes.from_trimesh(trimesh.util.concatenate(pieces))), 1e-3, 64, 4)
    assert np.isfinite(atlas.places).all() and atlas.size > 64 and atlas.texel < 0.01
    assert atlas.places.min() >= 0 and atlas.places.max() <= atlas.size


def test_colours_between_pixels_are_mixed_by_hand():
    """Pixel centres lie at .5; the image's last column and row are reached from the pixels before them."""
    image = np.arange(24, dtype=np.float32).reshape(2, 4, 3)  # a channel grows by 3 a column and 12 a row
    places = np.array([[0.5, 0.5], [1.5, 0.5], [1.0, 0.5], [0.5, 1.5], [3.5, 1.5], [2.25, 1.25]])
    steps = np.array([0, 3, 1.5, 12, 21, 3 * 1.75 + 12 * 0.75])
    np.testing.assert_allclose(_bilinear(image, places), steps[:, None] + np.arange(3), rtol=1e-6)
    assert _bilinear(image, places).dtype == np.float32
