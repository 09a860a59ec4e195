"""Masks from CropFormer (Qi et al. 2023, "High-Quality Entity Segmentation"), which the paper uses.

It runs in detectron2, from the user's own checkout of EntitySeg; nothing of either is in here.
"""

import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instascene_core.config.segmentation import CropFormerConfig, PublicSegmentersConfig
from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.segmentation.public.device import choose_device
from instascene_core.segmentation.public.mask_set import MaskSet, require_finite

CHECKOUT = "the folder Entityv2/CropFormer of a checkout of github.com/qqlu/Entity"
CHECKPOINT = "the .pth file of a CropFormer model, e.g. CropFormer_hornet_3x_03823a.pth"
DETECTRON2_ADVICE = (
    "install detectron2 from github.com/facebookresearch/detectron2 (pip install --no-build-isolation -e .) "
    "and build the operators of the checkout as its CODE.md says"
)


class CropFormer:
    """Entities of the whole image and of four crops, merged by CropFormer itself."""

    name = "cropformer"

    def __init__(self, checkpoint: str, device: torch.device, config: CropFormerConfig) -> None:
        """checkpoint: .pth file.

        Raises MissingDependencyError without detectron2 or checkout, InputError for a bad file.
        """
        self.device, self.config = device, config
        root = _checkout(config.root)
        make_predictor, cfg = _library(root)
        settings = root / config.config
        if not settings.is_file():
            raise InputError(
                f"segmentation.public.cropformer.config '{settings}' is no file; name one of {root}."
            )
        try:
            cfg.merge_from_file(str(settings))
        except (KeyError, ValueError, AssertionError, OSError) as error:
            raise InputError(f"'{settings}' is not a configuration of CropFormer ({error}).") from error
        cfg.MODEL.WEIGHTS = str(require_plain_checkpoint(checkpoint))
        cfg.MODEL.DEVICE = self.device.type
        cfg.freeze()
        # CropFormer's own predictor: it makes the crops, builds the model, and has detectron2's
        # DetectionCheckpointer load the weights.
        self._predictor = make_predictor(cfg)

    @classmethod
    def from_config(cls, config: PublicSegmentersConfig) -> "CropFormer":
        return cls(config.checkpoint, choose_device(config.device), config.cropformer)

    def propose(self, rgb: np.ndarray, report: Callable[[float, str], None]) -> MaskSet:
        bgr = np.ascontiguousarray(rgb[..., ::-1])  # detectron2 reads images as OpenCV does
        least = self.config.min_pixel_probability
        return masks_of_instances(self._predictor(bgr), rgb.shape[:2], least)


def masks_of_instances(output: dict[str, Any], shape: tuple[int, int], min_probability: float) -> MaskSet:
    """The masks in a detectron2 model's output: `instances` with pred_masks [N, H, W] and scores [N].

    min_probability: of a pixel of a mask, where the masks are probabilities.
    """
    try:
        instances = output["instances"]
        masks, scores = torch.as_tensor(instances.pred_masks), torch.as_tensor(instances.scores).float()
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "The detectron2 model gave no instance masks; take a configuration of entity_segmentation."
        ) from error
    if masks.ndim != 3 or tuple(masks.shape[1:]) != tuple(shape) or len(masks) != len(scores):
        raise InputError(
            f"The detectron2 model gave masks of shape {tuple(masks.shape)} and {len(scores)} scores for an "
            f"image of {tuple(shape)}."
        )
    require_finite(scores)
    if masks.dtype != torch.bool:
        masks = masks > min_probability
    return MaskSet(masks.cpu(), scores.clamp(0, 1).double().cpu().numpy())


def require_plain_checkpoint(checkpoint: str) -> Path:
    """The file, seen to hold tensors and plain values only.

    detectron2 unpickles it without reserve, and a pickle can run any code; so it is first read by
    torch's restricted reader, which refuses all that could.  Raises InputError.
    """
    if not checkpoint:
        raise InputError(f"The segmenter cropformer needs segmentation.public.checkpoint: {CHECKPOINT}.")
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise InputError(f"segmentation.public.checkpoint '{path}' is no file; put {CHECKPOINT} there.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"'{path}' is damaged, or holds more than weights and could run any code when loaded; where you "
            "trust it, save its 'model' entry alone with torch.save({'model': …}) and give that file."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"'{path}' is not a readable checkpoint; download {CHECKPOINT} again.") from error
    weights = state.get("model", state) if isinstance(state, dict) else None
    if not isinstance(weights, dict) or not any(isinstance(v, torch.Tensor) for v in weights.values()):
        raise InputError(f"'{path}' holds no weights; give {CHECKPOINT}.")
    return path


def _checkout(root: str) -> Path:
    if not root:
        raise MissingDependencyError(
            f"The segmenter cropformer needs segmentation.public.cropformer.root: {CHECKOUT}."
        )
    path = Path(root).expanduser().resolve()
    if not (path / "mask2former").is_dir():
        raise MissingDependencyError(f"segmentation.public.cropformer.root '{path}' is not {CHECKOUT}.")
    return path


def _library(root: Path) -> tuple[Callable, Any]:
    """(class of CropFormer's predictor, detectron2's configuration with CropFormer's settings added)."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # its packages are named mask2former and demo_cropformer
    try:
        cfg = importlib.import_module("detectron2.config").get_cfg()
        importlib.import_module("detectron2.projects.deeplab").add_deeplab_config(cfg)
        importlib.import_module("mask2former").add_maskformer2_config(cfg)
        return importlib.import_module("demo_cropformer.predictor").CropFormerPredictor, cfg
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"CropFormer cannot be imported ({error}); {DETECTRON2_ADVICE}."
        ) from error
