"""Broken and hostile inputs, one function each: it writes its input below a folder and says what to run.

`CASES`: name → (what makes it, what the sentence must hold).  A maker takes a `Ground` with good inputs to spoil
and returns the words of an `instascene` command.
"""

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dataset_folders import edit, write_scene
from safetensors.numpy import save_file

from instascene_core.segmentation.network import FORMAT, WEIGHTS
from instascene_core.weights import read_weights


@dataclass(frozen=True)
class Ground:
    """A folder to write to, and good inputs that may be copied: a saved scene, bags."""

    folder: Path
    scene: Path
    bags: Path  # mcap, sqlite3

    def saved(self) -> Path:
        return Path(shutil.copytree(self.scene, self.folder / "saved"))

    def bag(self, storage: str = "mcap") -> Path:
        return Path(shutil.copytree(self.bags / storage, self.folder / "bag"))


Maker = Callable[[Ground], list[str]]
CASES: dict[str, tuple[Maker, str]] = {}


def case(name: str, words: str) -> Callable[[Maker], Maker]:
    def keep(make: Maker) -> Maker:
        CASES[name] = (make, words)
        return make

    return keep


def run(source: Path, *words: str) -> list[str]:
    few = ("--set", "reconstruction.iterations=1")
    return [
        "run",
        str(source),
        "--output",
        str(source.parent / "out"),
        "--stop-after",
        "reconstruct",
        *few,
        *words,
    ]


# --- transforms.json and its files ---


def transforms(content: bytes) -> Maker:
    def make(ground: Ground) -> list[str]:
        folder = write_scene(ground.folder / "in")
        (folder / "transforms.json").write_bytes(content)
        return run(folder)

    return make


def changed(change: Callable[[dict], object]) -> Maker:
    def make(ground: Ground) -> list[str]:
        folder = write_scene(ground.folder / "in")
        edit(folder, change)
        return run(folder)

    return make


def first_frame(**values: Any) -> Maker:
    return changed(lambda meta: meta["frames"][0].update(values))


for _name, _content, _words in (
    ("nested 100,000 deep", b"[" * 100_000, "nested too deeply"),
    ("nested objects", b'{"frames":' * 50_000, "nested too deeply"),
    ("cut short", b'{"frames": [', "not readable JSON"),
    ("no text", b"\xff\xfe\x00\x01\x02", "not readable JSON"),
    ("a list", b"[1, 2]", "no JSON object"),
    ("frames a number", b'{"frames": 3}', "no frames"),
    ("frames of numbers", b'{"frames": [1, 2]}', "no file_path"),
    ("an integer of 5000 digits", b'{"frames": [' + b"9" * 5000 + b"]}", "out of range"),
    ("an integer of 400 digits", b'{"w": ' + b"9" * 400 + b', "frames": []}', "out of range"),
):
    CASES[f"transforms.json: {_name}"] = (transforms(_content), _words)

BIG = [[1, 0, 0, 1e300], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
for _name, _make, _words in (
    ("focal length a text", changed(lambda m: m.update(fl_x="10")), "'fl_x' is '10'"),
    ("focal length NaN", changed(lambda m: m.update(fl_x=float("nan"))), "'fl_x' is nan"),
    ("focal length negative", changed(lambda m: m.update(fl_x=-1.0)), "intrinsics"),
    ("width of 10^12", changed(lambda m: m.update(w=10**12)), "at most 120 million"),
    ("width zero", changed(lambda m: m.update(w=0)), "empty"),
    ("camera_model a list", changed(lambda m: m.update(camera_model=[1])), "camera model"),
    ("pose a text", first_frame(transform_matrix="eye"), "matrix of numbers"),
    ("pose ragged", first_frame(transform_matrix=[[1, 2], [3]]), "matrix of numbers"),
    ("pose NaN", first_frame(transform_matrix=[[float("nan")] * 4] * 4), "NaN or infinity"),
    ("pose 10^300 away", first_frame(transform_matrix=BIG), "no length in metres"),
    ("file_path a number", first_frame(file_path=3), "no file_path"),
    ("file_path of 5000 letters", first_frame(file_path="a" * 5000 + ".png"), "too long"),
    ("file_path with a NUL", first_frame(file_path="a\0b.png"), "missing"),
    ("file_path half a character", first_frame(file_path="\ud800.png"), "missing"),
    ("depth_file_path a list", first_frame(depth_file_path=[1]), "not the name of a file"),
    ("depth unit a text", changed(lambda m: m.update(depth_unit_scale_factor="mm")), "not a finite number"),
    ("depth unit 0", changed(lambda m: m.update(depth_unit_scale_factor=0)), "more than 0"),
    ("depth unit negative", first_frame(depth_unit_scale_factor=-0.001), "more than 0"),
    ("timestamp a list", first_frame(timestamp=[1]), "not a finite number"),
):
    CASES[f"transforms.json: {_name}"] = (_make, _words)


def png_header(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """A PNG that says it is as large as that, with next to nothing in it."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def spoiled_file(name: str, content: bytes, **meta: Any) -> Maker:
    def make(ground: Ground) -> list[str]:
        folder = write_scene(ground.folder / "in", **meta)
        (folder / name).write_bytes(content)
        return run(folder)

    return make


for _name, _make, _words in (
    ("of 13000×13000 pixels", spoiled_file("rgb/0.png", png_header(13_000, 13_000)), "at most 120 million"),
    ("of 60000×60000 pixels", spoiled_file("rgb/0.png", png_header(60_000, 60_000)), "million"),
    ("of 13000×13000 to be measured", spoiled_file("rgb/0.png", png_header(13_000, 13_000), w=None), "million"),
    ("without its pixels", spoiled_file("rgb/0.png", png_header(400, 400)), "truncated"),
    ("empty", spoiled_file("rgb/0.png", b""), "not an image"),
    ("a PostScript program", spoiled_file("rgb/0.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
    ("of depth, 13000×13000", spoiled_file("depth/0.png", png_header(13_000, 13_000, 16, 0)), "million"),
):  # fmt: skip
    CASES[f"image: {_name}"] = (_make, _words)


def npy(header: bytes, data: bytes = b"") -> Maker:
    def make(ground: Ground) -> list[str]:
        folder = write_scene(ground.folder / "in")
        text = header + b" " * (117 - len(header)) + b"\n"
        (folder / "d.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
        edit(folder, lambda meta: meta["frames"][0].update(depth_file_path="d.npy"))
        return run(folder)

    return make


def npy_of(kind: str, shape: str, data: bytes = bytes(384)) -> Maker:
    return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode(), data)


for _name, _make, _words in (
    ("says 10^12 values", npy_of("<f8", "(1000000, 1000000)"), "says that it holds"),
    ("says a negative shape", npy_of("<f4", "(-6, -16)"), "says that it holds"),
    ("says half of what it has", npy_of("<f4", "(6, 8)"), "says that it holds"),
    ("of Python objects", npy_of("|O", "(6, 8)"), "not numbers"),
    ("of texts", npy_of("<U2", "(6, 8)"), "not numbers"),
    ("of complex numbers", npy_of("<c8", "(6, 8)"), "not numbers"),
    ("whose header is a program", npy(b"__import__('os').system('false')"), "not a readable .npy"),
    ("whose header is deep", npy(b"(" * 100), "not a readable .npy"),
):
    CASES[f".npy: {_name}"] = (_make, _words)


# --- settings ---


def settings(text: str) -> Maker:
    def make(ground: Ground) -> list[str]:
        (ground.folder / "c.yaml").write_text(text)
        return run(write_scene(ground.folder / "in"), "--config", str(ground.folder / "c.yaml"))

    return make


def setting(word: str) -> Maker:
    return lambda ground: run(write_scene(ground.folder / "in"), "--set", word)


BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{" + ", ".join(f"k{j}: *a{i - 1}" for j in range(10)) + "}\n" for i in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [" + ", ".join([f"*a{i - 1}"] * 10) + "]}\n" for i in range(1, 10)
)
for _name, _make, _words in (
    ("aliases of aliases", settings(BOMB), "stands for more than"),
    ("merged aliases", settings(MERGES), "stands for more than"),
    ("a value within itself", settings("a: &a [*a]\n"), "refers to itself"),
    ("nested 100,000 deep", settings("[" * 100_000), "nested too deeply|not valid YAML"),
    ("a Python object", settings("a: !!python/object/apply:os.system [false]\n"), "not valid YAML"),
    ("a day that there is not", settings("a: 2030-99-99\n"), "not valid YAML"),
    ("an integer of 5000 digits", settings("a: " + "9" * 5000), "out of range"),
    ("an integer of 60 digits", settings(f"reconstruction: {{seed: {'9' * 60}}}"), "out of range"),
):
    CASES[f"YAML: {_name}"] = (_make, _words)
for _word, _words in (
    ("reconstruction.iterations=-5", "at least 1, not -5"),
    ("reconstruction.iterations=0", "at least 1, not 0"),
    ("reconstruction.iterations=99999999999", "at most"),
    ("reconstruction.means_lr=-0.1", "at least 0"),
    ("reconstruction.means_lr=.nan", "a finite number"),
    ("reconstruction.sh_lr=1.0e+30", "at most 1"),
    ("features.learning_rate=.inf", "a finite number"),
    ("max_frames=0", "at least 1"),
    ("max_frames=-1", "at least 1"),
    ("export.density=0", "more than 0"),
    ("export.density=-400", "more than 0"),
    ("export.friction=-1", "at least 0"),
    ("export.friction=.nan", "a finite number"),
    ("completion.seed=-1", "at least 0"),
    ("completion.num_samples=0", "at least 1"),
    ("association.majority=1.5", "at most 1"),
    ("segmentation.max_pixels=-1", "at least 1"),
    ("up=[0, 0, 0]", "direction"),
    ("max_frames=1.5e0", "type int"),
    ("up=[0, 1]", "direction"),
):
    CASES[f"setting: {_word}"] = (setting(_word), _words)


@case("weights: of another kind", "does not hold weights")
def _(ground: Ground) -> list[str]:
    return weights(ground, {"a": np.zeros(3, np.float32)}, {"format": "something"})


def weights(ground: Ground, arrays: dict[str, np.ndarray], notes: dict[str, str]) -> list[str]:
    path = ground.folder / "w.safetensors"
    save_file(arrays, path, metadata=notes)
    return segmenting(ground, path)


def segmenting(ground: Ground, path: Path) -> list[str]:
    words = run(write_scene(ground.folder / "in"), "--set", f"segmentation.network.weights={path}")
    return ["segment" if word == "reconstruct" else word for word in words]


def spoiled_weights(change: Callable[[dict, dict], object]) -> Maker:
    def make(ground: Ground) -> list[str]:
        arrays, notes = read_weights(WEIGHTS, FORMAT, "segmenter")
        arrays, notes = {k: v.copy() for k, v in arrays.items()}, dict(notes)
        change(arrays, notes)
        return weights(ground, arrays, notes)

    return make


# Loaded directly, too (see the test): a run reads them after its reconstruction.
WEIGHT_CASES: dict[str, tuple[Callable[[dict, dict], object], str]] = {
    "an array of another shape": (
        lambda a, n: a.update({next(iter(a)): np.zeros((2, 2), np.float32)}),
        "fit",
    ),
    "an array missing": (lambda a, n: a.pop(next(iter(a))), "fit"),
    "an array too many": (lambda a, n: a.update(more=np.zeros(1, np.float32)), "fit"),
    "NaN": (lambda a, n: next(iter(a.values())).flat.__setitem__(0, np.nan), "not finite"),
    "infinity": (lambda a, n: next(iter(a.values())).flat.__setitem__(0, np.inf), "not finite"),
    "widths of 10^9": (lambda a, n: n.update(widths="[1000000000, 1000000000]"), "widths"),
    "widths that would take all memory": (lambda a, n: n.update(widths="[65536, 65536, 65536]"), "fit"),
    "no widths": (lambda a, n: n.pop("widths"), "widths"),
    "widths of texts": (lambda a, n: n.update(widths='["a"]'), "widths"),
    "widths no JSON": (lambda a, n: n.update(widths="(1, 2)"), "widths"),
    "widths nested deep": (lambda a, n: n.update(widths="[" * 100_000), "widths"),
}


@case("weights: a header of 10^15 bytes", "not a readable weights file")
def _(ground: Ground) -> list[str]:
    path = ground.folder / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 10**15) + b"{}")
    return segmenting(ground, path)


# --- a saved scene ---


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


# --- bags ---


def zstd():
    """The module that `rosbags` inflates with."""
    import sys

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def zeros(size: int) -> bytes:
    """zstd of so many zeros, without having them in memory."""
    compressor, part = zstd().ZstdCompressor(), bytes(2**22)
    return b"".join(compressor.compress(part) for _ in range(size // len(part))) + compressor.flush()


@case("bag: a file of 200 kB that inflates to gigabytes", "inflates to more than")
def _(ground: Ground) -> list[str]:
    folder = ground.bag("sqlite3")
    file = next(folder.glob("*.db3"))
    (folder / f"{file.name}.zstd").write_bytes(zeros(2**31))
    file.unlink()
    text = (folder / "metadata.yaml").read_text().replace(file.name, f"{file.name}.zstd")
    text = text.replace("compression_format: ''", "compression_format: zstd")
    text = text.replace("compression_mode: ''", "compression_mode: file")
    assert "compression_mode: file" in text
    (folder / "metadata.yaml").write_text(text)
    return run(folder)


@case("bag: a message that inflates to gigabytes", "inflates to more than")
def _(ground: Ground) -> list[str]:
    import sqlite3

    folder = ground.bag("sqlite3")
    with sqlite3.connect(next(folder.glob("*.db3"))) as database:
        database.execute("UPDATE messages SET data = ?", (zeros(2**31),))
    text = (folder / "metadata.yaml").read_text()
    text = text.replace("compression_format: ''", "compression_format: zstd")
    text = text.replace("compression_mode: ''", "compression_mode: message")
    (folder / "metadata.yaml").write_text(text)
    return run(folder)


def metadata(text: str) -> Maker:
    def make(ground: Ground) -> list[str]:
        folder = ground.bag()
        (folder / "metadata.yaml").write_text(text)
        return run(folder)

    return make


for _name, _make, _words in (
    ("metadata of aliases", metadata(BOMB), "stands for more than"),
    ("metadata nested deep", metadata("[" * 100_000), "cannot be opened"),
    ("metadata a list", metadata("[1, 2]"), "cannot be opened"),
    ("metadata of texts", metadata("rosbag2_bagfile_information: {version: nine}"), "cannot be opened"),
):
    CASES[f"bag: {_name}"] = (_make, _words)


def with_sums(content: bytes) -> bytearray:
    """An mcap with the checksums that `rosbags` leaves out when it writes."""
    import zlib

    result, at, data_end = bytearray(content), 8, 0
    summary = struct.unpack("<Q", content[-28:-20])[0]
    while at < len(content) - 8:
        kind, size = content[at], struct.unpack("<Q", content[at + 1 : at + 9])[0]
        if kind == 0x06:  # a chunk: its sum is that of what was compressed
            length = struct.unpack("<I", content[at + 37 : at + 41])[0]
            assert length == 0  # not compressed
            result[at + 33 : at + 37] = struct.pack("<I", zlib.crc32(content[at + 49 : at + 9 + size]))
        if kind == 0x0F:
            data_end = at
        at += 9 + size
    result[data_end + 9 : data_end + 13] = struct.pack("<I", zlib.crc32(result[:data_end]))
    result[-12:-8] = struct.pack("<I", zlib.crc32(result[summary:-12]))
    return result


def flipped(at: Callable[[bytes], int]) -> Maker:
    """One bit of an mcap turned over."""

    def make(ground: Ground) -> list[str]:
        folder = ground.bag()
        file = next(folder.glob("*.mcap"))
        content = with_sums(file.read_bytes())
        content[at(bytes(content))] ^= 1
        file.write_bytes(content)
        return run(folder)

    return make


CASES["bag: a bit of the data turned over"] = (flipped(lambda c: len(c) // 3), "checksum of its data")
CASES["bag: a bit of the summary turned over"] = (flipped(lambda c: len(c) - 60), "checksum of its summary")
