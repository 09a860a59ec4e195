"""How close a completed mesh is to the truth, and what that says of many."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.completion_observations import seen_points
from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.metrics import sample_surface, volume_iou
from instascene_core.objects import CompletedObject

SAMPLES = 10_000
SCORES = ("iou", "chamfer", "f1", "f2", "f5mm", "f10mm", "unseen_recall")


def score(predicted: TriangleMesh, truth: TriangleMesh, frames: Sequence[Frame] = ()) -> dict[str, float]:
    """Volume IoU (NaN for an open mesh), Chamfer distance in shares of the diagonal, F at 1 % and 2 % of
    it and at 5 and 10 mm, recall of the unseen surface at 2 %; whether closed and in one piece."""
    diagonal = float(np.linalg.norm(np.ptp(truth.vertices, axis=0)))
    true_points = sample_surface(truth, SAMPLES, 1)
    to_truth = meshes.distance(truth, sample_surface(predicted, SAMPLES, 0))
    to_predicted = meshes.distance(predicted, true_points)

    def f_score(threshold: float) -> float:
        precision, recall = (to_truth <= threshold).mean(), (to_predicted <= threshold).mean()
        return float(2 * precision * recall / max(precision + recall, 1e-12))

    unseen = ~seen_points(true_points, list(frames), 0.01 * diagonal)
    closed = meshes.is_watertight(predicted)
    return {
        "iou": volume_iou(predicted, truth, 120_000) if closed else float("nan"),
        "chamfer": float(to_truth.mean() + to_predicted.mean()) / 2 / diagonal,
        "f1": f_score(0.01 * diagonal),
        "f2": f_score(0.02 * diagonal),
        "f5mm": f_score(0.005),
        "f10mm": f_score(0.010),
        "unseen_recall": float((to_predicted[unseen] <= 0.02 * diagonal).mean()) if unseen.any() else 1.0,
        "seen": float(1 - unseen.mean()),
        "sound": bool(closed and meshes.triangle_components(predicted)[0] == 1),
    }


def calibration(result: CompletedObject, truth: TriangleMesh) -> dict[str, list[float]]:
    """Of the vertices: mean error in metres by quartile of predicted uncertainty, and the shares whose
    error is below once and twice what was predicted."""
    error = meshes.distance(truth, result.mesh.vertices)
    predicted = result.vertex_uncertainty
    parts = np.array_split(np.argsort(predicted, kind="stable"), 4)
    return {
        "quartiles": [float(error[part].mean()) for part in parts],
        "covered": [float((error <= k * predicted).mean()) for k in (1, 2)],
    }


def mean(rows: Iterable[dict], name: str) -> float | None:
    """Mean of the finite values, or None."""
    values = np.array([row[name] for row in rows if row.get(name) is not None], dtype=float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def summary(rows: Sequence[dict], base: str = "carving") -> list[dict]:
    """Means per group of things and method, and each method against `base` case by case."""
    result = []
    reference = {row["case"]: row["iou"] for row in rows if row["method"] == base}
    for group in dict.fromkeys(row["group"] for row in rows):
        for method in dict.fromkeys(row["method"] for row in rows):
            chosen = [row for row in rows if row["group"] == group and row["method"] == method]
            if chosen:
                result.append({"group": group, "method": method, **_means(chosen, reference)})
    return result


def _means(rows: Sequence[dict], reference: dict[str, float]) -> dict:
    figures = {"cases": len(rows), **{name: mean(rows, name) for name in SCORES}}
    figures["sound"] = float(np.mean([row["sound"] for row in rows]))
    figures["seconds"], figures["cpu_seconds"] = mean(rows, "seconds"), mean(rows, "cpu_seconds")
    figures["seen"] = mean(rows, "seen")
    gains = [row["iou"] - reference[row["case"]] for row in rows if row["case"] in reference]
    gains = np.array([gain for gain in gains if np.isfinite(gain)])
    if len(gains):
        figures["compared"], figures["gain"] = len(gains), float(gains.mean())
        figures["at_least_as_good"] = float((gains >= -0.002).mean())
        figures["better"] = float((gains > 0).mean())
        figures["worst_loss"] = float(max(0.0, -gains.min()))
    known = [row for row in rows if "quartiles" in row]
    if known:
        figures["quartiles"] = np.mean([row["quartiles"] for row in known], axis=0).tolist()
        figures["covered"] = np.mean([row["covered"] for row in known], axis=0).tolist()
    return figures
