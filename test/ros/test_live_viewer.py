"""`instascene view --live`: it follows the topics of the real node, and its buttons call its services."""

import math
import sys

import numpy as np
import pytest
import rclpy
import viser_stand_in
from click_scene import RED, decomposed_scene
from instascene.msg import CompletedObject
from instascene.srv import CompleteInstance
from nodes import Client, scene_node_here, show_scene, wait_for
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from instascene_core import cli
from instascene_core.browser import open_viewer
from instascene_ros.live_viewer import LiveScene, object_from_message, splats_of
from instascene_ros.object_topics import latched
from instascene_ros.scene_messages import CLOUD_TYPE, completed_object_message, gaussians_message


@pytest.fixture(scope="module")
def scene():
    scene, _ = decomposed_scene()
    scene.complete(RED)
    return scene


def test_an_object_comes_back_from_its_message(scene):
    thing = scene.objects[RED]
    back = object_from_message(completed_object_message(thing, Header(frame_id="map")))
    np.testing.assert_allclose(back.mesh.vertices, thing.mesh.vertices, atol=1e-9)
    np.testing.assert_array_equal(back.mesh.triangles, thing.mesh.triangles)
    np.testing.assert_array_equal(back.colors, thing.colors)
    np.testing.assert_allclose(back.world_from_object, thing.world_from_object, atol=1e-9)
    np.testing.assert_allclose(back.next_best_view, thing.next_best_view, atol=1e-9)
    assert back.confidence == pytest.approx(thing.confidence) and back.notes == thing.notes


def test_gaussians_of_the_topic_are_disks_as_wide_as_they_are_apart(scene):
    message = gaussians_message(scene.gaussians, scene.instances.gaussian_labels, Header(frame_id="map"))
    splats = splats_of(np.frombuffer(message.data, CLOUD_TYPE))
    deviations = np.sqrt(np.linalg.eigvalsh(splats.covariances[0]))  # of the table, which is level
    np.testing.assert_allclose(deviations[1:], 0.01, rtol=0.2)  # the disks' grid
    assert splats.covariances[0][2, 2] == pytest.approx(deviations[0] ** 2) and deviations[0] < 2e-4
    np.testing.assert_allclose(splats.colors[0], (0.5, 0.4, 0.3), atol=0.01)
    assert len(splats_of(np.zeros(0, CLOUD_TYPE)).means) == 0


def test_it_follows_the_node_and_its_buttons_call_it(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", viser_stand_in.module())
    rclpy.init()
    scene, _ = decomposed_scene()
    with scene_node_here(data_dir=str(tmp_path)) as node:
        show_scene(node, scene)
        client = Client("live_client")
        viewer = rclpy.create_node("instascene_viewer")
        live = LiveScene(viewer)
        wait_for(lambda: live.spin(0.2) and "2 objects" in live.contents().title, 20, "the instances")
        server, panel = open_viewer(live, 8150, lambda _: None)
        assert "/background" in server.scene.made

        def shown() -> set[str]:
            if live.spin(0.1):
                panel.renew()
            drawn = server.scene.made.items()
            return {name for name, handle in drawn if name.startswith("/meshes/") and not handle.removed}

        answer = client.call(CompleteInstance, "complete_instance", instance_id=RED, num_samples=1)
        assert answer.success
        wait_for(lambda: shown() == {f"/meshes/{RED}"}, 20, "the completed object")
        gui = server.gui.made
        server.scene.made[f"/meshes/{RED}"].use()
        assert "of the surface" in server.gui.html[1].content
        gui["Write to the scene's folder"].use()
        wait_for(lambda: server.client.told, 20, "that it cannot export")
        assert "save_scene" in server.client.told[-1][1]
        gui["Remove"].use(client=server.client)
        server.client.gui.made["Remove"].use()
        wait_for(lambda: shown() == set(), 30, "the object gone")
        assert "1 objects, 0 complete" in live.contents().title
        live.close()
        viewer.destroy_node()
        client.close()
    rclpy.shutdown()


def spoiled(scene, spoil) -> CompletedObject:
    message = completed_object_message(scene.objects[RED], Header(frame_id="map"))
    spoil(message)
    return message


def test_messages_of_others_do_not_end_it(ros_domain, scene):
    """Broken meshes and clouds are said and left out; what follows is shown."""
    header = Header(frame_id="map")
    cloud = gaussians_message(scene.gaussians, scene.instances.gaussian_labels, header)

    def beyond(message) -> None:
        message.mesh.triangles[0].vertex_indices[1] = 4_000_000

    def not_finite(message) -> None:
        message.mesh.vertices[0].x = math.nan

    def no_rotation(message) -> None:
        message.pose.orientation.w = 7.0

    ways = (beyond, not_finite, no_rotation, lambda message: message.vertex_colors.pop())
    bad_objects = [spoiled(scene, spoil) for spoil in ways]
    bad_clouds = [
        PointCloud2(header=header, point_step=4, data=b"abcd"),
        PointCloud2(header=header, point_step=cloud.point_step, data=b"abc"),
        PointCloud2(header=header, point_step=cloud.point_step, data=b"\xff" * cloud.point_step * 9),
    ]
    rclpy.init()
    viewer, client = rclpy.create_node("instascene_viewer"), Client("other")
    live = LiveScene(viewer)
    objects = client.node.create_publisher(CompletedObject, "completed_objects", latched(50))
    clouds = client.node.create_publisher(PointCloud2, "gaussians", latched(50))
    for publisher, messages in ((objects, bad_objects), (clouds, bad_clouds)):
        for message in messages:
            publisher.publish(message)
            live.spin(0.1)
    objects.publish(completed_object_message(scene.objects[RED], header))
    clouds.publish(cloud)
    wait_for(lambda: live.spin(0.1) and len(live.contents().splats.means), 20, "the good cloud")
    wait_for(lambda: live.spin(0.1) or RED in live.contents().objects, 20, "the good object")
    live.close()
    viewer.destroy_node()
    client.close()
    rclpy.shutdown()


def test_live_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("instascene_core.verbs.view.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        cli.main(["view", "--live"])
    assert "--live needs rclpy, instascene_ros, viser" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["view"])
    assert "takes the folder of a saved scene, or --live" in capsys.readouterr().err
