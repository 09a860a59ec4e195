"""Broken and hostile inputs, one function each: it writes its input below a folder and says what to run.

`CASES`: name → (what makes it, what the sentence must hold).  A maker takes a `Ground` with good inputs to spoil
and returns the words of an `instascene` command.
"""

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
    ("a key twice", b'{"w": 6, "frames": [], "w": 7}', "the key 'w' stands twice"),
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
