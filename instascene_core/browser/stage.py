"""What is drawn in three dimensions, and what of it is visible."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from instascene_core.browser.contents import FIELD_OF_VIEW, Contents, View
from instascene_core.browser.shapes import Z_UP, shaded
from instascene_core.colors import GENERATED_COLOR, instance_color
from instascene_core.instances import InstanceId
from instascene_core.transforms import matrix_from_quaternion, quaternion_from_matrix

# Layer → what it is called in the panel, whether it is on at first
LAYERS = {
    "meshes": ("Meshes", True),
    "background": ("Splats of the rest", True),
    "splats": ("Splats of the objects", False),
    "labels": ("Numbers", True),
    "cameras": ("Cameras", False),
    "next_view": ("Next best view", True),
}
MOST_CAMERAS = 60  # that are drawn
Chosen = Callable[[InstanceId], None]


class Stage:
    """The scene of a viser server.  Its methods may be called from any thread, one at a time."""

    def __init__(self, server: Any, contents: Contents) -> None:
        self.server, self.contents = server, contents
        self.visible = {layer: on for layer, (_, on) in LAYERS.items()}
        self.shading, self.selected = "texture", None
        self.on_choice: Chosen = lambda _: None  # what a click on an object does
        self._drawn: dict[str, dict[str, Any]] = {layer: {} for layer in LAYERS}  # layer → name → handle
        up = contents.up / np.linalg.norm(contents.up)
        server.scene.set_up_direction(tuple(float(u) for u in up))
        backdrop = (255 * np.clip(contents.background, 0, 1)).astype(np.uint8)
        server.scene.set_background_image(np.broadcast_to(backdrop, (2, 2, 3)), format="png")
        self._place_first_camera()
        self._draw_splats()
        for number in contents.objects:
            self.draw_object(number)
        self.scale = self._camera_scale()
        self.draw_cameras({})
        self.select(None)

    def _place_first_camera(self) -> None:
        pose, start = self.contents.first_view(), self.server.initial_camera
        start.position = pose[:3, 3]
        start.look_at = pose[:3, 3] + pose[:3, 2] * np.linalg.norm(pose[:3, 3] - self._center())
        start.up, start.fov = self.contents.up, FIELD_OF_VIEW
        start.near = 0.005

    def _center(self) -> np.ndarray:
        things = [thing.mesh.vertices for thing in self.contents.objects.values()]
        cloud = np.concatenate(things) if things else self.contents.splats.means
        if not len(cloud):
            return np.zeros(3)
        return (cloud.min(axis=0) + cloud.max(axis=0)) / 2

    def _camera_scale(self) -> float:
        """Metres: the size of a drawn camera, a share of how far the cameras are from what they look at."""
        if not self.contents.views:
            return 0.05
        places = np.stack([view.world_from_camera[:3, 3] for view in self.contents.views])
        return float(0.045 * np.median(np.linalg.norm(places - self._center(), axis=1)))

    def _draw_splats(self) -> None:
        for layer, chosen in (("background", ~self.contents.is_object), ("splats", self.contents.is_object)):
            part = self.contents.splats.of(chosen)
            before = self._drawn[layer].pop("all", None)
            if before is not None and not len(part.means):
                before.remove()
            if len(part.means):
                self._drawn[layer]["all"] = self.server.scene.add_gaussian_splats(
                    f"/{layer}", part.means, part.covariances, part.colors, part.opacities,
                    visible=self.visible[layer],
                )  # fmt: skip

    def draw_object(self, number: InstanceId) -> None:
        """An object in the present shading, and its number; in place of what was drawn of it."""
        thing, scene = self.contents.objects[number], self.server.scene
        pose = thing.world_from_object
        handle = scene.add_glb(
            f"/meshes/{number}", shaded(thing, self.shading, self.contents.parts.get(number)),
            wxyz=quaternion_from_matrix(pose[:3, :3] @ matrix_from_quaternion(Z_UP)), position=pose[:3, 3],
            visible=self.visible["meshes"],
        )  # fmt: skip
        handle.on_click(lambda _: self.on_choice(number))
        self._drawn["meshes"][str(number)] = handle
        top = pose[:3, 3] + pose[:3, 2] * (thing.dimensions[2] * 1.08)
        self._drawn["labels"][str(number)] = scene.add_label(
            f"/labels/{number}", str(number), position=top, visible=self.visible["labels"]
        )

    def shade(self, shading: str) -> None:
        """Draw all objects in another shading (`shapes.SHADINGS`)."""
        self.shading = shading
        for number in self.contents.objects:
            self.draw_object(number)

    def remove_object(self, number: InstanceId) -> None:
        for layer in ("meshes", "labels"):
            handle = self._drawn[layer].pop(str(number), None)
            if handle is not None:
                handle.remove()
        if self.selected == number:
            self.select(None)

    def replace_contents(self, contents: Contents) -> None:
        """Another state of the same scene: what is gone is removed, the rest drawn anew."""
        gone = self.contents.objects.keys() - contents.objects.keys()
        self.contents = contents
        for number in gone:
            self.remove_object(number)
        self._draw_splats()
        for number in contents.objects:
            self.draw_object(number)

    def draw_cameras(self, images: Mapping[str, np.ndarray]) -> None:
        """The cameras that took part; images: [H, W, 3] uint8 of those that are at hand, by name."""
        step = max(1, -(-len(self.contents.views) // MOST_CAMERAS))
        for index, view in enumerate(self.contents.views[::step]):
            handle = self._frustum(f"/cameras/{index}", view, images.get(view.name))
            handle.on_click(lambda event, view=view: _stand_at(event.client, view.world_from_camera))
            self._drawn["cameras"][str(index)] = handle

    def _frustum(self, name: str, view: View, image: np.ndarray | None) -> Any:
        pose = view.world_from_camera
        return self.server.scene.add_camera_frustum(
            name, fov=view.field_of_view, aspect=view.aspect, scale=self.scale, image=image,
            thickness=0.02 * self.scale, color=(70, 110, 170), wxyz=quaternion_from_matrix(pose[:3, :3]),
            position=pose[:3, 3], visible=self.visible["cameras"], jpeg_quality=75,
        )  # fmt: skip

    def select(self, number: InstanceId | None) -> None:
        """Frame an object, and draw where a camera would see most of what is generated of it."""
        self.selected = number
        for name in ("box", "next"):
            handle = self._drawn["next_view"].pop(name, None)
            if handle is not None:
                handle.remove()
        if number is None:
            return
        thing = self.contents.objects[number]
        self._drawn["next_view"]["box"] = self._box(thing)
        if thing.next_best_view is not None:
            pose = thing.next_best_view
            self._drawn["next_view"]["next"] = self.server.scene.add_camera_frustum(
                "/next_best_view", fov=np.radians(45), aspect=4 / 3, scale=1.2 * self.scale,
                thickness=0.04 * self.scale, color=tuple(int(c) for c in GENERATED_COLOR),
                wxyz=quaternion_from_matrix(pose[:3, :3]), position=pose[:3, 3],
                visible=self.visible["next_view"],
            )  # fmt: skip

    def _box(self, thing: Any) -> Any:
        """Around an object, in its colour."""
        pose, size = thing.world_from_object, np.asarray(thing.dimensions)
        corners = (
            np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)]) * size * 1.02
        )
        lines = [(a, b) for a in range(8) for b in range(a) if bin(a ^ b).count("1") == 1]
        points = (corners @ pose[:3, :3].T + pose[:3, 3])[np.array(lines)]
        color = tuple(int(c) for c in instance_color(thing.instance_id))
        return self.server.scene.add_line_segments(
            "/selected", points.astype(np.float32), np.broadcast_to(np.array(color, np.uint8), points.shape),
            thickness=2.0, thickness_units="screen",
        )  # fmt: skip

    def show(self, layer: str, visible: bool) -> None:
        """Switch a layer on or off."""
        self.visible[layer] = visible
        for name, handle in self._drawn[layer].items():
            if name != "box":
                handle.visible = visible

    def look_at(self, client: Any, number: InstanceId | None) -> None:
        """Move one browser's camera to an object, or to all."""
        contents = self.contents
        pose = contents.first_view() if number is None else contents.view_of_object(number)
        vertices = None if number is None else contents.objects[number].mesh.vertices
        center = self._center() if vertices is None else (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        _stand_at(client, pose, float(np.linalg.norm(center - pose[:3, 3])))


def _stand_at(client: Any, world_from_camera: np.ndarray, distance: float = 0.5) -> None:
    """Put a browser's camera there, turning about the point `distance` metres ahead."""
    with client.atomic():
        client.camera.up_direction = -world_from_camera[:3, 1]
        client.camera.position = world_from_camera[:3, 3]
        client.camera.look_at = world_from_camera[:3, 3] + distance * world_from_camera[:3, 2]
