"""`instascene eval` by protocol, from folders."""

import json

import pytest
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
