"""The JSON files of a saved scene, checked when they are read: anyone may have edited them.

What is listed here must be there in this type; further entries, of another version, are let pass.
"""

import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instascene_core.errors import InputError
from instascene_core.transforms import MAX_LENGTH
from instascene_core.untrusted import one_line, read_json_object

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Matrix = tuple[Quaternion, Quaternion, Quaternion, Quaternion]


@dataclass(frozen=True)
class PoseFacts:
    position_m: Vector
    orientation_wxyz: Quaternion


@dataclass(frozen=True)
class NextViewFacts(PoseFacts):
    reveals: float


@dataclass(frozen=True)
class TextureFacts:
    texel_m: float
    observed_share: float


@dataclass(frozen=True)
class ObjectFacts(PoseFacts):
    """object.json."""

    instance_id: Any  # `instance_id_from` says what is wrong with one
    dimensions_m: Vector
    watertight: bool
    volume_m3: float
    observed_fraction: float
    uncertainty_m: float
    confidence: float
    prior: str
    duration_s: float
    convex_parts: int
    notes: tuple[str, ...]
    evidence: dict[str, float] = field(default_factory=dict)
    next_best_view: NextViewFacts | None = None
    frame: str = ""  # of the files beside it
    texture: TextureFacts | None = None
    world_offset_m: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class CameraFacts:
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class FrameFacts:
    name: Any  # `require_file_name`
    stamp: float
    camera: CameraFacts
    world_from_camera: Matrix


@dataclass(frozen=True)
class InstanceFacts:
    id: Any  # the same
    kind: str
    confidence: float
    box_min: Vector
    box_max: Vector
    gaussians: int
    views: int
    feature: tuple[float, ...]
    mask_score: float = 1.0


@dataclass(frozen=True)
class PlaneFacts:
    normal: Vector
    offset: float


@dataclass(frozen=True)
class InstancesFacts:
    list: tuple[InstanceFacts, ...]
    support_plane: PlaneFacts | None = None


@dataclass(frozen=True)
class BoxFacts(PoseFacts):
    name: str
    size_m: Vector
    color: Vector


@dataclass(frozen=True)
class ScoredFacts:
    id: Any
    kind: str
    confidence: float


@dataclass(frozen=True)
class ScoredListFacts:
    list: tuple[ScoredFacts, ...]


@dataclass(frozen=True)
class DecomposedFacts:
    """As much of scene.json as tells which instances there are."""

    instances: ScoredListFacts
    world_offset_m: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class MarkerFacts:
    """As much of scene.json as the files beside it need."""

    checksums_sha256: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputFacts:
    """How the recording was opened."""

    source: str = ""
    use_depth: bool = True
    use_masks: bool = False
    masks: str | None = None
    scale: float = 1.0
    topics: dict[str, Any] | None = None


@dataclass(frozen=True)
class SceneFacts:
    """scene.json."""

    frames: tuple[FrameFacts, ...]
    instances: InstancesFacts
    background_color: Vector | None = None
    room: tuple[BoxFacts, ...] = ()
    highest_instance_id: int = 0
    world_offset_m: Vector = (0.0, 0.0, 0.0)
    estimated_depth_unit_m: float = 1.0
    source: str = ""
    input: InputFacts = field(default_factory=InputFacts)
    parameters: dict[str, Any] = field(default_factory=dict)
    checksums_sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AccuracyRowFacts:
    name: str
    volume_iou: float
    instance_id: int | None = None
    observed_offset: float | None = None  # metres; no number where nothing was found


@dataclass(frozen=True)
class AccuracyFacts:
    objects: tuple[AccuracyRowFacts, ...] = ()


@dataclass(frozen=True)
class MetricsFacts:
    """As much of metrics.json as tables and reports take apart."""

    accuracy: AccuracyFacts | None = None


def read_object_facts(folder: Path) -> dict[str, Any]:
    """object.json of an object's folder.  InputError where an entry is missing or of another type."""
    path = folder / "object.json"
    facts = read_json_object(path, "The description")
    require_facts(facts, ObjectFacts, f"{path} does not describe an object")
    return facts


def read_scene_facts(folder: Path, kind: type = SceneFacts) -> dict[str, Any]:
    """scene.json of a saved scene; the same errors.  kind: what must be in it."""
    path = folder / "scene.json"
    facts = read_json_object(path, f"There is no saved scene in {folder}:")
    require_facts(facts, kind, f"{path} does not describe a scene")
    return facts


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of a saved scene; InputError where there is none, or a damaged one, to be asked before the
    long work."""
    path = folder / "metrics.json"
    metrics = read_json_object(path, f"There is no finished run in {folder}:")
    require_facts(metrics, MetricsFacts, f"{path} does not hold what was measured")
    return metrics


def require_facts(facts: dict[str, Any], kind: type, where: str) -> None:
    """InputError, beginning with `where`, where `facts` are not those of `kind`."""
    from pydantic import ValidationError

    _require_finite(facts, where)
    try:
        # From JSON, strict pydantic takes a list for a tuple, but no text for a number.
        _adapter(kind).validate_json(json.dumps(facts), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, value = ".".join(map(str, first["loc"])), one_line(repr(first["input"]), 60)
        if first["type"] == "missing":
            raise InputError(f"{where}: it has no '{name}'.") from error
        raise InputError(f"{where}: '{name}' is {value} ({first['msg'].lower()}).") from error


# Poses and sizes: of these a number that is none would spread.  Figures of quality may be unknown.
_FINITE = (
    "position_m", "orientation_wxyz", "dimensions_m", "volume_m3", "confidence", "mask_score",
    "world_from_camera", "normal", "offset", "box_min", "box_max", "feature", "world_offset_m",
    "size_m", "color",
)  # fmt: skip


_LENGTHS = ("position_m", "dimensions_m", "world_offset_m", "world_from_camera")


def _require_finite(facts: Any, where: str, name: str = "") -> None:
    """InputError where an entry of _FINITE holds NaN or infinity, a length is none, or a quaternion is 0."""
    if isinstance(facts, dict):
        for key, value in facts.items():
            if key != "parameters":
                _require_finite(value, where, key)
    elif isinstance(facts, list):
        if name == "orientation_wxyz" and not any(facts):
            raise InputError(f"{where}: '{name}' is {facts}, which is no rotation.")
        for value in facts:
            _require_finite(value, where, name)
    elif isinstance(facts, float) and name in _FINITE and not math.isfinite(facts):
        raise InputError(f"{where}: '{name}' is {facts}, not a finite number.")
    elif isinstance(facts, float) and name in _LENGTHS and abs(facts) > MAX_LENGTH:
        raise InputError(f"{where}: '{name}' has {facts:.3g}, which is no length in metres.")


@functools.cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
