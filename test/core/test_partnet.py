"""PartNet's layouts on miniatures, and its preparing, training and testing."""

import json

import numpy as np
import partnet_folder
import pytest
import torch

from instascene_core.config import PartsConfig
from instascene_core.errors import InputError
from instascene_core.parts.network import PartNetwork, PartShape, TrainedParts, save_network
from instascene_core.training.parts.data import read_shard, shard_path
from instascene_core.training.parts.partnet import run
from instascene_core.training.parts.partnet.__main__ import main
from instascene_core.training.parts.partnet.shapes import CATEGORIES, level_names, shapes_of
from instascene_core.training.parts.train import PartTraining


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partnet")
    partnet_folder.write_h5(folder)
    return folder


def require_chair(shape) -> None:
    """The labels by hand: backs, bases, legs; the ornament is of no part."""
    leaves = partnet_folder.chair(0, 20)[2]
    coarse, fine = shape.semantic
    assert (coarse[np.isin(leaves, [4, 5])] == 0).all() and (coarse[np.isin(leaves, [6, 7])] == 1).all()
    assert (fine[np.isin(leaves, [6, 7])] == 1).all() and (shape.semantic[:, leaves == 3] == -1).all()
    assert (shape.instance[:, leaves == 3] == -1).all()
    assert len(set(shape.instance[0][leaves != 3])) == 2 and len(set(shape.instance[1][leaves != 3])) == 3
    assert shape.instance[1][leaves == 6][0] != shape.instance[1][leaves == 7][0]


def test_there_are_24_categories():
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 24


def test_instance_files_by_hand(root):
    assert level_names(root, "Chair") == (partnet_folder.NAMES[1], partnet_folder.NAMES[2])
    shapes = list(shapes_of(root, "Chair", "train"))
    assert [shape.name for shape in shapes] == ["0", "1"]
    require_chair(shapes[0])
    np.testing.assert_array_equal(shapes[0].points, partnet_folder.chair(0, 20)[0])


def test_a_folder_a_shape_says_the_same(root, tmp_path):
    partnet_folder.write_folders(tmp_path)
    (one,) = shapes_of(tmp_path, "Chair", "test")
    require_chair(one)
    first = next(shapes_of(root, "Chair", "train"))
    np.testing.assert_array_equal(one.semantic, first.semantic)
    np.testing.assert_array_equal(one.instance, first.instance)
    np.testing.assert_allclose(one.normals, first.normals, atol=1e-6)


@pytest.mark.parametrize(
    ("category", "split", "words"),
    [("Sofa", "test", "no category"), ("Chair", "all", "no split"), ("Bed", "test", "Bed-level-1.txt")],
)
def test_what_there_is_not_is_one_sentence(root, category, split, words):
    with pytest.raises(InputError, match=words):
        list(shapes_of(root, category, split))


def break_files(root, how: str) -> None:
    import h5py

    folder = root / "ins_seg_h5/Chair"
    if how == "no file":
        (folder / "test-00.h5").unlink()
    elif how == "no hdf5":
        (folder / "test-00.h5").write_bytes(b"not HDF5")
    elif how == "no json":
        (folder / "test-00.json").unlink()
    elif how == "shorter":
        (folder / "test-00.json").write_text(json.dumps([{"ins_seg": []}]))
    elif how == "no list":
        (folder / "test-00.json").write_text("{}")
    elif how == "no parts":
        (folder / "test-00.json").write_text(json.dumps([{"anno_id": "1"}] * 2))
    elif how == "bad parts":
        (folder / "test-00.json").write_text(json.dumps([{"ins_seg": [{"part_name": "a"}]}] * 2))
    else:
        with h5py.File(folder / "test-00.h5", "w") as file:
            file["pts"], file["label"] = np.zeros((2, 5, 3)), np.zeros((2, 4))
            if how == "group":
                file.create_group("nor")
            if how == "shapes":
                file["nor"] = np.zeros((2, 5, 3))


@pytest.mark.parametrize(
    "how",
    [
        "no file",
        "no hdf5",
        "no json",
        "shorter",
        "no list",
        "no parts",
        "bad parts",
        "no column",
        "group",
        "shapes",
    ],
)
def test_broken_instance_files_are_one_sentence(tmp_path, how):
    partnet_folder.write_h5(tmp_path, each=4)
    break_files(tmp_path, how)
    with pytest.raises(InputError) as told:
        list(shapes_of(tmp_path, "Chair", "test"))
    assert "\n" not in str(told.value) and "test-00" in str(told.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data/0/result.json", "[{}]"),
        ("data/0/result.json", None),
        ("data/0/point_sample/sample-points-all-label-10000.txt", "1\n"),
        ("data/0/point_sample/sample-points-all-label-10000.txt", "one\n"),
        ("data/0/point_sample/sample-points-all-pts-nor-rgba-10000.txt", "1 2 3\n"),
        ("merging_hierarchy_mapping/Chair.txt", "chair\n"),
        ("train_val_test_split/Chair.test.json", '[{"anno_id": "../0"}]'),
    ],
)
def test_broken_shape_folders_are_one_sentence(tmp_path, name, content):
    partnet_folder.write_folders(tmp_path, each=4)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as told:
        list(shapes_of(tmp_path, "Chair", "test"))
    assert "\n" not in str(told.value)


def test_prepared_shapes_are_shards_of_numbers(root, tmp_path):
    counts = run.prepare(root, "Chair", tmp_path)
    assert counts == {"train": 2, "train_shards": 1, "val": 2, "val_shards": 1}
    things = read_shard(shard_path(tmp_path, 0))
    assert len(things) == 2 and things[0].semantic.min() == -1
    assert np.abs(np.linalg.norm(np.ptp(things[0].points, axis=0)) - 2) < 1e-5


def test_training_and_testing_from_the_command_line(root, tmp_path, capsys, monkeypatch):
    small = PartShape((2, 2), widths=(4, 6), features=5, hidden=6)
    monkeypatch.setattr(run, "PartShape", lambda classes, **_: small)
    main(["prepare", str(root), str(tmp_path / "prepared"), "--category", "Chair"])
    main(["train", str(tmp_path / "prepared"), str(tmp_path / "weights"), "--category", "Chair",
          "--epochs", "1", "--batch", "2"])  # fmt: skip
    main(["test", str(root), str(tmp_path / "weights"), "--category", "Chair"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["Chair"]
    assert set(told) == {"level_1", "level_2"}
    assert told["level_2"]["parts"] == 6 and told["level_2"]["shapes"] == 2
    assert 0 <= told["level_1"]["map"] <= 100


def test_weights_of_another_category_are_refused(root, tmp_path, capsys):
    trained = TrainedParts(PartNetwork(PartShape((1,), widths=(4, 6))), (("lamp",),))
    save_network(trained, tmp_path / "Chair.safetensors", {})
    with pytest.raises(SystemExit) as ended:
        main(["test", str(root), str(tmp_path), "--category", "Chair"])
    assert ended.value.code == 1 and "not of the parts of Chair" in capsys.readouterr().err


def test_prepared_data_are_told_from_other_folders(tmp_path):
    with pytest.raises(InputError, match=r"partnet\.json"):
        run.train_category(tmp_path, tmp_path / "w.safetensors", PartTraining())


def test_a_network_that_knows_the_places_scores_all(root):
    """Answers by place instead of a network's: the whole way from shapes to scores."""

    class Knows(torch.nn.Module):
        def forward(self, points, normals, counts):
            from instascene_core.parts.network import PartPrediction

            base = points[:, 2] < 0
            logits = torch.stack([~base * 9.0, base * 9.0], dim=1)
            leg = torch.sign(points[:, 0]) * base
            fine = torch.stack([0.7 * leg, 0 * leg, 0 * leg], dim=1) - points
            coarse = torch.zeros_like(points) - points
            return PartPrediction((logits, logits), (coarse, fine), ())

    from instascene_core.metrics.parts import part_scores
    from instascene_core.parts.segment import PartSegmenter

    names = level_names(root, "Chair")
    config = PartsConfig(passes=1, bandwidth=0.1, smallest=1)
    segmenter = PartSegmenter(TrainedParts(Knows(), names), config)  # pyright: ignore[reportArgumentType]
    judged = list(run._judged(segmenter, shapes_of(root, "Chair", "test")))
    for level in range(2):
        found = part_scores([one[level] for one in judged])
        assert found.mean_ap == pytest.approx(1.0) and found.shape_mean_ap == pytest.approx(1.0)
