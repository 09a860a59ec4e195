"""The pictures that the report shows, by the names of their files in the folder `pictures`."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from instascene_core.frame import Frame
from instascene_core.instances import InstanceId
from instascene_core.objects import CompletedObject
from instascene_core.rendering import rasterize
from instascene_core.scene import Scene
from instascene_core.scene.results import Decomposition
from instascene_core.viewer.pictures import telling_frames
from instascene_core.viewer.report.images import encoded
from instascene_core.viewer.snapshot import colorize_labels, render_objects
from instascene_core.viewer.turntable import clay, shape_of, turntable

OBJECT_STYLES, SCENE_STYLES = ("color", "observed", "uncertainty"), ("color", "observed", "instance")
SCENE_SIZE, SCENE_HEIGHT = (448, 336), 30.0  # pixels, degrees over the horizon
TILES = ((12, 224), (24, 176), (40, 128))  # up to so many objects, pixels of a picture of one ...
SMALLEST = 96  # ... and beyond: the page stays within some megabytes
VIEW_WIDTH = 480  # pixels, of what a camera sees
MOST_HYPOTHESES = 6
UP = np.array([0.0, 0.0, 1.0])

Drawn = dict[str, bytes]  # name → WebP


def scene_pictures(scene: Scene, objects: Sequence[CompletedObject]) -> Drawn:
    """Everything of a scene, two pictures at a time; objects: its completed ones, with their textures."""
    whole = [partial(view_pictures, scene), partial(all_objects_pictures, objects)]
    return _drawn([*whole, *_of_each(objects, len(objects))])


def objects_pictures(objects: Sequence[CompletedObject], among: int = 0) -> Drawn:
    """Each object from all around, two at a time; among: the number that the report shows, where more."""
    return _drawn(_of_each(objects, max(among, len(objects))))


def _of_each(objects: Sequence[CompletedObject], count: int) -> list[Callable[[], Drawn]]:
    tile = next((size for most, size in TILES if count <= most), SMALLEST)
    return [partial(_object_pictures, thing, tile=tile) for thing in objects]


def _drawn(tasks: Sequence[Callable[[], Drawn]]) -> Drawn:
    """What all draw together, two at a time."""
    import instascene_core.geometry.open3d_loader  # noqa: F401 (once, before the threads)

    with ThreadPoolExecutor(max_workers=2) as pool:
        parts = list(pool.map(lambda task: task(), tasks))
    return {name: content for part in parts for name, content in part.items()}


def object_picture_name(instance_id: InstanceId, style: str) -> str:
    return f"object_{instance_id}_{style}.webp"


def _object_pictures(thing: CompletedObject, tile: int) -> Drawn:
    """A sheet a style, and the other bodies that agree with what was seen in a row."""
    up, front, size = thing.world_from_object[:3, 2], thing.world_from_object[:3, 0], (tile, tile)
    sheets = turntable([shape_of(thing)], OBJECT_STYLES, up, front, size)
    drawn = {object_picture_name(thing.instance_id, s): encoded(sheet) for s, sheet in sheets.items()}
    others = [
        turntable([clay(body)], ("clay",), up, front, size, heights=(24.0,), views=1)["clay"]
        for body in thing.hypotheses[:MOST_HYPOTHESES]
    ]
    if others:
        name = object_picture_name(thing.instance_id, "hypotheses")
        drawn[name] = encoded(np.concatenate(others, axis=1))
    return drawn


def all_objects_pictures(objects: Iterable[CompletedObject], up: np.ndarray = UP) -> Drawn:
    """All objects in their places, from all around.  up: [3], in the frame of the objects."""
    shapes = [shape_of(thing) for thing in objects]
    if not shapes:
        return {}
    sheets = turntable(shapes, SCENE_STYLES, up, np.array([0.0, -1.0, 0.0]), SCENE_SIZE, (SCENE_HEIGHT,))
    return {f"scene_{style}.webp": encoded(sheet) for style, sheet in sheets.items()}


def view_pictures(scene: Scene) -> Drawn:
    """Two views on their way from image to meshes: `view_<1, 2>_<kind>.webp`."""
    drawn = {}
    for number, frame in enumerate(telling_frames(scene, 2), start=1):
        for kind, image in _panels(scene, _smaller(frame), frame.name).items():
            drawn[f"view_{number}_{kind}.webp"] = encoded(image)
    return drawn


def _panels(scene: Scene, frame: Frame, name: str) -> dict[str, np.ndarray]:
    """Kind → [H, W, 3] uint8."""
    rendered = scene.render(frame).color.detach().cpu().clamp(0, 1).numpy()
    panels = {"input": frame.rgb, "render": _bytes(rendered)}
    found = scene.state.decomposition
    if found is None:
        return panels
    if (masks := _masks_of(found, name)) is not None:
        panels["masks"] = _coloured(masks, frame.rgb)
    labels = found.instances.label_images.get(name)
    if labels is not None:
        things = [i.id for i in found.instances.objects]
        panels["instances"] = _coloured(np.where(np.isin(labels, things), labels, -1), frame.rgb)
    if (shades := feature_shades(found)) is not None:
        image = rasterize(found.gaussians, frame.camera, frame.world_from_camera, colors=shades)
        panels["features"] = _bytes(image.color.detach().cpu().clamp(0, 1).numpy())
    if scene.objects:
        objects = list(scene.objects.values())
        dimmed = colorize_labels(np.zeros(frame.rgb.shape[:2], np.int32), frame.rgb)
        panels["meshes"] = render_objects(
            objects, frame.camera, frame.world_from_camera, "observed", backdrop=dimmed
        )
    return panels


def _masks_of(found: Decomposition, name: str) -> np.ndarray | None:
    """[H, W] the 2D masks of a view, from 1 on; None where they were not kept."""
    if not found.masks:
        return None
    index = next((k for k, view in enumerate(found.views) if view.name == name), None)
    return None if index is None else found.masks[index].astype(np.int32) + 1


def feature_shades(found: Decomposition):
    """[N, 3] in 0 … 1: the features of the Gaussians along their three main directions; None where there are
    none."""
    import torch

    features = found.gaussians.features
    if features is None or len(features) < 3:
        return None
    values = features.detach().cpu().double().numpy()
    values = values - values.mean(axis=0)
    _, axes = np.linalg.eigh(values.T @ values)
    main = axes[:, -1:-4:-1]
    main *= np.sign(main[np.abs(main).argmax(axis=0), range(main.shape[1])])  # an axis has no sign of its own
    along = values @ main
    low, high = np.percentile(along, (2, 98), axis=0)
    return torch.from_numpy(np.clip((along - low) / np.maximum(high - low, 1e-9), 0, 1).astype(np.float32))


def _coloured(labels: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    import cv2

    size = (rgb.shape[1], rgb.shape[0])
    return colorize_labels(cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST), rgb)


def _smaller(frame: Frame) -> Frame:
    """Colours and camera at the width of the pictures at most; the rest of a frame is left out."""
    import cv2

    factor = min(1.0, VIEW_WIDTH / frame.camera.width)
    camera = frame.camera.scaled(factor)
    rgb = cv2.resize(frame.rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return Frame(frame.name, frame.stamp, camera, frame.world_from_camera, rgb)


def _bytes(image: np.ndarray) -> np.ndarray:
    return (255 * image + 0.5).astype(np.uint8)
