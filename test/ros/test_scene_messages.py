"""The core's results as messages: hand-made scenes, every field checked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from instascene_core.colors import instance_color
from instascene_core.gaussians import SH_C0, GaussianModel
from instascene_core.geometry import Plane
from instascene_core.geometry.mesh import from_trimesh, is_watertight
from instascene_core.instances import Instance, InstanceMap
from instascene_core.objects import CompletedObject
from instascene_ros import scene_messages
from instascene_ros.scene_messages import CLOUD_TYPE, OBJECT_CLOUD_TYPE

HEADER = Header(frame_id="map")
MOVE = np.array([4.5e6, 5.2e6, 300.0])  # metres, of a far world


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


def test_other_bodies_and_the_next_view_are_told():
    view, fine = np.eye(4), completed(1, subdivisions=5).mesh
    view[:3, 3] = [0.3, 0.0, 0.4]
    result = replace(
        completed(3), hypotheses=(fine,), next_best_view=view, next_view_reveals=0.7, world_offset=MOVE
    )
    message = scene_messages.completed_object_message(result, HEADER)
    (body,) = message.hypotheses
    assert 100 < len(body.triangles) <= scene_messages.HYPOTHESIS_TRIANGLES < len(fine.triangles)
    np.testing.assert_allclose(np.linalg.norm(vertices_of(body) - MOVE, axis=1), 0.05, atol=1e-3)
    place = message.next_best_view.position
    np.testing.assert_allclose([place.x, place.y, place.z], MOVE + np.array([0.3, 0.0, 0.4]))
    assert message.has_next_best_view and message.next_view_reveals == pytest.approx(0.7)
    bare = scene_messages.completed_object_message(completed(3), HEADER)
    assert not bare.has_next_best_view and not bare.hypotheses


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


def test_the_vertices_of_all_objects_as_a_cloud():
    first, second = completed(3), completed(8)
    message = scene_messages.objects_cloud_message([first, second], HEADER)
    points = np.frombuffer(bytes(message.data), OBJECT_CLOUD_TYPE)
    count = len(first.mesh.vertices)
    assert message.width == 2 * count == len(points) and message.header.frame_id == "map"
    assert [f.name for f in message.fields] == list(OBJECT_CLOUD_TYPE.names)
    assert [f.datatype for f in message.fields] == 8 * [PointField.FLOAT32] + [PointField.INT32]
    np.testing.assert_array_equal(points["instance"], np.repeat([3, 8], count))
    xyz = np.stack([points[a] for a in "xyz"], axis=1)
    normals = np.stack([points[f"normal_{a}"] for a in "xyz"], axis=1)
    np.testing.assert_allclose(xyz[:count], first.mesh.vertices, atol=1e-7)
    assert (np.einsum("ij,ij->i", normals, xyz / 0.05) > 0.99).all()  # of a sphere, outward
    np.testing.assert_array_equal(points["observed"][:count], first.observed)
    assert scene_messages.objects_cloud_message([], HEADER).width == 0
