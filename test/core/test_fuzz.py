"""Inputs at random, from good ones by damage: every one is read, or refused with one sentence.

The draws are the same each time.  `pytest -m slow` tries ten times as many.
"""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_folders import write_scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from instascene_core.camera import PinholeCamera
from instascene_core.config import Config
from instascene_core.config_file import config_with, load_config, settings_of
from instascene_core.datasets import open_dataset, write_bag
from instascene_core.errors import InputError
from instascene_core.export.object_loading import load_object
from instascene_core.frame import Frame
from instascene_core.saved_facts import MarkerFacts, SceneFacts, require_facts
from instascene_core.segmentation.network import load_network, save_network
from instascene_core.transforms import look_at
from instascene_core.weights import read_weights

FORMAT = "fuzz 1"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "..", "/", "\0", "rgb/0.png", "1", "nan", 10**400, -1, 0, 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
damage = st.tuples(st.floats(0, 1, exclude_max=True), json_values, st.sampled_from(["set", "drop", "add"]))
flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)
cuts = st.none() | st.floats(0, 1)


def few_and_many(examples: int):
    """Marks a test twice: some examples in every run, ten times as many in a slow one."""

    def mark(test):
        return pytest.mark.parametrize(
            "examples", [pytest.param(examples), pytest.param(10 * examples, marks=pytest.mark.slow)]
        )(test)

    return mark


def tried(examples: int, attempt, *strategies) -> None:
    """Let `attempt` have so many draws; it may raise InputError of one line, nothing else."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*strategies))
    def draw(values):
        try:
            attempt(*values)
        except InputError as error:
            assert str(error) and "\n" not in str(error), repr(str(error))

    draw()


def places(value, path=()):
    """The path of every value inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def damaged(value, where: float, new, how: str):
    """A copy of a JSON value with one place set, dropped or added to."""
    value = copy.deepcopy(value)
    every = list(places(value))[1:]
    *way, last = every[int(where * len(every))]
    inner = value
    for key in way:
        inner = inner[key]
    if how == "drop":
        del inner[last]
    elif how == "add" and isinstance(inner[last], dict):
        inner[last]["more"] = new
    elif how == "add" and isinstance(inner[last], list):
        inner[last].append(new)
    else:
        inner[last] = new
    return value


def mangled(content: bytes, changes, cut) -> bytes:
    content = bytearray(content)
    for where, value in changes:
        if content:
            content[int(where * len(content))] = value
    return bytes(content if cut is None else content[: int(cut * len(content))])


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value), errors="surrogatepass")


@few_and_many(60)
def test_transforms(tmp_path, examples):
    folder = write_scene(tmp_path)
    good = json.loads((folder / "transforms.json").read_text())

    def attempt(first, second):
        write_json(folder / "transforms.json", damaged(damaged(good, *first), *second))
        list(open_dataset(folder, use_masks=True))

    tried(examples, attempt, damage, damage)


@few_and_many(60)
def test_transforms_of_any_bytes_and_images(tmp_path, examples):
    folder = write_scene(tmp_path)
    good = {name: (folder / name).read_bytes() for name in ("transforms.json", "rgb/0.png", "depth/0.png")}

    def attempt(name, changes, cut):
        (folder / name).write_bytes(mangled(good[name], changes, cut))
        try:
            list(open_dataset(folder, use_masks=True))
        finally:
            (folder / name).write_bytes(good[name])

    tried(examples, attempt, st.sampled_from(sorted(good)), flips, cuts)


def small_frames() -> list[Frame]:
    generator = np.random.default_rng(0)
    camera = PinholeCamera(6, 4, 5.0, 5.0, 3.0, 2.0)
    return [
        Frame(
            f"{i:06d}",
            10.0 + 0.1 * i,
            camera,
            look_at(np.array([1.0, 0.1 * i, 0.5]), np.zeros(3)),
            generator.integers(0, 255, (4, 6, 3), np.uint8),
            generator.uniform(0.3, 2.0, (4, 6)).astype(np.float32),
        )
        for i in range(2)
    ]


@few_and_many(25)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bags(tmp_path, storage, examples):
    write_bag(small_frames(), tmp_path / "good", storage)
    names = sorted(p.name for p in (tmp_path / "good").iterdir())

    def attempt(name, changes, cut):
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        path = tmp_path / "bad" / name
        path.write_bytes(mangled(path.read_bytes(), changes, cut))
        list(open_dataset(tmp_path / "bad", use_masks=True))

    tried(examples, attempt, st.sampled_from(names), flips, cuts)


@few_and_many(120)
def test_settings(examples):
    names = sorted(settings_of(Config()))
    tried(
        examples,
        lambda name, value: config_with(Config(), {name: value}),
        st.sampled_from([*names, "nothing"]),
        json_values,
    )


@few_and_many(60)
def test_settings_of_any_text(tmp_path, examples):
    good = b"reconstruction:\n  iterations: 10\n  finer_at: [0.1, 0.5]\nregion: &a auto\nup: [0, 0, 1]\n"

    def attempt(changes, cut, word):
        (tmp_path / "c.yaml").write_bytes(mangled(good, changes, cut))
        load_config(tmp_path / "c.yaml", [f"reconstruction.iterations={word}"])

    tried(examples, attempt, flips, cuts, st.text(max_size=12))


OBJECT = {
    "instance_id": 1, "position_m": [0.0, 0, 0], "orientation_wxyz": [1.0, 0, 0, 0],
    "dimensions_m": [1.0, 1, 1], "volume_m3": 1.0, "watertight": True, "observed_fraction": 0.5,
    "uncertainty_m": 0.1, "confidence": 0.5, "prior": "x", "duration_s": 1.0, "convex_parts": 1,
    "notes": ["a"],
    "next_best_view": {"position_m": [0.0, 0, 0], "orientation_wxyz": [1.0, 0, 0, 0], "reveals": 0.5},
}  # fmt: skip
EYE = np.eye(4).tolist()
SCENE = {
    "frames": [{
        "name": "a", "stamp": 0.0, "world_from_camera": EYE,
        "camera": {"width": 4, "height": 4, "fx": 1.0, "fy": 1.0, "cx": 2.0, "cy": 2.0},
    }],
    "instances": {
        "list": [{
            "id": 1, "kind": "object", "confidence": 1.0, "box_min": [0.0, 0, 0], "box_max": [1.0, 1, 1],
            "gaussians": 3, "views": 2, "feature": [0.0, 1.0],
        }],
        "support_plane": {"normal": [0.0, 0, 1], "offset": 0.0},
    },
    "background_color": [0.0, 0, 0], "highest_instance_id": 1, "parameters": {},
    "checksums_sha256": {"a": "b"},
}  # fmt: skip


def write_object(folder: Path, facts) -> None:
    from instascene_core.export.ply import FACE, VERTEX

    vertices, faces = np.zeros(4, VERTEX), np.zeros(4, FACE)
    vertices["x"][1], vertices["y"][2], vertices["z"][3] = 1, 1, 1
    faces["indices"] = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]
    head = b"ply\nelement vertex 4\nelement face 4\nend_header\n"
    (folder / "mesh.ply").write_bytes(head + vertices.tobytes() + faces.tobytes())
    (folder / "collision").mkdir(exist_ok=True)
    (folder / "collision/part_000.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\n")
    write_json(folder / "object.json", facts)


@few_and_many(60)
def test_objects(tmp_path, examples):
    write_object(tmp_path, OBJECT)
    assert load_object(tmp_path).volume == 1.0
    names = ("object.json", "mesh.ply", "collision/part_000.obj")
    good = {name: (tmp_path / name).read_bytes() for name in names}

    def attempt(change, name, changes, cut, by_bytes):
        try:
            if by_bytes:
                (tmp_path / name).write_bytes(mangled(good[name], changes, cut))
            else:
                write_json(tmp_path / "object.json", damaged(OBJECT, *change))
            load_object(tmp_path)
        finally:
            for file, content in good.items():
                (tmp_path / file).write_bytes(content)

    tried(examples, attempt, damage, st.sampled_from(names), flips, cuts, st.booleans())


@few_and_many(80)
def test_scene_descriptions(examples):
    require_facts(SCENE, SceneFacts, "It")

    def attempt(change, kind):
        require_facts(json.loads(json.dumps(damaged(SCENE, *change))), kind, "It")

    tried(examples, attempt, damage, st.sampled_from([SceneFacts, MarkerFacts]))


@few_and_many(60)
def test_weights(tmp_path, examples):
    save_network(load_network(), tmp_path / "good.safetensors", {})
    content = (tmp_path / "good.safetensors").read_bytes()
    head = int.from_bytes(content[:8], "little") + 8
    small = save({"a": np.ones((3, 2), np.float32)}, metadata={"format": FORMAT})

    def attempt(changes, cut, whole):
        path = tmp_path / "bad.safetensors"
        if whole:
            path.write_bytes(mangled(content[:head], changes, None) + content[head:])
            load_network.__wrapped__(path)
        else:
            path.write_bytes(mangled(small, changes, cut))
            read_weights(path, FORMAT, "model")

    tried(examples, attempt, flips, cuts, st.booleans())
