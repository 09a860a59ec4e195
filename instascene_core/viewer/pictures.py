"""The pictures a person looks at after a run."""

from collections.abc import Sequence

import numpy as np

from instascene_core.frame import Frame
from instascene_core.objects import CompletedObject
from instascene_core.scene import Scene
from instascene_core.viewer.snapshot import colorize_labels, orbit_cameras, render_styles, side_by_side

MESH_STYLES = (("completed meshes", "color"), ("blue observed, orange generated", "observed"))


def overview_picture(scene: Scene) -> np.ndarray:
    """Two input views: image, rendered view, instances, completed meshes, observed / generated."""
    frames = telling_frames(scene, 2)
    objects = list(scene.objects.values())
    panels = []
    for frame in frames:
        rendered = (scene.render(frame).color.detach().clamp(0, 1).numpy() * 255).astype(np.uint8)
        panels += [(f"input {frame.name}", frame.rgb), ("rendered 2DGS", rendered)]
        if scene.instances:
            labels = scene.instances.label_images[frame.name]
            ids = [i.id for i in scene.instances.objects]
            panels.append(
                ("instances", colorize_labels(np.where(np.isin(labels, ids), labels, -1), frame.rgb))
            )
        if objects:
            titles, styles = zip(*MESH_STYLES)
            panels += zip(titles, render_styles(objects, frame.camera, frame.world_from_camera, styles))
    return side_by_side(panels, height=280, columns=len(panels) // len(frames))


def objects_picture(scene: Scene) -> np.ndarray:
    """All completed objects from four sides, in their colours and by what was observed."""
    support = scene.instances.support if scene.instances else None
    return picture_of_objects(list(scene.objects.values()), None if support is None else support.normal)


def picture_of_objects(objects: Sequence[CompletedObject], up: np.ndarray | None = None) -> np.ndarray:
    """The same of objects without their scene.  up: [3], None = z."""
    up = np.array([0.0, 0.0, 1.0]) if up is None else up
    cameras = orbit_cameras(objects, up)
    titles, styles = zip(*MESH_STYLES)
    sides = [render_styles(objects, camera, pose, styles) for camera, pose in cameras]
    panels = [
        (f"{title}, side {side + 1}", picture)
        for title, pictures in zip(titles, zip(*sides))
        for side, picture in enumerate(pictures)
    ]
    return side_by_side(panels, height=300, columns=len(cameras))


def telling_frames(scene: Scene, count: int) -> list[Frame]:
    """The frame that shows the most instances, and one far from it in the sequence that shows many."""
    if not scene.instances:
        return list(scene.posed_frames[:1])
    seen = np.array([len(np.unique(scene.instances.label_images[f.name])) for f in scene.posed_frames])
    index = np.arange(len(seen))
    first = int(seen.argmax())
    apart = np.minimum(abs(index - first), len(seen) - abs(index - first)) >= len(seen) // 4
    second = int((seen * apart).argmax())
    return [scene.posed_frames[i] for i in dict.fromkeys([first, second])][:count]
