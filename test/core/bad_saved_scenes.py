"""Saved scenes that are broken or hostile; each case is put into `bad_inputs.CASES`."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from bad_inputs import CASES, Ground, Maker, case


def saved(name: str, change: Callable[[Any], Any], *words: str) -> Maker:
    """A JSON file of a saved scene changed; then `export` it, or what `words` say."""

    def make(ground: Ground) -> list[str]:
        folder = ground.saved()
        path = next(folder.glob(name))
        value = json.loads(path.read_text())
        new = change(value)
        path.write_text(json.dumps(value if new is None else new))
        verb, *rest = words or ("export",)
        return [verb, str(folder), *rest]

    return make


COMPLETE = ("complete", "--instance", "1")
EVAL = ("eval", "--ground-truth", "nowhere", "--protocol", "masks")
for _name, _make, _words in (
    ("object.json: volume a text", saved("objects/*/object.json", lambda v: v.update(volume_m3="big")), "volume_m3"),
    ("object.json: box of two sides", saved("objects/*/object.json", lambda v: v.update(dimensions_m=[1, 2])), "dimensions_m"),
    ("object.json: a pose of NaN", saved("objects/*/object.json", lambda v: v.update(position_m=[float("nan")] * 3)), "position_m"),
    ("object.json: a pose of 10^300 m", saved("objects/*/object.json", lambda v: v.update(position_m=[1e300, 0.0, 0.0])), "no length in metres"),
    ("object.json: a quaternion of zeros", saved("objects/*/object.json", lambda v: v.update(orientation_wxyz=[0, 0, 0, 0])), "no rotation"),
    ("object.json: an id that is a text", saved("objects/*/object.json", lambda v: v.update(instance_id="../x"), "eval", "--ground-truth", "nowhere"), "whole number"),
    ("object.json: notes a number", saved("objects/*/object.json", lambda v: v.update(notes=3)), "notes"),
    ("object.json: an id of 30 digits", saved("objects/*/object.json", lambda v: v.update(instance_id=10**30)), "out of range"),
    ("object.json: a list", saved("objects/*/object.json", lambda v: [1]), "no JSON object"),
    ("object.json: confidence missing", saved("objects/*/object.json", lambda v: v.pop("confidence") and None), "confidence"),
    ("scene.json: a list", saved("scene.json", lambda v: [v], *COMPLETE), "no JSON object"),
    ("scene.json: frames a number", saved("scene.json", lambda v: v.update(frames=3), *COMPLETE), "frames"),
    ("scene.json: width a text", saved("scene.json", lambda v: v["frames"][0]["camera"].update(width="8"), *COMPLETE), "width"),
    ("scene.json: width of 10^9", saved("scene.json", lambda v: v["frames"][0]["camera"].update(width=10**9), *COMPLETE), "at most 120 million"),
    ("scene.json: a pose of 2×2", saved("scene.json", lambda v: v["frames"][0].update(world_from_camera=[[1, 0], [0, 1]]), *COMPLETE), "world_from_camera"),
    ("scene.json: instances a text", saved("scene.json", lambda v: v.update(instances="none"), *COMPLETE), "instances"),
    ("scene.json: instances without kind", saved("scene.json", lambda v: v["instances"]["list"][0].pop("kind") and None, *COMPLETE), "kind"),
    ("scene.json: checksums a list", saved("scene.json", lambda v: v.update(checksums_sha256=[1]), *COMPLETE), "checksums_sha256"),
    ("scene.json: parameters a number", saved("scene.json", lambda v: v.update(parameters=5), *COMPLETE), "parameters"),
    ("scene.json: a negative setting", saved("scene.json", lambda v: v["parameters"]["export"].update(density=-1), *COMPLETE), "density"),
    ("scene.json: export settings a text", saved("scene.json", lambda v: v["parameters"].update(export="all")), "export settings"),
    ("scene.json: highest id a text", saved("scene.json", lambda v: v.update(highest_instance_id="9"), *COMPLETE), "highest_instance_id"),
    ("metrics.json: accuracy of numbers", saved("metrics.json", lambda v: v.update(accuracy={"objects": [3]}), *COMPLETE), "accuracy.objects"),
    ("metrics.json: accuracy of texts", saved("metrics.json", lambda v: v.update(accuracy={"objects": [{"name": "a", "volume_iou": "b"}]}), *COMPLETE), "volume_iou"),
    ("metrics.json: a list", saved("metrics.json", lambda v: [1], *EVAL[:1], "--ground-truth", "nowhere"), "no JSON object"),
):  # fmt: skip
    CASES[_name] = (_make, _words)


@case("scene.json: nested 100,000 deep", "nested too deeply")
def _(ground: Ground) -> list[str]:
    folder = ground.saved()
    (folder / "scene.json").write_text("[" * 100_000)
    return ["complete", str(folder), "--instance", "1"]


@case("metrics.json: nested 100,000 deep", "nested too deeply")
def _(ground: Ground) -> list[str]:
    folder = ground.saved()
    (folder / "metrics.json").write_text("[" * 100_000)
    return ["eval", str(folder), "--ground-truth", "nowhere"]


def mesh(change: Callable[[np.ndarray, np.ndarray], object]) -> Maker:
    """The first object's mesh.ply changed."""

    def make(ground: Ground) -> list[str]:
        from instascene_core.export.ply import FACE, VERTEX

        folder = ground.saved()
        path = next(folder.glob("objects/*/mesh.ply"))
        head, end, body = path.read_bytes().partition(b"end_header\n")
        count = int(head.split(b"element vertex ")[1].split()[0])
        vertices = np.frombuffer(body[: count * VERTEX.itemsize], VERTEX).copy()
        faces = np.frombuffer(body[count * VERTEX.itemsize :], FACE).copy()
        change(vertices, faces)
        path.write_bytes(head + end + vertices.tobytes() + faces.tobytes())
        return ["export", str(folder), "--formats", "stl"]

    return make


for _name, _make, _words in (
    ("a triangle of vertex 10^9", mesh(lambda v, f: f["indices"].__setitem__((0, 0), 10**9)), "not there"),
    ("a triangle of vertex -1", mesh(lambda v, f: f["indices"].__setitem__((0, 0), -1)), "not there"),
    ("a vertex of NaN", mesh(lambda v, f: v["x"].__setitem__(0, np.nan)), "finite"),
    ("a vertex at infinity", mesh(lambda v, f: v["y"].__setitem__(0, np.inf)), "finite"),
):
    CASES[f"mesh.ply: {_name}"] = (_make, _words)


@case("mesh.ply: says 10^18 vertices", "cut short")
def _(ground: Ground) -> list[str]:
    folder = ground.saved()
    path = next(folder.glob("objects/*/mesh.ply"))
    path.write_bytes(b"ply\nelement vertex 1000000000000000000\nend_header\n")
    return ["export", str(folder)]


@case("part_000.obj: a triangle of vertex 999", "not there")
def _(ground: Ground) -> list[str]:
    folder = ground.saved()
    path = next(folder.glob("objects/*/collision/part_000.obj"))
    path.write_text(path.read_text() + "f 1 2 999\n")
    return ["export", str(folder)]


@case("scene.ply: says 10^15 Gaussians", "cut short")
def _(ground: Ground) -> list[str]:
    import hashlib

    folder = ground.saved()
    head, end, body = (folder / "scene.ply").read_bytes().partition(b"end_header\n")
    count = head.split(b"element vertex ")[1].split()[0]
    content = head.replace(b"element vertex " + count, b"element vertex 1000000000000000") + end + body
    (folder / "scene.ply").write_bytes(content)
    facts = json.loads((folder / "scene.json").read_text())
    facts["checksums_sha256"]["scene.ply"] = hashlib.sha256(content).hexdigest()
    (folder / "scene.json").write_text(json.dumps(facts))
    return ["complete", str(folder), "--instance", "1"]
