"""Every broken or hostile input ends in one sentence, in bounded memory and time."""

import re
import tracemalloc

import bad_bags
import bad_saved_scenes  # noqa: F401 (with bad_bags it adds its cases to those of bad_inputs)
import numpy as np
import pytest
from bad_inputs import CASES, WEIGHT_CASES, Ground
from click_scene import RED, decomposed_scene
from dataset_folders import write_scene
from safetensors.numpy import save_file

from instascene_core import cli
from instascene_core.config_file import load_config
from instascene_core.datasets import bag_limits, write_bag
from instascene_core.errors import InputError
from instascene_core.export.saved_scene import save_scene
from instascene_core.scene.means import require_means
from instascene_core.segmentation.network import FORMAT, WEIGHTS, load_network
from instascene_core.weights import read_weights

MAX_BYTES = 300 * 2**20


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A saved scene with an object and its input, and bags of both storages."""
    folder = tmp_path_factory.mktemp("good")
    scene, _ = decomposed_scene()
    scene.complete(RED)
    save_scene(scene, folder / "scene", with_frames=True)
    for storage in ("mcap", "sqlite3"):
        write_bag(scene.frames[:3], folder / "bags" / storage, storage)
    return folder


def the_sentence(words, capsys) -> str:
    """What the command says on stderr; it must end with status 1 and one line."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    error = capsys.readouterr().err
    assert ended.value.code == 1, error
    assert len(error.strip().splitlines()) == 1 and error.startswith("instascene: "), error
    assert "Internal error" not in error and "Traceback" not in error
    return error


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_sentence_in_bounded_memory(name, good, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        bag_limits, "MAX_MESSAGE_BYTES", 2**26
    )  # memory is counted only where Python asks for it
    make, words = CASES[name]
    command = make(Ground(tmp_path, good / "scene", good / "bags"))
    tracemalloc.start()
    try:
        sentence = the_sentence(command, capsys)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(words, sentence), sentence
    assert peak < MAX_BYTES


@pytest.mark.parametrize("verb", ["run", "batch"])
@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("region=0 0 0 1 1", "six numbers"),
        ("export.mesh_uri=http://x", "Meshes are named by"),
        ("export.physics.file=nowhere.yaml", "nowhere.yaml cannot be read"),
        ("segmentation.segmenter=sam2", "segmentation.public.checkpoint"),
        ("segmentation.network.weights=nowhere", "nowhere"),
        ("completion.confidence.weights=nowhere", "nowhere"),
    ],
)
def test_what_a_setting_names_is_asked_for_before_the_work(verb, word, sentence, tmp_path, capsys):
    words = [verb, str(write_scene(tmp_path / "in")), "--output", str(tmp_path / "out"), "--set", word]
    assert sentence in the_sentence(words, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["completion.prior=queue"], "completion.queue.folder"),
        (["completion.prior=zero123plus"], "completion.zero123plus.checkpoint"),
        (["completion.prior=multiview", "completion.multiview.weights=nowhere"], "nowhere"),
    ],
)
def test_what_a_prior_lacks_is_told_before_the_work(words, sentence):
    (said,) = require_means(load_config(None, words))
    assert sentence in said and "the learned prior stands in" in said
    assert require_means(load_config(None, words), until="segment") == ()


@pytest.mark.parametrize("name", WEIGHT_CASES)
def test_bad_weights_are_one_sentence(name, tmp_path):
    change, words = WEIGHT_CASES[name]
    arrays, notes = read_weights(WEIGHTS, FORMAT, "segmenter")
    arrays = {key: value.copy() for key, value in arrays.items()}
    change(arrays, notes)
    save_file(arrays, tmp_path / "w.safetensors", metadata=notes)
    with pytest.raises(InputError, match=words) as caught:
        load_network(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


def test_the_good_inputs_are_good(good, tmp_path, capsys):
    """What the cases spoil works unspoilt: each must fail for its own reason."""
    ground = Ground(tmp_path, good / "scene", good / "bags")
    cli.main(["export", str(ground.saved()), "--formats", "stl"])
    for storage in ("mcap", "sqlite3"):
        from instascene_core.datasets import open_dataset

        assert len(list(open_dataset(good / "bags" / storage))) == 3


def test_there_are_many():
    assert len(CASES) + len(WEIGHT_CASES) >= 52


def test_compressed_parts_are_inflated_as_before(tmp_path):
    zstd = bad_bags.zstd()
    bounded = bag_limits.BoundedZstd(zstd)
    data = np.random.default_rng(0).integers(0, 9, 100_000, np.uint8).tobytes()
    assert bounded.decompress(zstd.compress(data)) == data
    assert bounded.decompress(zstd.compress(data) + zstd.compress(b"more")) == data + b"more"
    with pytest.raises(ValueError, match="cut short"):
        bounded.decompress(zstd.compress(data)[:-5])
    path = tmp_path / "a.zstd"
    path.write_bytes(zstd.compress(data))
    with path.open("rb") as file, bounded.open(file) as inflated:
        assert b"".join(iter(lambda: inflated.read(1000), b"")) == data
