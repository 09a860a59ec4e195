"""Completed objects against ground truth meshes.

Volume IoU decides which true object a completed one stands for: one to one, greatest sum.  A true object that
nothing stands for counts 0 in the means over all.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from instascene_core.datasets.formats.bop import BopReader, BopTruth
from instascene_core.errors import InputError
from instascene_core.geometry.mesh import is_watertight, require_mesh
from instascene_core.instances import InstanceId
from instascene_core.metrics.segmentation import hits, match, share
from instascene_core.metrics.surfaces import compare_surfaces, observed_offset, volume_iou
from instascene_core.objects import CompletedObject, TriangleMesh
from instascene_core.saved_facts import Vector, require_facts
from instascene_core.threads import side_by_side
from instascene_core.transforms import apply
from instascene_core.untrusted import read_json_object

logger = logging.getLogger(__name__)

MATCH_CELLS = 20_000  # enough to tell which object is which
FOUND_IOU = 0.25  # volume IoU from which a true object counts as found (the usual AP25)


@dataclass(frozen=True)
class TrueObjectFacts:
    id: int
    kind: str = "object"
    observed_fraction: float | None = None


@dataclass(frozen=True)
class TruthFacts:
    """As much of a ground truth's scene.json as is needed here."""

    objects: tuple[TrueObjectFacts, ...]
    world_offset_m: Vector = (0.0, 0.0, 0.0)


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
    """Completed objects against the truth: first what counts every true and every delivered object, then
    what looks at the found alone.  Shares of nothing are NaN."""

    true_objects: int
    instances: int  # completed objects that were delivered
    recall_50: float  # share of the true objects that one delivered meets at volume IoU 0.5
    precision_50: float  # share of the delivered objects that meet a true one at volume IoU 0.5
    recall_75: float
    precision_75: float
    mean_volume_iou_all: float  # over all true objects, 0 where not found
    mean_f_score_all: float  # over all true objects, 0 where not found
    spurious: int  # false objects: delivered ones that stand for no true one at FOUND_IOU
    found: int  # true objects matched with volume IoU ≥ FOUND_IOU
    mean_volume_iou: float  # over the found
    mean_chamfer: float  # metres, over the found
    mean_f_score: float  # over the found
    mean_observed_offset: float  # metres, over the found
    all_watertight: bool  # every completed object, matched or not
    objects: tuple[ObjectAccuracy, ...]  # one per true object

    def as_dict(self) -> dict:
        """Plain values for JSON and tables; `objects` is a list of dicts."""
        return {**asdict(self), "objects": [asdict(o) for o in self.objects]}


def evaluate_objects(
    objects: Mapping[InstanceId, CompletedObject] | Iterable[CompletedObject], ground_truth: Path
) -> ObjectsAccuracy:
    """Match completed objects to `ground_truth`/meshes/<id>.ply by volume IoU and compare them.

    Names and observed fractions come from `ground_truth`/scene.json where there is one.  Raises
    InputError when there are no meshes.
    """
    truths = load_truth(Path(ground_truth))
    accuracy = compare_objects(objects, truths)
    if sentence := all_apart(accuracy, [mesh for mesh, _ in truths]):
        logger.warning("%s", sentence)
    return accuracy


def all_apart(accuracy: ObjectsAccuracy, truth: Sequence[TriangleMesh]) -> str:
    """One sentence where objects were delivered and none meets a true one: another scene, frame or unit."""
    if accuracy.found or not accuracy.instances or not truth:
        return ""
    size = float(np.median([np.ptp(mesh.vertices, axis=0).max() for mesh in truth]))
    return (
        f"None of the {accuracy.instances} completed objects meets one of the {len(truth)} true ones, of "
        f"which the middle one is {size:.3g} m large; is this its truth, in its frame, in metres?"
    )


def compare_objects(
    objects: Mapping[InstanceId, CompletedObject] | Iterable[CompletedObject],
    truths: Sequence[tuple[TriangleMesh, ObjectAccuracy]],
) -> ObjectsAccuracy:
    """Match completed objects to true meshes (watertight, metres, the world frame), each with an empty row
    that names it."""
    things = list(objects.values() if isinstance(objects, Mapping) else objects)
    iou = np.array(
        [[volume_iou(t.mesh, _beside(t, mesh), MATCH_CELLS) for mesh, _ in truths] for t in things]
    )
    iou = iou.reshape(len(things), len(truths))
    partner = {t: p for p, t in match(iou) if iou[p, t] >= FOUND_IOU}

    def compared(t: int) -> ObjectAccuracy:
        mesh, row = truths[t]
        return _accuracy(row, things[partner[t]], mesh) if t in partner else row

    rows = list(side_by_side(compared, range(len(truths))))
    found = [row for row in rows if row.instance_id is not None]
    exact = _exact(iou, things, truths, {(p, t): rows[t].volume_iou for t, p in partner.items()})
    hit = {threshold: hits(exact, threshold) for threshold in (0.5, 0.75)}

    def mean(name: str) -> float:
        values = [getattr(row, name) for row in found]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return ObjectsAccuracy(
        true_objects=len(rows),
        instances=len(things),
        recall_50=share(hit[0.5], len(rows)),
        precision_50=share(hit[0.5], len(things)),
        recall_75=share(hit[0.75], len(rows)),
        precision_75=share(hit[0.75], len(things)),
        mean_volume_iou_all=share(sum(row.volume_iou for row in rows), len(rows)),
        mean_f_score_all=share(sum(row.f_score for row in rows), len(rows)),
        spurious=len(things) - len(found),
        found=len(found),
        mean_volume_iou=mean("volume_iou"),
        mean_chamfer=mean("chamfer"),
        mean_f_score=mean("f_score"),
        mean_observed_offset=mean("observed_offset"),
        all_watertight=all(is_watertight(thing.mesh) for thing in things),
        objects=tuple(rows),
    )


def _exact(
    coarse: np.ndarray,
    things: Sequence[CompletedObject],
    truths: Sequence[tuple[TriangleMesh, ObjectAccuracy]],
    known: Mapping[tuple[int, int], float],
) -> np.ndarray:
    """[P, T] volume IoU, as exact as in the rows wherever it may decide about a hit."""
    exact = coarse.copy()
    for p, t in np.argwhere(coarse >= FOUND_IOU).tolist():
        exact[p, t] = (
            known[p, t] if (p, t) in known else volume_iou(things[p].mesh, _beside(things[p], truths[t][0]))
        )
    return exact


def _beside(thing: CompletedObject, mesh: TriangleMesh) -> TriangleMesh:
    """A true mesh, of the world, in the frame that the completed object is in."""
    return mesh.moved(-thing.world_offset)


def _accuracy(row: ObjectAccuracy, thing: CompletedObject, mesh: TriangleMesh) -> ObjectAccuracy:
    mesh = _beside(thing, mesh)
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
    """(mesh in the world frame, empty row) of every true object in a ground truth folder or a scene of BOP,
    ordered by id.

    Where scene.json has a `world_offset_m` [3] it is added to the vertices, so that files of 32-bit numbers
    can be of a world far from the origin.
    Raises InputError when there are none or a file is damaged.
    """
    if BopReader.find(folder):
        return _truth_of_bop(folder)
    files = sorted(
        (f for f in (folder / "meshes").glob("*.ply") if f.stem.isdigit()), key=lambda f: int(f.stem)
    )
    if not files:
        raise InputError(f"There are no ground truth meshes meshes/<id>.ply in {folder}.")
    scene = folder / "scene.json"
    described = read_json_object(scene, "The ground truth") if scene.is_file() else {"objects": []}
    require_facts(described, TruthFacts, f"The ground truth {scene} cannot be read")
    known = {entry["id"]: entry for entry in described["objects"]}
    offset = np.array(described.get("world_offset_m", (0.0, 0.0, 0.0)), dtype=np.float64)
    others = sorted(f.name for f in (folder / "meshes").glob("*.ply") if not f.stem.isdigit())
    if others:
        named = ", ".join(others[:5])
        logger.warning("%s: %d meshes are not named <id>.ply and left out: %s", folder, len(others), named)
    truths = []
    for file in files:
        number = int(file.stem)
        entry = known.get(number, {})
        row = ObjectAccuracy(
            number, f"{entry.get('kind', 'object')} {number}", entry.get("observed_fraction", float("nan"))
        )
        truths.append((_read_mesh(file).moved(offset), row))
    return truths


def _truth_of_bop(folder: Path) -> list[tuple[TriangleMesh, ObjectAccuracy]]:
    """The annotated objects of a scene of BOP: their models (millimetres) at their places (metres)."""
    truths = []
    for instance in BopTruth(folder).instances:
        if instance.model is None:
            raise InputError(
                f"The model obj_{instance.object_id:06d}.ply of {folder} is not in models/ of its data set."
            )
        model, row = (
            _read_mesh(instance.model),
            ObjectAccuracy(instance.id, f"object {instance.object_id}", float("nan")),
        )
        vertices = apply(instance.world_from_model, model.vertices / 1000)
        truths.append((TriangleMesh(vertices, model.triangles), row))
    if not truths:
        raise InputError(f"There are no annotated objects in {folder}.")
    return truths


def _read_mesh(file: Path) -> TriangleMesh:
    import trimesh

    try:
        mesh = trimesh.load_mesh(file, process=False)
        found = TriangleMesh(np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int32))
    except Exception as error:  # trimesh raises several kinds for damaged files
        raise InputError(f"The ground truth mesh {file} cannot be read ({error}).") from error
    return require_mesh(found, file)
