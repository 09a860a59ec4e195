"""Markers of hand-made scenes: every kind, and that only what changed is sent."""

import numpy as np
from std_msgs.msg import Header
from test_scene_messages import HEADER, completed, instance_map
from visualization_msgs.msg import Marker

from instascene_core.camera import PinholeCamera
from instascene_core.colors import GENERATED_COLOR, OBSERVED_COLOR
from instascene_core.transforms import look_at
from instascene_core.viewer.snapshot import render_objects
from instascene_ros.marker_messages import SELECTED_POINTS, MarkerBook


def names(array, action) -> set:
    return {(m.ns, m.id) for m in array.markers if m.action == action}


def test_only_what_changed_is_sent_and_what_is_gone_deleted():
    book, result = MarkerBook(), completed(2)
    first = book.update(instance_map(1, 2), {}, HEADER)
    assert names(first, Marker.ADD) == {("box", 1), ("label", 1), ("box", 2), ("label", 2)}
    second = book.update(instance_map(1, 2), {2: result}, HEADER)
    assert names(second, Marker.ADD) == {("mesh", 2), ("surface", 2)} and len(second.markers) == 2
    assert book.update(instance_map(1, 2), {2: result}, HEADER).markers == []
    assert book.everything == [*first.markers, *second.markers]
    again = book.update(instance_map(1, 2), {2: completed(2)}, HEADER)  # completed anew
    assert names(again, Marker.ADD) == {("mesh", 2), ("surface", 2)}
    fourth = book.update(instance_map(1), {}, HEADER)
    assert names(fourth, Marker.ADD) == set()
    assert names(fourth, Marker.DELETE) == {("box", 2), ("label", 2), ("mesh", 2), ("surface", 2)}
    assert names(book.update(None, {}, HEADER), Marker.DELETE) == {("box", 1), ("label", 1)}
    assert book.update(None, {}, HEADER).markers == [] == book.everything


def test_what_moved_or_came_into_another_frame_is_sent_again():
    book = MarkerBook()
    book.update(instance_map(1, 2), {}, HEADER)
    larger = instance_map(1, 2)
    larger.instances[0].box_max[2] += 0.1
    assert names(book.update(larger, {}, HEADER), Marker.ADD) == {("box", 1), ("label", 1)}
    elsewhere = book.update(larger, {}, Header(frame_id="map_local"))
    assert names(elsewhere, Marker.ADD) == {(ns, i) for ns in ("box", "label") for i in (1, 2)}
    assert {m.header.frame_id for m in elsewhere.markers} == {"map_local"}


def test_mesh_markers_colour_observed_and_generated_surface():
    array = MarkerBook().update(instance_map(1), {1: completed(1)}, HEADER)
    surface = next(m for m in array.markers if m.ns == "surface")
    assert surface.type == Marker.TRIANGLE_LIST and surface.header.frame_id == "map"
    assert len(surface.points) == 3 * len(completed(1).mesh.triangles) == len(surface.colors)
    for p, c in zip(surface.points, surface.colors):
        expected = OBSERVED_COLOR if p.z > 0 else GENERATED_COLOR
        np.testing.assert_allclose([c.r, c.g, c.b], expected / 255, atol=1e-6)


def test_markers_and_pictures_colour_the_same_surface_alike():
    """The report's picture of an object differs from its marker only by the shading."""
    camera = PinholeCamera(101, 101, 150.0, 150.0, 50.5, 50.5)
    result, up = completed(1), np.array([0.0, 0.0, 1.0])
    picture = render_objects(
        [result], camera, look_at(np.array([0.3, 0.0, 0.0]), np.zeros(3), up), style="observed"
    )
    markers = MarkerBook().update(instance_map(1), {1: result}, HEADER).markers
    surface = next(m for m in markers if m.ns == "surface")
    for pixel, sign in ((picture[35, 50], 1), (picture[65, 50], -1)):  # above and below the equator
        c = next(c for p, c in zip(surface.points, surface.colors) if sign * p.z > 0.01)
        in_marker = np.array([c.r, c.g, c.b])
        shade = pixel.max() / in_marker.max()
        assert 100 < shade <= 255
        np.testing.assert_allclose(pixel, shade * in_marker, atol=2)


def test_box_marker_has_the_twelve_edges():
    box = next(m for m in MarkerBook().update(instance_map(1), {}, HEADER).markers if m.ns == "box")
    ends = np.array([[p.x, p.y, p.z] for p in box.points]).reshape(12, 2, 3)
    edges = ends[:, 1] - ends[:, 0]
    assert ((np.abs(edges) > 1e-9).sum(axis=1) == 1).all()
    np.testing.assert_allclose(np.sort(edges.sum(axis=1)), np.repeat([0.1, 0.2, 0.3], 4), atol=1e-12)
    assert len({tuple(np.round(e.mean(axis=0), 6)) for e in ends}) == 12


def test_the_selected_instance_is_highlighted_in_a_namespace_of_its_own():
    book, points = MarkerBook(), np.random.default_rng(0).uniform(0, 0.1, (5000, 3))
    shown = book.update(instance_map(1), {}, HEADER, points).markers
    (highlight,) = [m for m in shown if m.ns == "selected"]
    assert highlight.type == Marker.POINTS and highlight.action == Marker.ADD and highlight.header == HEADER
    assert 1000 < len(highlight.points) <= SELECTED_POINTS
    first = highlight.points[0]
    np.testing.assert_allclose([first.x, first.y, first.z], points[0])
    assert 0.0009 < highlight.scale.x < 0.005 and highlight.color.a == 1.0
    # Another takes its place; then none is selected any more.
    (other,) = [m for m in book.update(instance_map(1), {}, HEADER, points[:3]).markers if m.ns == "selected"]
    assert (other.id, len(other.points)) == (highlight.id, 3)
    (gone,) = [m for m in book.update(instance_map(1), {}, HEADER).markers if m.ns == "selected"]
    assert gone.action == Marker.DELETE and gone.id == highlight.id
    assert not [m for m in book.update(instance_map(1), {}, HEADER).markers if m.ns == "selected"]
