"""How close a result is to the truth: surfaces, volumes, images, masks, instances.

Conventions, since papers differ:

- distances between surfaces are unsquared, in metres, from points sampled uniformly on one mesh to
  the exact other mesh; the chamfer distance is the mean of the two directions' means;
- the F-score at t is the harmonic mean of the shares of either surface that lie within t of the other;
- volume IoU counts the centres of about `IOU_CELLS` cubic cells of the common bounding box;
- mask mIoU matches predicted to true instances once for all views (Hungarian), then counts pixels
  over all views; true instances without a partner count 0.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED
from instascene_core.mesh import distance, is_watertight
from instascene_core.objects import CompletedObject, TriangleMesh

SURFACE_SAMPLES = 20_000
IOU_CELLS = 250_000
MATCH_CELLS = 20_000  # enough to tell which object is which
F_SCORE_THRESHOLD = 0.005  # metres
FOUND_IOU = 0.25  # volume IoU from which a true object counts as found (the usual AP25)
AP_THRESHOLDS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2))  # COCO's and ScanNet's AP


# --- surfaces and volumes ---


@dataclass(frozen=True)
class SurfaceComparison:
    """Two surfaces; all in metres except the shares."""

    accuracy: float  # mean distance of the predicted surface from the truth
    completeness: float  # mean distance of the true surface from the prediction
    precision: float  # share of the predicted surface within the threshold
    recall: float  # share of the true surface within the threshold

    @property
    def chamfer(self) -> float:
        return (self.accuracy + self.completeness) / 2

    @property
    def f_score(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


def sample_surface(
    mesh: TriangleMesh, count: int, seed: int | Sequence[int] = 0, triangles: np.ndarray | None = None
) -> np.ndarray:
    """[count, 3] points uniformly on a mesh (or on the given triangle indices only)."""
    rng = np.random.default_rng(seed)
    corners = mesh.vertices[mesh.triangles if triangles is None else mesh.triangles[triangles]]
    if not len(corners):
        raise InputError("A mesh without triangles cannot be measured.")
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(areas), count, p=areas / areas.sum())]
    a, b = rng.uniform(size=(2, count, 1))
    fold = a + b > 1
    a, b = np.where(fold, 1 - a, a), np.where(fold, 1 - b, b)
    return chosen[:, 0] + a * (chosen[:, 1] - chosen[:, 0]) + b * (chosen[:, 2] - chosen[:, 0])


def compare_surfaces(
    predicted: TriangleMesh,
    truth: TriangleMesh,
    threshold: float = F_SCORE_THRESHOLD,
    samples: int = SURFACE_SAMPLES,
    seed: int = 0,
) -> SurfaceComparison:
    """Distances between two surfaces both ways; `threshold` in metres."""
    to_truth = distance(truth, sample_surface(predicted, samples, seed))
    to_predicted = distance(predicted, sample_surface(truth, samples, seed + 1))
    return SurfaceComparison(
        accuracy=float(to_truth.mean()),
        completeness=float(to_predicted.mean()),
        precision=float((to_truth <= threshold).mean()),
        recall=float((to_predicted <= threshold).mean()),
    )


def chamfer_distance(predicted: TriangleMesh, truth: TriangleMesh) -> float:
    """Metres; see the module's conventions."""
    return compare_surfaces(predicted, truth).chamfer


def f_score(predicted: TriangleMesh, truth: TriangleMesh, threshold: float) -> float:
    """[0, 1] at `threshold` metres."""
    return compare_surfaces(predicted, truth, threshold).f_score


def volume_iou(first: TriangleMesh, second: TriangleMesh, cells: int = IOU_CELLS) -> float:
    """Intersection over union of the insides of two watertight meshes.

    The cell's edge is (volume of the common box / cells)^⅓: 1.6 mm for a 10 cm cube.  0 where the
    boxes do not even overlap.
    """
    boxes = np.array([[m.vertices.min(axis=0), m.vertices.max(axis=0)] for m in (first, second)])
    if (boxes[:, 0].max(axis=0) >= boxes[:, 1].min(axis=0)).any():
        return 0.0
    low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
    edge = float(np.prod(high - low) / cells) ** (1 / 3)
    counts = np.maximum(np.round((high - low) / edge).astype(int), 1)
    axes = [low[k] + (np.arange(counts[k]) + 0.5) * (high[k] - low[k]) / counts[k] for k in range(3)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    a, b = inside(first, centres), inside(second, centres)
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def inside(mesh: TriangleMesh, points: np.ndarray) -> np.ndarray:
    """[N] bool: which points [N, 3] lie inside a watertight mesh (majority of three parity rays)."""
    from instascene_core.open3d_loader import open3d

    tensor = open3d.core.Tensor
    origin = mesh.vertices.mean(axis=0)  # float32 is exact enough near it, wherever the scene lies
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        tensor((mesh.vertices - origin).astype(np.float32)), tensor(mesh.triangles.astype(np.uint32))
    )
    return scene.compute_occupancy(tensor((points - origin).astype(np.float32)), nsamples=3).numpy() > 0.5


def observed_offset(thing: CompletedObject, truth: TriangleMesh, samples: int = SURFACE_SAMPLES) -> float:
    """Mean distance in metres of the observed part of a completed surface from the true surface.

    A triangle is observed when its vertices are on average more observed than generated.  NaN
    when nothing was observed.
    """
    seen = np.flatnonzero(thing.observed[thing.mesh.triangles].mean(axis=1) > 0.5)
    if not len(seen):
        return float("nan")
    return float(distance(truth, sample_surface(thing.mesh, samples, 0, seen)).mean())


# --- images ---


def psnr(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two images of equal shape, uint8 or float in [0, 1].

    mask: [H, W] bool, the pixels that count.  Infinite for equal images.
    """
    a, b = _unit(image), _unit(reference)
    if a.shape != b.shape:
        raise ValueError(f"images of shape {a.shape} and {b.shape} cannot be compared")
    squared = (a - b) ** 2
    mean = squared.mean() if mask is None else squared[mask].mean()
    return float(-10 * np.log10(mean)) if mean > 0 else float("inf")


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity of two images [H, W(, C)] (Wang et al. 2004).

    Gaussian window σ = 1.5 over 11×11 pixels, K1 = 0.01, K2 = 0.03, population covariances; the mean
    is over the pixels whose window lies inside the image, and over channels.
    """
    from scipy.ndimage import gaussian_filter

    a, b = _unit(image), _unit(reference)
    if a.shape != b.shape or min(a.shape[:2]) < 11:
        raise ValueError(f"images of shape {a.shape} and {b.shape} cannot be compared by 11×11 windows")

    def blur(values: np.ndarray) -> np.ndarray:
        sigma = (1.5, 1.5) + (0.0,) * (values.ndim - 2)
        return gaussian_filter(values, sigma, radius=(5, 5) + (0,) * (values.ndim - 2))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    quality = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    quality /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(quality[5:-5, 5:-5].mean())


def _unit(image: np.ndarray) -> np.ndarray:
    """float64 in [0, 1]."""
    return image / 255.0 if image.dtype == np.uint8 else image.astype(np.float64)


# --- instances ---


@dataclass(frozen=True)
class MaskScores:
    """Predicted against true instance masks over all views."""

    miou: float  # mean over true instances; those without a partner count 0
    iou: dict[int, float]  # true id → IoU with its partner
    partner: dict[int, int]  # true id → predicted id
    ap: float  # class-agnostic average precision, mean over IoU 0.5 … 0.95
    ap50: float
    ap25: float


def match(similarity: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of the one-to-one matching of [P, T] with the greatest sum (Hungarian).

    Pairs of similarity 0 are left out.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns) if similarity[r, c] > 0]


def mask_iou(
    predicted: Iterable[np.ndarray], truth: Iterable[np.ndarray]
) -> tuple[np.ndarray, list[int], list[int]]:
    """(IoU [P, T], predicted ids, true ids) of label images (UNLABELLED or an id), summed over views."""
    pairs: dict[tuple[int, int], int] = {}
    for a, b in zip(predicted, truth, strict=True):
        if a.shape != b.shape:
            raise ValueError(f"label images of shape {a.shape} and {b.shape} cannot be compared")
        found, counts = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_counts=True)
        for (p, t), count in zip(found.T.tolist(), counts.tolist()):
            pairs[p, t] = pairs.get((p, t), 0) + count
    ids_p = sorted({p for p, _ in pairs} - {UNLABELLED})
    ids_t = sorted({t for _, t in pairs} - {UNLABELLED})
    table = np.zeros((len(ids_p) + 1, len(ids_t) + 1))  # the last row and column are unlabelled pixels
    for (p, t), count in pairs.items():
        row = ids_p.index(p) if p != UNLABELLED else -1
        column = ids_t.index(t) if t != UNLABELLED else -1
        table[row, column] = count
    union = table.sum(axis=1)[:-1, None] + table.sum(axis=0)[None, :-1] - table[:-1, :-1]
    return table[:-1, :-1] / np.maximum(union, 1), ids_p, ids_t


def mask_scores(
    predicted: Iterable[np.ndarray],
    truth: Iterable[np.ndarray],
    confidence: Mapping[int, float] | None = None,
) -> MaskScores:
    """Scores of label images [H, W] (UNLABELLED or an id) of the same views in the same order.

    confidence: of predicted ids, for the average precision; 1 where not given.
    """
    iou, ids_p, ids_t = mask_iou(predicted, truth)
    pairs = match(iou)
    found = {ids_t[t]: float(iou[p, t]) for p, t in pairs}
    trust = np.array([(confidence or {}).get(i, 1.0) for i in ids_p])
    return MaskScores(
        miou=sum(found.values()) / len(ids_t) if ids_t else float("nan"),
        iou=found,
        partner={ids_t[t]: ids_p[p] for p, t in pairs},
        ap=float(np.mean([average_precision(iou, trust, t) for t in AP_THRESHOLDS])),
        ap50=average_precision(iou, trust, 0.5),
        ap25=average_precision(iou, trust, 0.25),
    )


def average_precision(iou: np.ndarray, confidence: np.ndarray, threshold: float) -> float:
    """Class-agnostic average precision at an IoU threshold: area under the precision envelope.

    iou: [P, T]; confidence: [P].  Predictions are taken from the most confident down, each gets the
    free true instance of highest IoU ≥ threshold, or is false.  NaN without true instances.
    """
    predictions, truths = iou.shape
    if not truths:
        return float("nan")
    free, hits = np.ones(truths, dtype=bool), np.zeros(predictions, dtype=bool)
    order = np.argsort(-np.asarray(confidence), kind="stable")
    for rank, p in enumerate(order):
        candidates = np.where(free, iou[p], -1.0)
        best = int(candidates.argmax())
        if candidates[best] >= threshold:
            free[best], hits[rank] = False, True
    precision = np.cumsum(hits) / np.arange(1, predictions + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / truths)


# --- completed objects against ground truth meshes ---


@dataclass(frozen=True)
class ObjectAccuracy:
    """One true object and the completed one that stands for it, if any."""

    truth_id: int
    name: str  # kind and id
    true_observed_fraction: float  # share of the true surface that views see; NaN where unknown
    instance_id: int | None = None
    volume_iou: float = 0.0
    chamfer: float = float("nan")  # metres
    f_score: float = 0.0  # at F_SCORE_THRESHOLD
    observed_offset: float = float("nan")  # metres, observed surface from the truth
    watertight: bool = False


@dataclass(frozen=True)
class ObjectsAccuracy:
    """Completed objects against the truth."""

    objects: tuple[ObjectAccuracy, ...]  # one per true object
    true_objects: int
    found: int  # true objects matched with volume IoU ≥ FOUND_IOU
    spurious: int  # completed objects that match no true one so well
    mean_volume_iou: float  # over the found
    mean_volume_iou_all: float  # over all true objects, 0 where not found
    mean_chamfer: float  # metres, over the found
    mean_f_score: float  # over the found
    mean_observed_offset: float  # metres, over the found
    all_watertight: bool  # every completed object, matched or not

    def as_dict(self) -> dict:
        """Plain values for JSON and tables; `objects` is a list of dicts."""
        return {**asdict(self), "objects": [asdict(o) for o in self.objects]}


def evaluate_objects(
    objects: Mapping[int, CompletedObject] | Iterable[CompletedObject], ground_truth: Path
) -> ObjectsAccuracy:
    """Match completed objects to `ground_truth`/meshes/<id>.ply by volume IoU and compare them.

    Names and observed fractions come from `ground_truth`/scene.json where there is one.  Raises
    InputError when there are no meshes.
    """
    things = list(objects.values() if isinstance(objects, Mapping) else objects)
    truths = load_truth(Path(ground_truth))
    iou = np.array([[volume_iou(thing.mesh, mesh, MATCH_CELLS) for mesh, _ in truths] for thing in things])
    iou = iou.reshape(len(things), len(truths))
    partner = {t: p for p, t in match(iou) if iou[p, t] >= FOUND_IOU}
    rows = []
    for t, (mesh, row) in enumerate(truths):
        rows.append(_accuracy(row, things[partner[t]], mesh) if t in partner else row)
    found = [row for row in rows if row.instance_id is not None]

    def mean(name: str) -> float:
        values = [getattr(row, name) for row in found]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return ObjectsAccuracy(
        objects=tuple(rows),
        true_objects=len(rows),
        found=len(found),
        spurious=len(things) - len(found),
        mean_volume_iou=mean("volume_iou"),
        mean_volume_iou_all=float(np.mean([row.volume_iou for row in rows])),
        mean_chamfer=mean("chamfer"),
        mean_f_score=mean("f_score"),
        mean_observed_offset=mean("observed_offset"),
        all_watertight=all(is_watertight(thing.mesh) for thing in things),
    )


def _accuracy(row: ObjectAccuracy, thing: CompletedObject, mesh: TriangleMesh) -> ObjectAccuracy:
    surfaces = compare_surfaces(thing.mesh, mesh)
    return ObjectAccuracy(
        truth_id=row.truth_id,
        name=row.name,
        true_observed_fraction=row.true_observed_fraction,
        instance_id=thing.instance_id,
        volume_iou=volume_iou(thing.mesh, mesh),
        chamfer=surfaces.chamfer,
        f_score=surfaces.f_score,
        observed_offset=observed_offset(thing, mesh),
        watertight=is_watertight(thing.mesh),
    )


def load_truth(folder: Path) -> list[tuple[TriangleMesh, ObjectAccuracy]]:
    """(mesh, empty row) of every true object in a ground truth folder, ordered by id.

    Raises InputError when there are none or a file is damaged.
    """
    import trimesh

    files = sorted(
        (f for f in (folder / "meshes").glob("*.ply") if f.stem.isdigit()), key=lambda f: int(f.stem)
    )
    if not files:
        raise InputError(f"There are no ground truth meshes meshes/<id>.ply in {folder}.")
    scene = folder / "scene.json"
    try:
        described = json.loads(scene.read_text())["objects"] if scene.is_file() else []
        known = {entry["id"]: entry for entry in described}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The ground truth {scene} cannot be read ({error}).") from error
    truths = []
    for file in files:
        try:
            mesh, number = trimesh.load(file, process=False, force="mesh"), int(file.stem)
        except Exception as error:  # trimesh raises several kinds for damaged files
            raise InputError(f"The ground truth mesh {file} cannot be read ({error}).") from error
        entry = known.get(number, {})
        row = ObjectAccuracy(
            number, f"{entry.get('kind', 'object')} {number}", entry.get("observed_fraction", float("nan"))
        )
        truths.append((TriangleMesh(np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int32)), row))
    return truths
