"""The robot's own body in the images: its URDF posed by its joints, as pixels that are no part of the scene.

yourdfpy (extra `robot`) reads the URDF and moves its links, Open3D casts the rays.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from instascene_core.errors import InputError, needs
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh

RAYS = 20_000  # an image is looked at through no more of them
PADDING = 0.01  # metres around the body that are hidden, too: cables, and what calibration is off


@dataclass(frozen=True)
class Link:
    """The shape of one link."""

    node: str  # of the URDF's scene graph
    mesh: TriangleMesh  # in that node's frame


class RobotBody:
    """A robot's surface at given joint positions.

    urdf: the description, as on the topic `robot_description`.  Raises InputError where it cannot be used.
    """

    def __init__(self, urdf: str) -> None:
        with needs(
            "yourdfpy",
            "self_filter needs yourdfpy to read robot_description; pip install 'instascene[robot]'.",
        ):
            import yourdfpy  # pyright: ignore[reportMissingImports] (optional: the extra `robot`)
        try:
            self._urdf: Any = yourdfpy.URDF.load(io.StringIO(urdf))
        except Exception as error:  # of XML, of meshes: the library's own kinds
            raise InputError(
                f"The robot_description cannot be read: {' '.join(str(error).split())[:200]}."
            ) from error
        scene = self._urdf.scene
        self._links = []
        for node in scene.graph.nodes_geometry:
            shape = scene.geometry[scene.graph.get(node)[1]]
            if len(getattr(shape, "faces", ())):
                mesh = TriangleMesh(np.asarray(shape.vertices, dtype=float), np.asarray(shape.faces))
                self._links.append(Link(node, mesh))
        if not self._links:
            raise InputError("The robot_description has no link with a shape, or its meshes were not found.")

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints whose positions pose it."""
        return tuple(self._urdf.actuated_joint_names)

    def surface(self, positions: dict[str, float]) -> TriangleMesh:
        """All links in the frame of the base link, metres.

        positions: by joint, radians or metres.  InputError where one is missing or no finite number.
        """
        missing = [name for name in self.joints if name not in positions]
        if missing:
            raise InputError(f"joint_states do not tell of the joint '{missing[0]}' of robot_description.")
        if odd := [name for name in self.joints if not np.isfinite(positions[name])]:
            raise InputError(f"joint_states tell of the joint '{odd[0]}' what is no finite number.")
        self._urdf.update_cfg({name: positions[name] for name in self.joints})
        vertices, triangles, count = [], [], 0
        for link in self._links:
            pose = self._urdf.scene.graph.get(link.node)[0]
            vertices.append(link.mesh.vertices @ pose[:3, :3].T + pose[:3, 3])
            triangles.append(link.mesh.triangles + count)
            count += len(link.mesh.vertices)
        return TriangleMesh(np.concatenate(vertices), np.concatenate(triangles))


def pixels_of(surface: TriangleMesh, frame: Frame) -> np.ndarray:
    """[H, W] bool: where a surface (in the frame's world) is in the image, or may be, `PADDING` around it.

    Whether something stands before it does not matter: what is behind the robot is not seen, what is before
    it is its tool.
    """
    import cv2

    from instascene_core.geometry.open3d_loader import open3d

    camera = frame.camera
    small = camera.scaled(min(1.0, (RAYS / (camera.width * camera.height)) ** 0.5))
    caster = open3d.t.geometry.RaycastingScene()
    caster.add_triangles(surface.vertices.astype(np.float32), surface.triangles.astype(np.uint32))
    directions = small.rays @ frame.world_from_camera[:3, :3].T.astype(np.float32)
    origins = np.broadcast_to(frame.world_from_camera[:3, 3].astype(np.float32), directions.shape)
    rays = open3d.core.Tensor(np.concatenate([origins, directions], axis=-1))
    depth = caster.cast_rays(rays)["t_hit"].numpy()
    hit = np.isfinite(depth)
    if not hit.any():
        return np.zeros((camera.height, camera.width), dtype=bool)
    # Rays are z = 1 in the camera's frame: their length is the depth.  Nearer, the padding is wider.
    wide = int(np.ceil(1 + PADDING * small.fx / np.median(depth[hit])))
    grown = cv2.dilate(hit.astype(np.uint8), np.ones((2 * wide + 1, 2 * wide + 1), np.uint8))
    return cv2.resize(grown, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST) > 0
