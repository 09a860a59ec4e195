"""How close two surfaces are, and how much two solids share.

- Distances are unsquared, in metres, from points sampled uniformly on one mesh to the exact other
  mesh; the chamfer distance is the mean of the two directions' means;
- the F-score at t is the harmonic mean of the shares of either surface that lie within t of the other;
- volume IoU counts the centres of about `IOU_CELLS` cubic cells of the common bounding box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry.mesh import distance
from instascene_core.objects import CompletedObject

SURFACE_SAMPLES = 20_000
IOU_CELLS = 250_000
F_SCORE_THRESHOLD = 0.005  # metres


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
    from instascene_core.geometry.open3d_loader import open3d

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
