"""A scene of the BOP benchmark: rgb/000000.png (or gray/), depth/, scene_camera.json, scene_gt.json,
mask_visib/.

scene_camera.json gives per image cam_K (by rows), depth_scale (millimetres a step) and, in most data sets,
cam_R_w2c, cam_t_w2c (world-to-camera, OpenCV's axes, millimetres).  Without these the world is the frame of
an object that scene_gt.json knows once in every image, as if it stood still.  Pixel centres lie at whole
numbers.  The masks of the visible parts are the label images, the models at their poses the ground truth of
`eval`; an instance keeps its id over the images by its object and place.
Source: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.datasets.file_reader import (
    MILLIMETRE,
    NO_IMAGE,
    NO_POSE,
    DepthFile,
    FileReader,
    View,
    existing,
    numbered,
    opencv_lens,
    size_of_first,
)
from instascene_core.datasets.images import read_kept
from instascene_core.datasets.listed_files import label_file
from instascene_core.errors import InputError
from instascene_core.transforms import inverse, require_rigid
from instascene_core.untrusted import read_json_object

IMAGE_FOLDERS = ("rgb", "gray")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VISIBLE = "mask_visib"
MODEL_FOLDERS = ("models", "models_cad", "models_reconst", "models_eval")
SAME_PLACE = 0.05  # metres: as far as annotations of one instance lie apart between images


@dataclass(frozen=True)
class TrueInstance:
    """One object of the scene at its place."""

    id: int  # from 1
    object_id: int  # of its model
    world_from_model: np.ndarray  # [4, 4], metres
    model: Path | None  # .ply in millimetres


class BopReader(FileReader):
    """Images of one scene, by number."""

    kind = "BOP scene"

    @classmethod
    def find(cls, path: Path) -> Path | None:
        return path if (path / "scene_camera.json").is_file() else None

    def _list(self) -> list[View]:
        cameras = _by_image(self._folder / "scene_camera.json", dict)
        self._truth = BopTruth(self._folder) if (self._folder / "scene_gt.json").is_file() else None
        name = next((n for n in IMAGE_FOLDERS if (self._folder / n).is_dir()), IMAGE_FOLDERS[0])
        images = [i for i in numbered(self._folder / name, IMAGE_SUFFIXES) if i.stem.isdigit()]
        poses = self._poses(cameras)
        views, size = [], size_of_first(images)
        self._drop(NO_IMAGE, len(set(poses) - {int(image.stem) for image in images}))
        for image in images:
            number = int(image.stem)
            if number not in poses:
                self._drop(NO_POSE)
                continue
            where = f"{number} in {self._folder / 'scene_camera.json'}"
            k = _matrix(cameras[number], "cam_K", (3, 3), where)
            lens = opencv_lens(size, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
            views.append(View(image, lens, poses[number], self._depth(image, cameras[number], where)))
        return views

    @property
    def ground_truth(self) -> Path | None:
        """The scene's folder, where models and their poses are known: `eval` reads it."""
        known = self._truth is not None and any(i.model for i in self._truth.instances)
        return self._folder if known else None

    def _poses(self, cameras: dict[int, dict]) -> dict[int, np.ndarray]:
        """Image → world_from_camera [4, 4]."""
        given = _camera_poses(cameras, self._folder)
        if given:
            return given
        found = self._truth.poses_from_object() if self._truth else None
        if found is None:
            raise InputError(
                f"{self._folder / 'scene_camera.json'} has no cam_R_w2c and cam_t_w2c, and no object stands "
                "once in every image of scene_gt.json, so there are no poses."
            )
        self._remarks.say(f"there are no camera poses, so the world is the frame of object {found[0]}")
        return found[1]

    def _depth(self, image: Path, camera: dict, where: str) -> DepthFile | None:
        found = (existing(self._folder / "depth" / f"{image.stem}{s}") for s in (".png", ".tif", ".tiff"))
        path = next((p for p in found if p is not None), None)
        if path is None:
            return None
        scale = _matrix(camera, "depth_scale", (1, 1), where)[0, 0] if "depth_scale" in camera else 1.0
        if not scale > 0:
            raise InputError(f"depth_scale of {where} is {scale}, not positive.")
        return DepthFile(path, scale * MILLIMETRE)

    def _label_sources(self, masks: str | None) -> list:
        """The folder of binary masks of each view's instances, or a file with a label image."""
        name = masks or VISIBLE
        if masks is None and (self._truth is None or not (self._folder / name).is_dir()):
            return [None] * len(self._views)
        if name in (VISIBLE, "mask") and self._truth is not None:
            return [self._folder / name] * len(self._views)
        return [label_file(self._folder, name, view.rgb) for view in self._views]

    def _label_image(self, index: int) -> np.ndarray | None:
        folder = self._labels[index]
        if folder is None or folder.is_file():
            return super()._label_image(index)
        assert self._truth is not None
        stem, camera = self._views[index].rgb.stem, self._views[index].lens.camera
        labels = np.zeros((camera.height, camera.width), np.int32)
        for place, number in enumerate(self._truth.ids.get(int(stem), ())):
            path = folder / f"{stem}_{place:06d}.png"
            if not path.is_file():
                continue  # an instance that is hidden entirely
            mask = read_kept(path)
            if mask.shape != labels.shape:
                raise InputError(
                    f"The mask {path} is {mask.shape[1]}×{mask.shape[0]}, not of the image's size."
                )
            labels[mask] = number
        return labels


class BopTruth:
    """The annotated instances of one scene, told apart over the images by object and place."""

    def __init__(self, folder: Path) -> None:
        """InputError where scene_gt.json is damaged."""
        self._folder = folder
        annotations = _by_image(folder / "scene_gt.json", list)
        self._annotated: dict[int, list[tuple[int, np.ndarray]]] = {}  # image → (object, camera_from_model)
        for image, entries in annotations.items():
            where = f"{image} in {folder / 'scene_gt.json'}"
            self._annotated[image] = [_annotation(entry, where) for entry in entries]
        self.ids: dict[int, list[int]] = {}  # image → the instance of each annotation
        self.instances: tuple[TrueInstance, ...] = ()
        cameras = _by_image(folder / "scene_camera.json", dict)
        poses = _camera_poses(cameras, folder) or (self.poses_from_object() or (0, {}))[1]
        self._tell_apart(poses)

    def poses_from_object(self) -> tuple[int, dict[int, np.ndarray]] | None:
        """(object, image → model_from_camera [4, 4]) of an object that is once in every image, or None."""
        seen = [[number for number, _ in entries] for entries in self._annotated.values()]
        always = [n for n in (seen[0] if seen else []) if all(numbers.count(n) == 1 for numbers in seen)]
        if not always:
            return None
        poses = {i: inverse(dict(entries)[always[0]]) for i, entries in self._annotated.items()}
        return always[0], poses

    def _tell_apart(self, poses: dict[int, np.ndarray]) -> None:
        found: list[TrueInstance] = []
        for image in sorted(set(self._annotated) & set(poses)):
            free, self.ids[image] = list(found), []
            for number, camera_from_model in self._annotated[image]:
                world_from_model = poses[image] @ camera_from_model
                near = [i for i in free if i.object_id == number and _apart(i, world_from_model) < SAME_PLACE]
                if near:
                    instance = min(near, key=lambda i: _apart(i, world_from_model))
                    free.remove(instance)
                else:
                    instance = TrueInstance(len(found) + 1, number, world_from_model, self._model(number))
                    found.append(instance)
                self.ids[image].append(instance.id)
        self.instances = tuple(found)

    def _model(self, number: int) -> Path | None:
        root = self._folder.resolve().parent.parent  # <data set>/<split>/<scene>
        files = (existing(root / name / f"obj_{number:06d}.ply") for name in MODEL_FOLDERS)
        return next((file for file in files if file is not None), None)


def _apart(instance: TrueInstance, world_from_model: np.ndarray) -> float:
    return float(np.linalg.norm(instance.world_from_model[:3, 3] - world_from_model[:3, 3]))


def _by_image(path: Path, kind: type) -> dict[int, dict]:
    """Number of the image → its entry of a JSON file."""
    entries = read_json_object(path, "The file")
    wrong = [name for name, entry in entries.items() if not name.isdigit() or not isinstance(entry, kind)]
    if wrong:
        raise InputError(f"{path}: '{wrong[0][:40]}' is not the number of an image with its values.")
    return {int(name): entry for name, entry in entries.items()}


def _camera_poses(cameras: dict[int, dict], folder: Path) -> dict[int, np.ndarray]:
    """Image → world_from_camera [4, 4] of those that give it."""
    where = folder / "scene_camera.json"
    given = {i: entry for i, entry in cameras.items() if "cam_R_w2c" in entry and "cam_t_w2c" in entry}
    return {
        i: inverse(_rigid(entry, "cam_R_w2c", "cam_t_w2c", f"{i} in {where}")) for i, entry in given.items()
    }


def _annotation(entry: dict, where: str) -> tuple[int, np.ndarray]:
    """(object, camera_from_model [4, 4]) of one annotation."""
    if not isinstance(entry, dict) or not isinstance(entry.get("obj_id"), int):
        raise InputError(f"An annotation of image {where} has no obj_id.")
    return entry["obj_id"], _rigid(entry, "cam_R_m2c", "cam_t_m2c", where)


def _rigid(entry: dict, rotation: str, translation: str, where: str) -> np.ndarray:
    """[4, 4], metres, of a rotation by rows and a translation in millimetres."""
    parts = [_matrix(entry, rotation, (3, 3), where), _matrix(entry, translation, (3, 1), where) * MILLIMETRE]
    return require_rigid(np.hstack(parts), f"{rotation} of image {where}")


def _matrix(entry: dict, name: str, shape: tuple[int, int], where: str) -> np.ndarray:
    try:
        values = np.array(entry.get(name), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} of image {where} holds no numbers.") from error
    if values.size != shape[0] * shape[1] or not np.isfinite(values).all():
        raise InputError(f"{name} of image {where} needs {shape[0] * shape[1]} finite numbers.")
    return values.reshape(shape)
