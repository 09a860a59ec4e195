"""cropformer: its outputs to label images; what it asks of detectron2 and the checkout, by stand-ins.

The stand-ins hold what the documentation of detectron2 and the demo of CropFormer say: a configuration
with MODEL.WEIGHTS and MODEL.DEVICE, a predictor made from it that takes BGR images and returns
`instances`.  CropFormer itself has not run here: detectron2 cannot be had from the package index.
"""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config.segmentation import (
    CropFormerConfig,
    MaskConfig,
    PublicSegmentersConfig,
    SegmentationConfig,
)
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.segmentation import make_segmenter
from instascene_core.segmentation.public.cropformer import masks_of_instances, require_plain_checkpoint

MODULES = {
    "detectron2/__init__.py": "",
    "detectron2/config.py": """
from types import SimpleNamespace
class Config(SimpleNamespace):
    def merge_from_file(self, path):
        text = open(path).read()
        if "VERSION" not in text:
            raise KeyError("Non-existent config key: " + text.strip())
        self.merged = path
    def freeze(self):
        self.frozen = True
def get_cfg():
    return Config(MODEL=SimpleNamespace(), added=[])
""",
    "detectron2/projects/__init__.py": "",
    "detectron2/projects/deeplab.py": "def add_deeplab_config(cfg): cfg.added.append('deeplab')",
    "checkout/mask2former/__init__.py": "def add_maskformer2_config(cfg): cfg.added.append('maskformer2')",
    "checkout/demo_cropformer/predictor.py": """
import torch
from types import SimpleNamespace
class CropFormerPredictor:
    made = []
    def __init__(self, cfg):
        self.cfg = cfg
        self.state = torch.load(cfg.MODEL.WEIGHTS, weights_only=False)["model"]
        CropFormerPredictor.made.append(self)
    def __call__(self, image):
        assert image.shape[2] == 3 and image.dtype.name == "uint8" and image.flags.c_contiguous
        bgr = torch.from_numpy(image.copy()).int()
        blue, red = bgr[..., 0] > 128, bgr[..., 2] > 128
        masks = torch.stack([red, blue, red | blue]).float()
        return {"instances": SimpleNamespace(pred_masks=masks, scores=self.state["scores"])}
""",
    "checkout/configs/entityv2/entity_segmentation/cropformer_hornet_3x.yaml": "VERSION: 2\n",
    "checkout/configs/broken.yaml": "NOTHING: 1\n",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Folder of the checkout; detectron2 can be imported, and nothing stays imported afterwards."""
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    torch.save({"model": {"scores": torch.tensor([0.6, 0.9, 0.2])}, "iteration": 3}, tmp_path / "model.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path / "checkout"
    for name in [
        n for n in sys.modules if n.split(".")[0] in ("detectron2", "mask2former", "demo_cropformer")
    ]:
        del sys.modules[name]


def config_for(checkout, **changes):
    """changes: of `PublicSegmentersConfig` and, as root and config, of its cropformer."""
    own = {key: changes.pop(key) for key in ("root", "config") if key in changes}
    public = {"checkpoint": str(checkout.parent / "model.pth"), "device": "cpu", **changes}
    cropformer = CropFormerConfig(**{"root": str(checkout), **own})
    return SegmentationConfig(
        segmenter="cropformer",
        masks=MaskConfig(min_mask_pixels=4),
        public=PublicSegmentersConfig(cropformer=cropformer, **public),
    )


def two_patches():
    rgb = np.zeros((20, 30, 3), np.uint8)
    rgb[2:8, 2:8] = (255, 0, 0)
    rgb[10:18, 15:25] = (0, 0, 255)
    return Frame("view", 0.0, PinholeCamera(30, 20, 30.0, 30.0, 15.0, 10.0), np.eye(4), rgb)


def test_entities_become_a_label_image(checkout):
    frame = two_patches()
    result = make_segmenter(config_for(checkout), [frame]).segment(frame)
    expected = np.full((20, 30), UNLABELLED)
    expected[10:18, 15:25], expected[2:8, 2:8] = 1, 2  # blue has the better score; 0.2 is too low
    np.testing.assert_array_equal(result.labels, expected)
    assert result.scores == pytest.approx({1: 0.9, 2: 0.6})
    cfg = sys.modules["demo_cropformer.predictor"].CropFormerPredictor.made[-1].cfg
    assert cfg.added == ["deeplab", "maskformer2"] and cfg.frozen
    assert cfg.merged.endswith("cropformer_hornet_3x.yaml")
    assert cfg.MODEL.DEVICE == "cpu" and str(checkout.parent / "model.pth") == cfg.MODEL.WEIGHTS


def refusal(config, kind=InputError):
    with pytest.raises(kind) as error:
        make_segmenter(config, [two_patches()])
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_what_is_missing_is_said_in_one_sentence(checkout, monkeypatch):
    missing = MissingDependencyError
    assert "needs segmentation.public.cropformer.root" in refusal(config_for(checkout, root=""), missing)
    nowhere = refusal(config_for(checkout, root="/nowhere"), missing)
    assert "segmentation.public.cropformer.root '/nowhere' is not the folder Entityv2/CropFormer" in nowhere
    absent = refusal(config_for(checkout, config="configs/none.yaml"))
    assert "segmentation.public.cropformer.config" in absent and "is no file; name one of" in absent
    broken = refusal(config_for(checkout, config="configs/broken.yaml"))
    assert "not a configuration of CropFormer" in broken
    assert "needs segmentation.public.checkpoint" in refusal(config_for(checkout, checkpoint=""))
    assert "is no file; put the .pth" in refusal(config_for(checkout, checkpoint="/nowhere.pth"))
    monkeypatch.setitem(sys.modules, "detectron2.config", None)
    assert "install detectron2" in refusal(
        config_for(checkout, checkpoint=""), missing
    )  # the first thing to do


def test_checkpoints_that_could_run_code_are_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for content in ({"model": Trap()}, Trap()):
        torch.save(content, tmp_path / "trap.pth")
        with pytest.raises(InputError, match="could run any code when loaded"):
            require_plain_checkpoint(str(tmp_path / "trap.pth"))
        (tmp_path / "plain.pth").write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(InputError, match=r"plain\.pth' is damaged, or holds more than weights"):
            require_plain_checkpoint(str(tmp_path / "plain.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"no checkpoint at all"])
def test_damaged_checkpoints(tmp_path, content):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(
        InputError, match=r"model\.pth' is (damaged, or holds more|not a readable checkpoint)"
    ):
        require_plain_checkpoint(str(tmp_path / "model.pth"))


@pytest.mark.parametrize("content", [{"model": {}}, {"iteration": 3}, [1, 2]])
def test_checkpoints_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(InputError, match="holds no weights"):
        require_plain_checkpoint(str(tmp_path / "model.pth"))


def test_outputs_that_are_no_entities():
    masks = torch.zeros(2, 4, 5)
    masks[0, :2] = 1
    found = masks_of_instances(
        {"instances": SimpleNamespace(pred_masks=masks, scores=torch.tensor([0.9, 0.8]))}, (4, 5), 0.5
    )
    assert found.masks.dtype == torch.bool and found.masks.sum() == 10
    with pytest.raises(InputError, match="no instance masks"):
        masks_of_instances({"panoptic_seg": None}, (4, 5), 0.5)
    with pytest.raises(InputError, match="masks of shape"):
        masks_of_instances(
            {"instances": SimpleNamespace(pred_masks=masks, scores=torch.ones(3))}, (4, 5), 0.5
        )
    with pytest.raises(InputError, match="NaN"):
        bad = SimpleNamespace(pred_masks=masks, scores=torch.tensor([0.9, float("nan")]))
        masks_of_instances({"instances": bad}, (4, 5), 0.5)
