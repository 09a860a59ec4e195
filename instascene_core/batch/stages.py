"""The tasks of a recording, as a worker does them: from files to files.

    look → reconstruct → segment → complete, for each object → finish

A task reads what the one before has written (`Places.stages`) and writes one file, whole or not at all.
Only paths and small facts pass between processes.  Together they make what `instascene run` makes, to the
last bit.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instascene_core.batch.frozen_files import FrozenFile, is_whole, read_frozen, write_frozen
from instascene_core.batch.plan import Places, Plan
from instascene_core.batch.records import (
    DONE,
    EMPTY,
    FAILED,
    OBJECT_FACTS,
    Record,
    now,
    read_record,
    write_record,
)
from instascene_core.batch.tasks import Task
from instascene_core.contents import code_version, content_of
from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_objects
from instascene_core.export.saved_scene import put_metrics, require_savable, save_scene
from instascene_core.files import write_json
from instascene_core.instances import InstanceId
from instascene_core.metrics import evaluate_objects
from instascene_core.owned_folder import finish as finish_save
from instascene_core.saved_facts import read_object_facts
from instascene_core.scene import Scene, nothing_found
from instascene_core.scene.results import merged_metrics
from instascene_core.untrusted import read_json_object


def perform(plan: Plan, task: Task) -> dict[str, Any]:
    """Do the task; facts for whoever decides what comes next.  Raises InputError for a bad recording."""
    if plan.code != code_version():
        raise InputError(
            f"The worker has version {code_version()} of instascene, the command {plan.code}; install "
            "the same on all nodes."
        )
    threads = max(1, int(getattr(plan.batch, task.stage).cpus))
    return _WORK[task.stage](plan, task, Places.of(plan, task.recording), threads)


# ── the stages ────────────────────────────────────────────────────────────────────────────────────


def _look(plan: Plan, task: Task, places: Places, _threads: int) -> dict[str, Any]:
    """What there is already: `finished`, or `key`, `reconstructed`, `objects` (None: not segmented) and
    `completed`."""
    path = task.recording.path
    if not path.exists():
        raise InputError(f"There is nothing at {path}.")
    key = plan.key(content_of(path, places.content).digest)
    known = read_record(places.record)
    if known is not None and known.is_finished:
        finish_save(places.scene)
        there = (places.scene / "scene.json").is_file()
        if known.key == key and there:
            return {"finished": known.status}
        if there and known.source != str(path):
            raise InputError(
                f"{places.scene} holds the scene of another recording, {known.source}; remove it, or choose "
                "another name or output."
            )
    _remove_stages(places, but=places.stages(key))
    files = _Files(places.stages(key))
    reconstructed = is_whole(files.reconstruction)
    objects = files.objects() if reconstructed and is_whole(files.decomposition) else None
    completed = [number for number in objects or () if files.is_answered(number)]
    return {"key": key, "reconstructed": reconstructed, "objects": objects, "completed": completed}


def _reconstruct(plan: Plan, task: Task, places: Places, threads: int) -> dict[str, Any]:
    """Section 3 of the paper, from the recording."""
    effort, path = _Effort(threads), task.recording.path
    dataset = plan.reading.open(path)
    require_savable(places.scene, path, dataset.names)
    scene = Scene(plan.config)
    scene.corrections, scene.origin = dataset.corrections, plan.reading.origin(dataset)
    for frame in dataset:
        scene.add_frame(frame)
    scene.note(dataset.reading_metrics)
    scene.reconstruct()
    truth = dataset.ground_truth
    value = {
        "state": scene.state, "origin": scene.origin, "corrections": scene.corrections,
        "ground_truth": None if truth is None else str(truth), "effort": effort.spent(),
    }  # fmt: skip
    write_frozen(_Files(places.stages(task.key)).reconstruction, value)
    return {}


def _segment(plan: Plan, task: Task, places: Places, threads: int) -> dict[str, Any]:
    """Sections 3.1 and 3.2; `objects`: ids of what is to be completed."""
    effort, files = _Effort(threads), _Files(places.stages(task.key))
    first = read_frozen(files.reconstruction)
    scene = _scene(plan, first.value, first.value["state"])
    found = [int(instance.id) for instance in scene.segment().objects]
    value = {"state": scene.state, "objects": found, "effort": effort.spent()}
    write_frozen(files.decomposition, value, first)
    return {"objects": found}


def _complete(plan: Plan, task: Task, places: Places, threads: int) -> dict[str, Any]:
    """Section 4, for one object.  Too little seen of it is an answer, too."""
    effort, files = _Effort(threads), _Files(places.stages(task.key))
    first, second = files.read()
    scene, number = _scene(plan, first.value, second.value["state"]), InstanceId(task.instance)
    try:
        state = scene.completed_alone(number)
    except InputError as error:
        write_json(files.failure(number), {"failure": str(error), "effort": effort.spent()})
        return {"failure": str(error)}
    measured = {name: state.metrics[name] for name in ("peak_memory_mb",) if name in state.metrics}
    for name in ("seconds", "memory_mb"):
        measured[name] = {"complete": state.metrics[name]["complete"]}
    value = {"object": state.objects[number], "metrics": measured, "effort": effort.spent()}
    write_frozen(files.object(number), value)
    return {}


def _finish(plan: Plan, task: Task, places: Places, threads: int) -> dict[str, Any]:
    """Objects laid to rest together, the scene saved, the record written; its status."""
    files = _Files(places.stages(task.key))
    record = _saved(plan, task, places, files, _Effort(threads))
    write_record(places.record, record)
    if record.is_finished:
        _remove_stages(places)
    return {"status": record.status, "sentence": record.sentence, "objects": len(record.objects)}


_WORK: dict[str, Callable[[Plan, Task, Places, int], dict[str, Any]]] = {
    "look": _look, "reconstruct": _reconstruct, "segment": _segment, "complete": _complete, "finish": _finish,
}  # fmt: skip


# ── what they share ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Files:
    """What the stages of one result hand to the next."""

    folder: Path

    @property
    def reconstruction(self) -> Path:
        return self.folder / "reconstruction.safetensors"

    @property
    def decomposition(self) -> Path:
        return self.folder / "decomposition.safetensors"

    def object(self, number: int) -> Path:
        return self.folder / f"object_{number}.safetensors"

    def failure(self, number: int) -> Path:
        """Why an object cannot be completed, in place of `object`."""
        return self.folder / f"object_{number}.json"

    def is_answered(self, number: int) -> bool:
        return is_whole(self.object(number)) or self.failure(number).is_file()

    def read(self) -> tuple[FrozenFile, FrozenFile]:
        """(the reconstruction, the decomposition)."""
        first = read_frozen(self.reconstruction)
        return first, read_frozen(self.decomposition, first)

    def objects(self) -> list[int]:
        """Ids of what is to be completed."""
        return list(self.read()[1].value["objects"])


class _Effort:
    """What a task takes; it computes with so many threads."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        """Until now."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "processor_seconds": time.process_time() - self._processor,
        }


def _scene(plan: Plan, first: Mapping[str, Any], state: Any) -> Scene:
    """A scene at `state`, of a recording whose reconstruction is `first`."""
    # Only the reconstruction asks for the device; a worker of another stage may have none.
    anywhere = replace(plan.config.reconstruction, device="auto")
    scene = Scene(replace(plan.config, reconstruction=anywhere))
    scene.config = plan.config
    scene.state, scene.origin, scene.corrections = state, dict(first["origin"]), first["corrections"]
    return scene


def _saved(plan: Plan, task: Task, places: Places, files: _Files, effort: _Effort) -> Record:
    """The scene with its objects, in its folder; and how it ended."""
    first, second = files.read()
    scene = _scene(plan, first.value, second.value["state"])
    objects, metrics, efforts, failures = [], {}, [], dict(task.broken)
    for number in second.value["objects"]:
        if files.failure(number).is_file():
            answer = read_json_object(files.failure(number))
            failures[number] = str(answer["failure"])
        elif number in task.broken:
            continue
        else:
            answer = read_frozen(files.object(number)).value
            objects.append(answer["object"])
            metrics = merged_metrics(metrics, answer["metrics"])
        efforts.append(answer["effort"])
    scene.take_objects(objects, metrics)
    save_scene(scene, places.scene, source=str(task.recording.path))
    truth = first.value["ground_truth"]
    if truth is not None:
        delivered = load_objects(places.scene) if scene.objects else {}
        accuracy = evaluate_objects(delivered, Path(truth)).as_dict()
        put_metrics(places.scene, {**scene.metrics, "accuracy": accuracy})
    spent = {"reconstruct": [first.value["effort"]], "segment": [second.value["effort"]], "complete": efforts}
    spent["finish"] = [effort.spent()]
    return _record(plan, task, places, scene, failures, spent)


def _record(
    plan: Plan, task: Task, places: Places, scene: Scene, failures: Mapping[int, str], spent: Mapping
) -> Record:
    """spent: stage → what each of its tasks took."""
    nothing = nothing_found(scene, {InstanceId(n): why for n, why in failures.items()})
    status, sentence = (DONE, "") if nothing is None else (EMPTY, str(nothing))
    if task.broken:
        number, why = next(iter(task.broken.items()))
        status, sentence = FAILED, f"Object {number} was not completed: {why}"
    facts = [read_object_facts(places.scene / "objects" / str(number)) for number in sorted(scene.objects)]
    together = {
        what: {stage: float(sum(one[what] for one in efforts)) for stage, efforts in spent.items()}
        for what in ("seconds", "processor_seconds")
    }
    return Record(
        name=task.recording.name,
        source=str(task.recording.path),
        status=status,
        sentence=sentence,
        stage="complete" if task.broken else "",
        key=task.key,
        code=plan.code,
        finished=now(),
        frames=len(scene.frames),
        gaussians=len(scene.require_gaussians()),
        psnr=scene.psnr if scene.psnr == scene.psnr else None,
        objects=tuple({name: fact[name] for name in OBJECT_FACTS} for fact in facts),
        not_completed={str(number): why for number, why in sorted(failures.items())},
        **together,
    )


def _remove_stages(places: Places, but: Path | None = None) -> None:
    """Remove what stages handed to the next, of all results but one."""
    with suppress(OSError):  # what is still open elsewhere goes with the next call
        for folder in places.state.glob("stages-*"):
            if folder != but:
                shutil.rmtree(folder)
