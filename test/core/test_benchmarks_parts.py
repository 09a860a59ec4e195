"""The benchmark of parts: which things it takes, what counts as found, the table."""

import numpy as np
import pytest

from benchmarks import parts
from benchmarks.part_tables import parts as section
from instascene_core.config import PartsConfig
from instascene_core.errors import InputError
from instascene_core.parts.network import TrainedParts
from instascene_core.parts.segment import PartLabels, PartLevel, PartSegmenter
from instascene_core.synthetic.anatomy import LEVEL_NAMES
from instascene_core.training.parts.things import TRAINING_KINDS


def test_the_things_are_unseen_and_of_two_ways_of_being_seen():
    assert not set(parts.KINDS) & set(TRAINING_KINDS) and len(parts.KINDS) > 40
    shown = list(parts.cases(1, ("mug", "teapot")))
    assert [(c.kind, c.seen) for c in shown] == [
        (kind, seen) for kind in ("mug", "teapot") for seen in parts.SEEN
    ]
    assert all(len(c.rows) == PartsConfig.points for c in shown[::2])
    assert all(300 <= len(c.rows) < 0.8 * PartsConfig.points for c in shown[1::2])


def labels(*called: str) -> PartLabels:
    names = tuple(dict.fromkeys(called))
    part = np.array([names.index(name) for name in called], dtype=np.int32)
    return PartLabels((PartLevel(part, names, np.ones(len(names))),))


def test_a_handles_iou_by_hand():
    said = labels("body", "handle", "handle", "handle")
    assert parts.handle_iou(said, np.array([False, False, True, True])) == pytest.approx(2 / 3)
    assert parts.handle_iou(said, np.array([True, False, False, False])) == 0
    assert parts.handle_iou(labels("body"), np.array([False])) == 0


def test_handles_by_hand_are_boxes_of_26_meshes():
    boxes = parts.handles_by_hand()
    assert len(boxes) == 26 and sum(len(b) > 0 for b in boxes.values()) == 8
    for each in boxes.values():
        assert (each[:, 3:] > each[:, :3]).all() and np.abs(each).max(initial=0) < 0.2
    inside = parts.in_boxes(np.array([[0.05, 0, 0], [0.0, 0, 0]]), boxes["coffeemug"])
    np.testing.assert_array_equal(inside, [True, False])
    assert not parts.in_boxes(np.zeros((2, 3)), boxes["apple"]).any()


def test_meshes_that_are_not_there_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="ContactDB"):
        parts.read_mesh(tmp_path, "apple")


def test_an_answer_that_is_the_truth_scores_one(monkeypatch):
    """A segmenter that is told the truth: figures, the handle found, the table."""
    shown = [case for case in parts.cases(1, ("mug", "pan")) if case.seen == parts.SEEN[0]]
    told = iter(shown)

    def truth(_self, points, _normals):
        thing = next(told).thing
        levels = []
        for level, names in enumerate(LEVEL_NAMES):
            index, part = np.unique(thing.instance[level], return_inverse=True)
            first = [int(thing.semantic[level][thing.instance[level] == i][0]) for i in index]
            called = tuple(names[k] for k in first)
            levels.append(PartLevel(part.astype(np.int32), called, np.ones(len(called))))
        return PartLabels(tuple(levels))

    monkeypatch.setattr(PartSegmenter, "label_points", truth)
    segmenter = PartSegmenter(TrainedParts(None, LEVEL_NAMES), PartsConfig())  # pyright: ignore[reportArgumentType]
    found = parts.figures(segmenter, shown)
    assert found["handles_found"] == 1 and found["with_handle"] == 2
    for level in found["levels"]:
        assert level["map50"] == pytest.approx(1.0) == level["shape_map50"]
    run = {"network": "package", "seen": parts.SEEN[0], "mark": "", **found}
    row = {"mesh": "coffeemug", "handles": 1, "iou": 0.7, "called_handle": 0.1, "right": True,
           "parts": [["body"], ["body"], ["body", "ear"]], "mark": ""}  # fmt: skip
    text = section({"runs": [run], "contactdb": [row, {**row, "mesh": "apple", "handles": 0}]})
    assert "1.00 (1.00)" in text and "100 % of 2" in text and "| coffeemug | 0.70 | yes | body, ear |" in text
