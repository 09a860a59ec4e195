"""A saved scene against ground truth in the layouts of the field's data sets.

    masks      <GT>/<frame>.png              label images named like the frames, 0 = unlabelled
    points     <GT>/*.ply, <GT>/*.txt        points and one integer a point: instance, or class · 1000 +
                                             instance (ScanNet), 0 = not annotated
    lerf-mask  <GT>/test_mask/<view>/<object>.png     one binary mask an object and view
    3d-ovs     <GT>/segmentations/<view>/<class>.png  likewise, background classes among them

A view of the last two is the frame of that name, or the only one of that number.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from instascene_core.datasets.fitting import same_shape
from instascene_core.datasets.images import read_labels, read_rgb
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.images import resize
from instascene_core.instances import instance_id_from
from instascene_core.metrics.segmentation import MIN_REGION_POINTS, average_precision, match, multi_view_iou
from instascene_core.owned_folder import finish
from instascene_core.saved_facts import DecomposedFacts, read_scene_facts

BINARY_FOLDERS = {"lerf-mask": "test_mask", "3d-ovs": "segmentations"}
PROTOCOLS = ("masks", "points", *BINARY_FOLDERS)
REACH_SPACINGS = 5.0  # a point takes the instance of the nearest Gaussian within this many spacings


@dataclass(frozen=True)
class BinaryMaskScores:
    """True objects given by binary masks, which may overlap, against predicted label images."""

    miou: float  # mean over all pairs of view and object
    miou_objects: float  # mean over objects of the mean over their views
    miou_pooled: float  # mean over objects of IoU counted over all views' pixels
    views: int
    objects: int
    iou: dict[str, float]  # object → mean over its views
    partner: dict[str, int]  # object → predicted id, one for all views


def evaluate_segmentation(
    output: Path,
    ground_truth: Path,
    protocol: str,
    min_region: int = MIN_REGION_POINTS,
    ignored_classes: Sequence[int] = (),
) -> dict:
    """Plain values (for JSON and tables) of the scene saved in `output` under one of PROTOCOLS.

    min_region, ignored_classes: of points only; an ignored class (id // 1000) is void.  Raises
    InputError for what is missing or does not fit.
    """
    output, ground_truth = Path(output), Path(ground_truth)
    finish(output)
    if protocol == "masks":
        found = asdict(_masks(output, ground_truth))
        iou, partner = found.pop("iou"), found.pop("partner")
        scores = {**found, "objects": [
            {"truth_id": i, "instance_id": partner.get(i), "iou": iou[i]}
            for i in iou
        ]}  # fmt: skip
    elif protocol == "points":
        scores = asdict(_points(output, ground_truth, min_region, ignored_classes))
    elif protocol in BINARY_FOLDERS:
        scores = asdict(_binary_masks(output, ground_truth, BINARY_FOLDERS[protocol]))
        scores |= {f"iou of {name}": value for name, value in scores.pop("iou").items()}
        del scores["partner"]
    else:
        raise InputError(f"There is no protocol '{protocol}'; take one of objects, {', '.join(PROTOCOLS)}.")
    return {"protocol": protocol, **scores}


# --- label images ---


def _masks(output: Path, ground_truth: Path):
    predicted, truth = [], []
    things = _objects(output)
    for name, path in sorted(_label_files(ground_truth).items()):
        true = read_labels(path)
        image = fitted(_predicted_image(output, name), true.shape)
        # Table and room are no objects, and an object that no judged view shows is not judged.
        predicted.append(np.where(np.isin(image, list(things)), image, UNLABELLED))
        truth.append(true)
    return multi_view_iou(predicted, truth, things)


def _label_files(folder: Path) -> dict[str, Path]:
    files = {path.stem: path for path in folder.glob("*.png")}
    if not files:
        raise InputError(f"There are no label images <frame>.png in {folder}.")
    return files


def _predicted_image(output: Path, name: str) -> np.ndarray:
    path = output / "instances" / f"{name}.png"
    if not path.is_file():
        raise InputError(f"The scene in {output} has no label image of frame '{name}' ({path}).")
    return read_labels(path)


def fitted(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The label image at the size of the ground truth, by nearest pixels; InputError where that is of other
    proportions, and so of other images."""
    if not same_shape(labels.shape[1], labels.shape[0], shape[1], shape[0]):
        raise InputError(
            f"The ground truth's label images are {shape[1]}×{shape[0]}, the scene's {labels.shape[1]}×"
            f"{labels.shape[0]}: not the same images at another size."
        )
    return labels if labels.shape == shape else resize(labels, shape[1], shape[0], smooth=False)


def _objects(output: Path) -> dict[int, float]:
    """Id → confidence of the scene's objects; structure is none."""
    try:
        entries = read_scene_facts(output, DecomposedFacts)["instances"]["list"]
    except InputError as error:
        raise InputError(f"There is no decomposed scene in {output}: {error}") from error
    return {instance_id_from(e["id"]): float(e["confidence"]) for e in entries if e["kind"] == "object"}


# --- binary masks ---


def _binary_masks(output: Path, ground_truth: Path, name: str) -> BinaryMaskScores:
    folder = ground_truth / name if (ground_truth / name).is_dir() else ground_truth
    views = {
        view.name: {path.stem: path for path in sorted(view.glob("*.png"))}
        for view in sorted(folder.iterdir() if folder.is_dir() else ())
        if view.is_dir()
    }
    views = {view: files for view, files in views.items() if files}
    if not views:
        raise InputError(f"There are no masks {name}/<view>/<object>.png in {ground_truth}.")
    frames = {path.stem for path in (output / "instances").glob("*.png")}
    # (view, object) → overlap with every predicted id, and sizes.
    common: dict[tuple[str, str], dict[int, int]] = {}
    true_size: dict[tuple[str, str], int] = {}
    predicted_size: dict[str, dict[int, int]] = {}
    for view, files in views.items():
        image = _predicted_image(output, frame_of_view(view, frames))
        for thing, path in files.items():
            mask = _binary(path)
            labels = fitted(image, mask.shape)
            common[view, thing], true_size[view, thing] = label_counts(labels[mask]), int(mask.sum())
            predicted_size[view] = label_counts(labels)
    return binary_scores(common, true_size, predicted_size)


def _binary(path: Path) -> np.ndarray:
    """[H, W] bool: the bright half of a mask image, whatever its white is (1 or 255)."""
    image = read_rgb(path).max(axis=2)
    return 2 * image.astype(int) > image.max(initial=0)


def label_counts(labels: np.ndarray) -> dict[int, int]:
    """How many pixels each id ≥ 1 has."""
    ids, counts = np.unique(labels, return_counts=True)
    return {int(i): int(n) for i, n in zip(ids, counts) if i >= 1}


def binary_scores(
    common: Mapping[tuple[str, str], Mapping[int, int]],
    true_size: Mapping[tuple[str, str], int],
    predicted_size: Mapping[str, Mapping[int, int]],
) -> BinaryMaskScores:
    """One global matching of objects to predicted ids on pooled IoU, then IoU pair by pair."""
    things = sorted({thing for _, thing in common})
    views_of = {thing: [v for v, other in common if other == thing] for thing in things}
    ids = sorted({i for sizes in predicted_size.values() for i in sizes})
    pooled = np.zeros((len(ids), len(things)))
    for row, number in enumerate(ids):
        for column, thing in enumerate(things):
            both = sum(common[v, thing].get(number, 0) for v in views_of[thing])
            # In the views where the object is annotated: elsewhere it may be there all the same.
            size = sum(predicted_size[v].get(number, 0) for v in views_of[thing])
            union = size + sum(true_size[v, thing] for v in views_of[thing]) - both
            pooled[row, column] = both / max(union, 1)
    pairs = match(pooled)
    partner = {things[column]: ids[row] for row, column in pairs}
    iou: dict[str, list[float]] = {}
    for thing in things:
        number = partner.get(thing, UNLABELLED)
        iou[thing] = []
        for view in views_of[thing]:
            both = common[view, thing].get(number, 0)
            union = true_size[view, thing] + predicted_size[view].get(number, 0) - both
            iou[thing].append(both / union if union else 1.0)
    found = {things[column]: float(pooled[row, column]) for row, column in pairs}
    means = {thing: float(np.mean(values)) for thing, values in iou.items()}
    return BinaryMaskScores(
        miou=float(np.mean([value for values in iou.values() for value in values])),
        miou_objects=float(np.mean(list(means.values()))),
        miou_pooled=sum(found.values()) / len(things),
        views=len(predicted_size),
        objects=len(things),
        iou=means,
        partner=partner,
    )


def frame_of_view(view: str, frames: set[str]) -> str:
    """The frame that a ground truth view shows: of the same name, or the only one whose last number is
    the view's.  InputError where there is none, or several."""
    if view in frames:
        return view
    number = re.findall(r"\d+", view)
    found = [
        f for f in frames if number and (own := re.findall(r"\d+", f)) and int(own[-1]) == int(number[-1])
    ]
    if len(found) == 1:
        return found[0]
    what = (
        f"several frames fit it ({', '.join(sorted(found))})" if found else "no frame has its name or number"
    )
    raise InputError(
        f"The ground truth's view '{view}' cannot be told among the scene's frames: {what}; name its folder "
        "like the frame."
    )


# --- points ---


def _points(output: Path, ground_truth: Path, min_region: int, ignored_classes: Sequence[int]):
    from instascene_core.gaussians_ply import read_gaussians

    points, truth = read_points(ground_truth)
    things = _objects(output)
    # From the world into the frame of scene.ply.
    points = points - np.array(
        read_scene_facts(output, DecomposedFacts).get("world_offset_m", (0.0, 0.0, 0.0))
    )
    file = read_gaussians(output / "scene.ply")
    if file.instance_ids is None:
        raise InputError(f"{output / 'scene.ply'} holds no instance ids.")
    labels = np.where(np.isin(file.instance_ids, list(things)), file.instance_ids, UNLABELLED)
    predicted = labels_of_points(points, file.gaussians.means.numpy(), labels)
    truth = np.where(np.isin(truth // 1000, list(ignored_classes)) & (truth >= 1000), 0, truth)
    return average_precision(predicted, things, truth, min_region)


def read_points(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(points [N, 3] metres, instance of each [N] int64) from the one .ply and the one .txt in a folder."""
    import trimesh

    found = {suffix: sorted(folder.glob(f"*{suffix}")) for suffix in (".ply", ".txt")}
    for suffix, paths in found.items():
        if len(paths) != 1:
            raise InputError(f"{folder} holds {len(paths)} {suffix} files; one .ply and one .txt are needed.")
    (cloud,), (ids,) = found.values()
    try:
        loaded = trimesh.load(cloud, process=False)
        if not isinstance(loaded, (trimesh.PointCloud, trimesh.Trimesh)):
            raise ValueError(f"it holds a {type(loaded).__name__}")
        points = np.asarray(loaded.vertices, dtype=np.float64)
        truth = np.loadtxt(ids, dtype=np.int64, ndmin=1)
    except Exception as error:  # trimesh raises several kinds for damaged files
        raise InputError(f"The points of {folder} cannot be read ({error}).") from error
    if truth.shape != (len(points),):
        raise InputError(f"{ids} holds {truth.size} labels, but {cloud} has {len(points)} points.")
    return points, truth


def labels_of_points(points: np.ndarray, means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N] int32: each point takes the label of the nearest Gaussian, if that is near enough."""
    from scipy.spatial import cKDTree

    tree = cKDTree(means)
    sample = means[:: max(1, len(means) // 5000)]
    spacing = float(np.median(tree.query(sample, k=min(4, len(means)))[0].reshape(len(sample), -1)[:, -1]))
    distance, index = tree.query(points)
    return np.where(distance <= REACH_SPACINGS * spacing, labels[index], UNLABELLED).astype(np.int32)
