"""The core's results as messages: hand-made scenes, every field checked."""

import numpy as np
import pytest
import torch
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from instascene_core.camera import PinholeCamera
from instascene_core.colors import GENERATED_COLOR, OBSERVED_COLOR, instance_color
from instascene_core.gaussians import SH_C0, GaussianModel
from instascene_core.geometry import Plane
from instascene_core.geometry.mesh import from_trimesh, is_watertight
from instascene_core.instances import Instance, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_core.transforms import look_at
from instascene_core.viewer.snapshot import render_objects
from instascene_ros import scene_messages
from instascene_ros.scene_messages import CLOUD_TYPE, MarkerBook

HEADER = Header(frame_id="map")


def instance(instance_id: int, kind: str = "object") -> Instance:
    low = np.array([instance_id, 0.0, 0.0])
    feature = np.zeros(16, np.float32)
    feature[0] = 1.0
    return Instance(instance_id, kind, 0.75, low, low + np.array([0.1, 0.2, 0.3]), feature, 120, 7)


def instance_map(*ids: int) -> InstanceMap:
    entries = (*(instance(i) for i in ids), instance(90, "support"), instance(91, "background"))
    support = Plane(np.array([0.0, 0.0, 1.0]), 0.4)
    return InstanceMap(entries, np.zeros(0, np.int32), {}, support)


def completed(instance_id: int, subdivisions: int = 2) -> CompletedObject:
    import trimesh

    mesh = from_trimesh(trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.05))
    count = len(mesh.vertices)
    pose = np.eye(4)
    pose[:3, 3] = [0.0, 0.0, -0.05]
    return CompletedObject(
        instance_id=instance_id,
        mesh=mesh,
        colors=np.tile(np.array([[255, 0, 51]], np.uint8), (count, 1)),
        observed=(mesh.vertices[:, 2] > 0).astype(np.float32),
        vertex_uncertainty=np.zeros(count, np.float32),
        world_from_object=pose,
        dimensions=np.array([0.1, 0.1, 0.1]),
        watertight=True,
        volume=5.2e-4,
        observed_fraction=0.5,
        uncertainty=0.002,
        confidence=0.9,
        prior="carving (Apache-2.0)",
        duration_s=1.5,
        convex_parts=(mesh,),
        notes=("A note.",),
    )


def vertices_of(message) -> np.ndarray:
    return np.array([[p.x, p.y, p.z] for p in message.vertices])


def test_mesh_keeps_order_and_coordinates():
    mesh = completed(1).mesh
    message = scene_messages.mesh_message(mesh)
    np.testing.assert_array_equal(vertices_of(message), mesh.vertices)
    np.testing.assert_array_equal([t.vertex_indices for t in message.triangles], mesh.triangles)


def test_completed_object_fields():
    result = completed(3)
    message = scene_messages.completed_object_message(result, HEADER, ["/data/mesh.ply"])
    assert message.header.frame_id == "map" and message.instance_id == 3
    assert (message.pose.position.z, message.pose.orientation.w) == (-0.05, 1.0)
    assert (message.dimensions.x, message.dimensions.z) == (0.1, 0.1)
    assert len(message.vertex_colors) == len(result.mesh.vertices)
    shade = message.vertex_colors[0]
    np.testing.assert_allclose([shade.r, shade.g, shade.b, shade.a], [1.0, 0.0, 0.2, 1.0], atol=1e-6)
    np.testing.assert_array_equal(message.vertex_observed, result.observed)
    assert len(message.convex_parts) == 1 and message.watertight
    assert message.volume == pytest.approx(5.2e-4) and message.uncertainty == pytest.approx(0.002)
    assert message.files == ["/data/mesh.ply"] and message.prior == "carving (Apache-2.0)"
    assert message.notes == ["A note."] and message.duration_s == pytest.approx(1.5)


def test_large_meshes_are_decimated_and_stay_closed():
    result = completed(1, subdivisions=6)
    assert len(result.mesh.triangles) > scene_messages.MAX_TRIANGLES
    mesh, colors, observed = scene_messages.for_message(result, 5000)
    assert 1000 < len(mesh.triangles) <= 5000 and is_watertight(mesh)
    assert len(colors) == len(observed) == len(mesh.vertices)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.05, atol=5e-4)
    clear = np.abs(mesh.vertices[:, 2]) > 0.002  # values stay where they were on the surface
    np.testing.assert_array_equal(observed[clear], (mesh.vertices[clear, 2] > 0).astype(np.float32))


def test_open_meshes_are_decimated_too():
    from dataclasses import replace

    result = completed(1, subdivisions=6)
    mesh = replace(result.mesh, triangles=result.mesh.triangles[:-2000])
    small, colors, _ = scene_messages.for_message(replace(result, mesh=mesh, watertight=False), 5000)
    assert len(small.triangles) <= 5000 and len(colors) == len(small.vertices)


def test_instances_message():
    message = scene_messages.instances_message(instance_map(1, 2), {2}, HEADER)
    assert [(i.id, i.kind, i.completed) for i in message.instances] == [
        (1, "object", False), (2, "object", True), (90, "support", False), (91, "background", False),
    ]  # fmt: skip
    first = message.instances[0]
    assert (first.box_min.x, first.box_max.z) == (1.0, pytest.approx(0.3))
    assert (first.num_gaussians, first.num_views, len(first.feature)) == (120, 7, 16)
    assert first.color.r == pytest.approx(instance_color(1)[0] / 255)
    assert message.has_support
    np.testing.assert_allclose(message.support.coef, [0, 0, 1, -0.4])  # z = 0.4
    empty = scene_messages.instances_message(None, set(), HEADER)
    assert not empty.instances and not empty.has_support


def names(array, action) -> set:
    return {(m.ns, m.id) for m in array.markers if m.action == action}


def test_markers_show_what_is_there_and_delete_what_is_gone():
    book = MarkerBook()
    first = book.update(instance_map(1, 2), {}, HEADER)
    assert names(first, Marker.ADD) == {("box", 1), ("label", 1), ("box", 2), ("label", 2)}
    second = book.update(instance_map(1, 2), {2: completed(2)}, HEADER)
    assert names(second, Marker.ADD) - names(first, Marker.ADD) == {("mesh", 2), ("surface", 2)}
    third = book.update(instance_map(1), {}, HEADER)
    assert names(third, Marker.ADD) == {("box", 1), ("label", 1)}
    assert names(third, Marker.DELETE) == {("box", 2), ("label", 2), ("mesh", 2), ("surface", 2)}
    assert names(book.update(None, {}, HEADER), Marker.DELETE) == {("box", 1), ("label", 1)}
    assert book.update(None, {}, HEADER).markers == []


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


def gaussians(count: int) -> GaussianModel:
    sh = torch.zeros(count, 1, 3)
    sh[:, 0] = torch.tensor([0.5, 0.0, -0.5]) / SH_C0  # red 1.0, green 0.5, blue 0.0
    quaternions = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1)
    return GaussianModel(
        torch.arange(3.0 * count).reshape(count, 3),
        quaternions,
        torch.zeros(count, 2),
        torch.zeros(count),
        sh,
    )


def test_gaussians_as_a_cloud():
    message = scene_messages.gaussians_message(gaussians(4), np.array([-1, 1, 2, 2], np.int32), HEADER)
    points = np.frombuffer(message.data, CLOUD_TYPE)
    assert (message.width, message.point_step, message.row_step) == (4, 32, 128)
    np.testing.assert_array_equal(points["y"], [1, 4, 7, 10])
    np.testing.assert_array_equal(points["instance"], [-1, 1, 2, 2])
    np.testing.assert_array_equal(points["normal_z"], 1.0)
    assert set(points["rgb"]) == {255 << 16 | 128 << 8}
    assert {f.name: f.offset for f in message.fields}["instance"] == 16


def test_no_gaussians_is_an_empty_cloud():
    message = scene_messages.gaussians_message(None, None, HEADER)
    assert message.width == 0 and len(message.data) == 0


def test_the_selected_instance_is_highlighted_in_a_namespace_of_its_own():
    book, points = MarkerBook(), np.random.default_rng(0).uniform(0, 0.1, (5000, 3))
    shown = book.update(instance_map(1), {}, HEADER, points).markers
    (highlight,) = [m for m in shown if m.ns == "selected"]
    assert highlight.type == Marker.POINTS and highlight.action == Marker.ADD and highlight.header == HEADER
    assert 1000 < len(highlight.points) <= scene_messages.SELECTED_POINTS
    first = highlight.points[0]
    np.testing.assert_allclose([first.x, first.y, first.z], points[0])
    assert 0.0009 < highlight.scale.x < 0.005 and highlight.color.a == 1.0
    # Another takes its place; then none is selected any more.
    (other,) = [m for m in book.update(instance_map(1), {}, HEADER, points[:3]).markers if m.ns == "selected"]
    assert (other.id, len(other.points)) == (highlight.id, 3)
    (gone,) = [m for m in book.update(instance_map(1), {}, HEADER).markers if m.ns == "selected"]
    assert gone.action == Marker.DELETE and gone.id == highlight.id
    assert not [m for m in book.update(instance_map(1), {}, HEADER).markers if m.ns == "selected"]
