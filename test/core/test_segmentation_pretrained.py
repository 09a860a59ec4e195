"""mask2former and sam2 on tiny networks of the true architecture with random weights; what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_checkpoints import write_mask2former, write_sam2, write_sam2_video

from instascene_core.camera import PinholeCamera
from instascene_core.config.segmentation import PublicSegmentersConfig, Sam2Config, SegmentationConfig
from instascene_core.config_file import config_with
from instascene_core.errors import Cancelled, InputError, MissingDependencyError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.segmentation import make_segmenter
from instascene_core.segmentation.public.device import choose_device
from instascene_core.segmentation.public.mask2former import input_shape
from instascene_core.segmentation.public.sam2 import grid_points, sure_masks
from instascene_core.segmentation.public.transformers_models import network_input

pytest.importorskip("transformers", reason="transformers is not installed (extra 'segmenters')")


def view(height=50, width=70, seed=0, name="view"):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // 10), -(-width // 10), 3), dtype=np.uint8)
    rgb = np.ascontiguousarray(blocks.repeat(10, 0).repeat(10, 1)[:height, :width])
    camera = PinholeCamera(width, height, 60.0, 60.0, width / 2, height / 2)
    return Frame(name, 0.0, camera, np.eye(4), rgb)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(folder of each checkpoint, model that was written), by the segmenter's name."""
    root = tmp_path_factory.mktemp("checkpoints")
    writers = {"mask2former": write_mask2former, "sam2": write_sam2}
    return {name: (root / name, write(root / name)) for name, write in writers.items()}


def config_for(folders, name, min_mask_pixels=4, **settings):
    """settings: of `PublicSegmentersConfig`, by path."""
    public = {
        "checkpoint": str(folders[name][0]), "device": "cpu", "max_mask_overlap": 0.95,
        "min_visible_share": 0.02, "min_mask_score": 0.2 if name == "mask2former" else 0.0,
        "sam2.min_predicted_iou": 0.3, "sam2.min_stability": 0.4, "sam2.points_per_side": 4,
        "sam2.points_per_batch": 5, **settings,
    }  # fmt: skip
    values = {f"public.{key}": value for key, value in public.items()}
    return config_with(
        SegmentationConfig(segmenter=name), {"masks.min_mask_pixels": min_mask_pixels, **values}
    )


def normalised(frame, height, width, mean, deviation):
    image = torch.from_numpy(frame.rgb).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, (height, width), mode="bilinear", antialias=True)
    return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]


def plain_label_image(masks, scores, shape, config):
    """The rules of `label_image` for score order, over all masks at full size, without tidying."""
    logits = F.interpolate(masks[None].float(), shape, mode="bilinear")[0]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], -int((masks[i] > 0).sum())))
    kept, labels, result = [], np.zeros(shape, dtype=int), {}
    for i in order:
        rivals = [
            ((masks[i] > 0) & (masks[j] > 0)).sum() / ((masks[i] > 0) | (masks[j] > 0)).sum() for j in kept
        ]
        public = config.public
        if scores[i] >= public.min_mask_score and max(rivals, default=0) <= public.max_mask_overlap:
            kept.append(i)
    for i in kept:
        mask = (logits[i] > 0).numpy()
        free = mask & (labels == 0)
        if free.sum() >= max(config.public.min_visible_share * mask.sum(), config.masks.min_mask_pixels):
            labels[free] = len(result) + 1
            result[len(result) + 1] = scores[i]
    return labels, result


def agree(result, labels, scores):
    """The tidied label image is the plain one but for specks and pinholes."""
    assert list(result.scores) == list(scores)
    assert list(result.scores.values()) == pytest.approx(list(scores.values()), abs=1e-3)
    assert (np.maximum(result.labels, 0) == labels).mean() > 0.97


def test_mask2former_gives_the_masks_of_its_network(folders):
    frame, model = view(), folders["mask2former"][1]
    config = config_for(folders, "mask2former")
    result = make_segmenter(config, [frame]).segment(frame)
    with torch.no_grad():  # 50×70 → the shorter edge 64, the other 90, up to multiples of 32
        output = model(pixel_values=normalised(frame, 64, 96, [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    masks, probabilities = output.masks_queries_logits[0], output.class_queries_logits[0].softmax(-1)
    assert masks.shape == (8, 16, 24)
    scores = []
    for mask, probability in zip(masks, probabilities):
        scores.append(float((1 - probability[-1]) * mask[mask > 0].sigmoid().mean()))
    labels, expected = plain_label_image(masks, scores, (50, 70), config)
    assert len(expected) >= 3
    agree(result, labels, expected)


def test_sam2_gives_the_sure_masks_of_every_point(folders):
    frame, model = view(), folders["sam2"][1]
    config = config_for(folders, "sam2")
    result = make_segmenter(config, [frame]).segment(frame)
    pixels = normalised(frame, 64, 64, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    masks, scores = [], []
    with torch.no_grad():
        for y in (8.0, 24.0, 40.0, 56.0):
            for x in (8.0, 24.0, 40.0, 56.0):
                output = model(pixel_values=pixels, input_points=torch.tensor([[[[x, y]]]]))
                for mask, score in zip(output.pred_masks[0, 0], output.iou_scores[0, 0]):
                    stability = float((mask > 1).sum() / (mask > -1).sum())
                    if score >= 0.3 and stability >= 0.4:
                        masks.append(mask)
                        scores.append(min(float(score), 1.0))
    assert 3 < len(scores) < 48  # the thresholds take some of 16 × 3
    agree(result, *plain_label_image(torch.stack(masks), scores, (50, 70), config))
    assert len(result.scores) >= 2


@pytest.mark.parametrize("name", ["mask2former", "sam2"])
@pytest.mark.parametrize("shape", [(50, 70), (33, 97), (5, 9), (1, 1)])
def test_images_of_any_size(folders, name, shape):
    frame = view(*shape)
    segmenter = make_segmenter(config_for(folders, name, min_mask_pixels=1), [frame])
    result, again = segmenter.segment(frame), segmenter.segment(frame)
    assert result.labels.shape == shape and result.labels.dtype == np.int32
    assert set(np.unique(result.labels)) - {UNLABELLED} == set(result.scores)
    assert result.scores or shape == (1, 1)
    assert all(0 <= score <= 1 for score in result.scores.values())
    np.testing.assert_array_equal(result.labels, again.labels)
    assert not segmenter.ids_are_global


@pytest.mark.parametrize(
    ("name", "settings"), [("mask2former", {"min_mask_score": 1.0}), ("sam2", {"sam2.min_stability": 1.1})]
)
def test_no_detections(folders, name, settings):
    frame = view()
    result = make_segmenter(config_for(folders, name, **settings), [frame]).segment(frame)
    assert (result.labels == UNLABELLED).all() and result.scores == {}
    assert "No mask was found in 'view'" in result.warnings[0]


def test_batches_of_points_change_nothing(folders):
    results = []
    for batch in (1, 7, 64):
        segmenter = make_segmenter(config_for(folders, "sam2", **{"sam2.points_per_batch": batch}), [view()])
        results.append(segmenter.segment(view()))
    for result in results[1:]:
        np.testing.assert_array_equal(result.labels, results[0].labels)
        assert list(result.scores.values()) == pytest.approx(list(results[0].scores.values()), abs=1e-5)


def test_progress_is_that_of_the_sequence_and_can_stop_it(folders):
    frames, told = [view(name="a"), view(name="b")], []
    segmenter = make_segmenter(
        config_for(folders, "sam2"),
        frames,
        progress=lambda stage, share, message: told.append((share, message)),
    )
    assert told == [(1.0, "sam2 on cpu")]
    told.clear()
    for frame in frames:
        segmenter.segment(frame)
    shares = [share for share, _ in told]
    assert len(told) == 8 and shares == sorted(shares) and 0 < shares[0] < 0.5 < shares[4] < 1
    assert told[-1][1] == "b: points, batch 4 of 4"

    def stop(stage, share, message):
        raise Cancelled

    segmenter._progress = stop
    with pytest.raises(Cancelled):
        segmenter.segment(frames[0])


def test_points_and_sure_masks_by_hand():
    np.testing.assert_allclose(grid_points(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    firm, soft = torch.full((4, 4), -9.0), torch.full((4, 4), -9.0)
    firm[:2], soft[:2] = 9.0, 0.5  # the soft one vanishes at the upper threshold
    logits = torch.stack([torch.stack([firm, soft, firm]), torch.stack([-firm.abs(), firm, firm])])
    scores = torch.tensor([[0.9, 0.9, 0.7], [0.9, 1.2, 0.8]])
    found = sure_masks(logits, scores, Sam2Config())
    assert found.scores == pytest.approx([0.9, 1.0, 0.8])
    assert ((found.masks > 0) == (firm > 0)).all()
    with pytest.raises(InputError, match="NaN"):
        sure_masks(logits, scores * torch.nan, Sam2Config())


def test_images_enter_as_transformers_own_preprocessing_has_them():
    from transformers import Mask2FormerImageProcessor

    frame = view(80, 150)
    theirs = Mask2FormerImageProcessor(
        size={"shortest_edge": 64, "longest_edge": 128}, size_divisor=32, image_mean=[0.5, 0.4, 0.3],
        image_std=[0.2, 0.25, 0.3],
    )  # fmt: skip
    try:
        expected = theirs(frame.rgb, return_tensors="pt")["pixel_values"]
    except ImportError:
        pytest.skip("this version of transformers wants torchvision for it")
    settings = theirs.to_dict()
    shape = input_shape((80, 150), settings)
    found = network_input(frame.rgb, shape, settings, torch.device("cpu"))
    assert found.shape == expected.shape == (1, 3, 64, 128)  # 64×120, and rounded up
    assert float((found - expected).abs().max()) < 0.02  # theirs rounds to whole grey values


def test_input_shapes_of_preprocessor_files():
    assert input_shape((480, 640), {}) == (800, 1088)
    assert input_shape((480, 1280), {}) == (512, 1344)  # the longer edge decides
    assert input_shape((480, 640), {"size": {"height": 384, "width": 384}}) == (384, 384)
    assert input_shape((480, 640), {"size": 240, "max_size": 300, "size_divisibility": 1}) == (225, 300)
    assert input_shape((33, 64), {"do_resize": False}) == (64, 64)


def refusal(config):
    with pytest.raises(InputError) as error:
        make_segmenter(config, [view()])
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("name", ["mask2former", "sam2"])
def test_checkpoints_that_cannot_be_used_get_one_sentence(folders, name, tmp_path):
    def config(folder):
        public = PublicSegmentersConfig(checkpoint=str(folder), device="cpu")
        return SegmentationConfig(segmenter=name, public=public)

    assert "needs segmentation.public.checkpoint: a folder with config.json" in refusal(config(""))
    assert "is no folder" in refusal(config(tmp_path / "nowhere"))
    assert "holds no config.json" in refusal(config(tmp_path))
    settings = json.loads((folders[name][0] / "config.json").read_text())
    (tmp_path / "config.json").write_text("{broken")
    assert "not readable JSON" in refusal(config(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert f"a model of type 'bert', not {name}" in refusal(config(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert "it holds no weights" in refusal(config(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    assert "pytorch_model.bin is a pickle, which could run any code" in refusal(config(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not tensors at all")
    assert "cannot be loaded" in refusal(config(tmp_path))


@pytest.mark.parametrize("name", ["mask2former", "sam2"])
def test_incomplete_or_foreign_weights_are_refused(folders, name, tmp_path):
    """transformers itself fills what a file lacks with random numbers."""
    from safetensors.torch import load_file, save_file

    source = folders[name][0]
    state = load_file(source / "model.safetensors")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    public = PublicSegmentersConfig(checkpoint=str(tmp_path), device="cpu")
    config = SegmentationConfig(segmenter=name, public=public)
    lacking = sorted(key for key in state if key.endswith("weight"))[0]
    save_file(
        {k: v for k, v in state.items() if k != lacking}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    assert f"lacks 1 of the network's weights (such as {lacking})" in refusal(config)
    save_file(
        {**state, lacking: state[lacking][:1].clone()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    assert "checkpoint" in refusal(config)


def test_a_video_checkpoint_holds_the_network_for_images(folders, tmp_path):
    """The public SAM 2 checkpoints: type sam2_video, with a memory that images do not need."""
    write_sam2_video(tmp_path, folders["sam2"][1])
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    expected = make_segmenter(config_for(folders, "sam2"), [view()]).segment(view())
    config = config_for({"sam2": (tmp_path, None)}, "sam2")
    np.testing.assert_array_equal(make_segmenter(config, [view()]).segment(view()).labels, expected.labels)


def test_nan_weights_are_a_sentence(folders, tmp_path):
    write_mask2former(tmp_path)
    from safetensors.torch import load_file, save_file

    state = {
        k: v * float("nan") if v.is_floating_point() else v
        for k, v in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    segmenter = make_segmenter(config_for({"mask2former": (tmp_path, None)}, "mask2former"), [view()])
    with pytest.raises(InputError, match="checkpoint is damaged"):
        segmenter.segment(view())


def test_without_transformers_there_is_one_sentence(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in ("mask2former", "sam2"):
        with pytest.raises(MissingDependencyError, match=r"instascene\[segmenters\]"):
            make_segmenter(config_for(folders, name), [view()])


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(MissingDependencyError, match=r"segmentation\.public\.device is cuda"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda" and choose_device("cpu").type == "cpu"


def test_importing_the_segmenters_imports_none_of_their_libraries():
    code = (
        "import sys, instascene_core.segmentation as s; "
        "assert not {'transformers', 'detectron2', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
