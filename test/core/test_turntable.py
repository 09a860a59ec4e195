"""Pictures of objects from all around."""

from dataclasses import replace

import numpy as np
import pytest
from textured_box import frames_of, painted_box

from instascene_core.colors import GENERATED_COLOR, OBSERVED_COLOR, UNCERTAIN, uncertainty_colors
from instascene_core.config.texture import TextureConfig
from instascene_core.export.texturing import textured
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import convex_hull
from instascene_core.transforms import apply, inverse
from instascene_core.viewer.report.drawing import all_objects_pictures, objects_pictures
from instascene_core.viewer.report.images import Pictures
from instascene_core.viewer.snapshot import orbit_cameras, render_objects, render_styles
from instascene_core.viewer.turntable import VIEWS, clay, shape_of, turntable


def seen(thing, styles, size=(64, 48), **options):
    pose = thing.world_from_object
    return turntable([shape_of(thing)], styles, pose[:3, 2], pose[:3, 0], size, **options)


@pytest.fixture(scope="module")
def box():
    """Its lower half generated."""
    thing = painted_box(800)
    height = apply(inverse(thing.world_from_object), thing.mesh.vertices)[:, 2] / thing.dimensions[2]
    return replace(thing, observed=(height > 0.5).astype(np.float32))


def mean_color(picture: np.ndarray) -> np.ndarray:
    return picture[..., :3][picture[..., 3] == 255].astype(float).mean(axis=0)


def test_every_side_is_whole_in_its_picture(box):
    sheet = seen(box, ("color",))["color"]
    assert sheet.shape == (2 * 48, VIEWS * 64, 4)
    for row in range(2):
        for column in range(VIEWS):
            picture = sheet[48 * row : 48 * (row + 1), 64 * column : 64 * (column + 1)]
            alpha = picture[..., 3]
            border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
            assert not border.any() and (alpha == 255).sum() > 250
            assert ((alpha > 0) & (alpha < 255)).sum() > 20  # its outline is smooth
    opposite = sheet[:48, :64, 3].astype(int) - sheet[:48, 4 * 64 : 5 * 64, 3]
    assert np.abs(opposite).mean() < 8  # a box looks the same from the other side


def test_two_styles_at_once_are_the_two_pictures(box):
    camera, pose = orbit_cameras([box], np.array([0.0, 0.0, 1.0]), size=60)[0]
    backdrop = np.full((60, 60, 3), 7, dtype=np.uint8)
    both = render_styles([box], camera, pose, ("color", "observed"), backdrop)
    for picture, style in zip(both, ("color", "observed"), strict=True):
        np.testing.assert_array_equal(picture, render_objects([box], camera, pose, style, backdrop))
    assert (both[0] != both[1]).any() and (backdrop == 7).all()


def test_below_shows_what_was_generated(box):
    sheet = seen(box, ("observed", "uncertainty"))["observed"]
    above, below = mean_color(sheet[:48]), mean_color(sheet[48:])

    def is_like(color, other):
        return color[2] - color[0] > 0 if other is OBSERVED_COLOR else color[0] - color[2] > 0

    assert is_like(above, OBSERVED_COLOR) and is_like(below, GENERATED_COLOR)


def test_a_texture_is_shown_where_there_is_one(box):
    painted = textured(box, frames_of(painted_box(800)), TextureConfig(max_size=256))
    plain, shown = seen(box, ("color",))["color"], seen(painted, ("color",))["color"]
    np.testing.assert_array_equal(plain[..., 3], shown[..., 3])
    spread = [np.std(s[:48][s[:48, :, 3] == 255], axis=0)[:3].mean() for s in (plain, shown)]
    assert spread[1] > 1.5 * spread[0]  # the vertices all have one colour


def test_nothing_to_show_is_a_clear_sheet():
    empty = TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
    sheet = turntable([clay(empty)], ("clay",), np.array([0, 0, 1.0]), np.array([1.0, 0, 0]), (8, 8), views=3)
    assert sheet["clay"].shape == (16, 24, 4) and not sheet["clay"].any()


def test_a_front_along_the_axis_is_no_trouble(box):
    up = np.array([0.0, 0.0, 1.0])
    sheet = turntable([shape_of(box)], ("instance",), up, up, (24, 24), heights=(90.0,), views=2)["instance"]
    assert (sheet[..., 3] == 255).sum() > 100


def test_uncertainty_goes_from_pale_to_dark_and_unknown_is_the_most():
    colors = uncertainty_colors(np.array([0.0, UNCERTAIN / 2, UNCERTAIN, 1.0, np.nan]))
    brightness = colors.sum(axis=1)
    assert brightness[0] > brightness[1] > brightness[2] == brightness[3] == brightness[4]


def test_the_pictures_of_a_report_shrink_with_the_number_of_objects(box, tmp_path):
    drawn = objects_pictures([replace(box, hypotheses=(box.mesh, box.mesh))])
    pictures = Pictures(tmp_path, drawn)
    assert pictures.size("object_4_color.webp") == (8 * 224, 2 * 224)
    assert pictures.size("object_4_hypotheses.webp") == (2 * 224, 224)
    assert pictures.url("object_4_observed.webp").startswith("data:image/webp;base64,")
    small = Pictures(tmp_path, objects_pictures([box], among=40))
    assert small.size("object_4_color.webp") == (8 * 128, 2 * 128) and small.size(
        "object_4_hypotheses.webp"
    ) == (0, 0)
    assert small.url("object_9_color.webp") == "" and all_objects_pictures([]) == {}
    total = sum(map(len, objects_pictures([box], among=41).values()))
    assert 4 / 3 * 45 * total < 4e6  # a page of 45 objects has some megabytes


def test_a_shape_that_no_ray_meets_leaves_its_picture_empty():
    """A sliver of a thousandth of a pixel, upright between the middle columns."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [1e-6, 1e-6, 1.0]
    sliver = convex_hull(corners)
    up, front = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
    sheet = turntable([clay(sliver)], ("clay",), up, front, (8, 8), heights=(0.0,), views=3)["clay"]
    assert sheet.shape == (8, 24, 4) and not sheet[..., 3].any()
