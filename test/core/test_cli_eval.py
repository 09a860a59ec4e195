"""`instascene eval` by protocol, from folders."""

import json

import pytest
import trimesh
from test_metrics_protocols import mask, output  # noqa: F401  (a fixture)

from instascene_core import cli


@pytest.fixture
def saved(output):  # noqa: F811
    (output / "metrics.json").write_text(json.dumps({"psnr": 30.0}))
    return output


def test_a_protocol_adds_its_figures(saved, tmp_path, capsys):
    mask(tmp_path / "gt/test_mask/1/apple.png", [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5, [0] * 5])
    cli.main(["eval", str(saved), "--ground-truth", str(tmp_path / "gt"), "--protocol", "lerf-mask"])
    metrics = json.loads((saved / "metrics.json").read_text())
    assert metrics["psnr"] == 30.0 and metrics["segmentation (lerf-mask)"]["miou"] == 1.0
    shown = capsys.readouterr().out
    assert "segmentation (lerf-mask): miou" in shown and "iou of apple" in shown
    assert "iou of apple" in (saved / "report.html").read_text()


@pytest.mark.parametrize(("objects", "reason"), [(2, "None of the 2 objects"), (0, "has no object")])
def test_a_run_that_completed_nothing_misses_every_object(saved, tmp_path, capsys, objects, reason):
    """The figures are there, and exit status 3 with a reason, as of `run`."""
    scene = json.loads((saved / "scene.json").read_text())
    scene["instances"]["list"] = [e for e in scene["instances"]["list"] if objects or e["kind"] != "object"]
    (saved / "scene.json").write_text(json.dumps(scene))
    (tmp_path / "gt/meshes").mkdir(parents=True)
    trimesh.creation.box((0.1, 0.1, 0.1)).export(tmp_path / "gt/meshes/4.ply")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["eval", str(saved), "--ground-truth", str(tmp_path / "gt")])
    accuracy = json.loads((saved / "metrics.json").read_text())["accuracy"]
    assert (accuracy["true_objects"], accuracy["instances"], accuracy["recall_50"]) == (1, 0, 0.0)
    assert accuracy["mean_volume_iou_all"] == 0.0 and accuracy["objects"][0]["truth_id"] == 4
    shown, error = capsys.readouterr()
    assert exit_.value.code == 3 and reason in error and len(error.strip().splitlines()) == 1
    assert "object 4" in shown and "missed" in shown
    # What was compared with the truth stands before the rest, the headline before what looks at the found.
    names = ("recall_50", "mean_volume_iou_all", "mean_volume_iou ", "psnr")
    places = [shown.index(name) for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--protocol", "coco"], "no protocol 'coco'"),
        (["--protocol", "masks"], "no label images"),
        (["--protocol", "3d-ovs"], "no masks segmentations"),
    ],
)
def test_bad_requests_are_one_sentence(saved, tmp_path, capsys, words, sentence):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["eval", str(saved), "--ground-truth", str(tmp_path / "gt"), *words])
    error = capsys.readouterr().err
    assert exit_.value.code == 1 and sentence in error and len(error.strip().splitlines()) == 1
