"""Public models that transformers loads: from the checkpoint folder to the network's input."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from instascene_core.errors import InputError, MissingDependencyError

logger = logging.getLogger(__name__)

TRANSFORMERS_ADVICE = "install transformers 4.56 or newer: pip install 'instascene[segmenters]'"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_transformers_model(
    checkpoint: str, name: str, model_types: tuple[str, ...], class_name: str, example: str
) -> nn.Module:
    """The model in the folder `checkpoint`, in float32, ready to run on the CPU.

    Only local files, only safetensors (a pickle could run any code), only a complete set of weights.
    name: of the segmenter.  model_types: in config.json.  class_name: in transformers.  example: a public
    checkpoint.  Raises MissingDependencyError or InputError with one sentence.
    """
    transformers = _transformers(name, class_name)
    folder = _checkpoint_folder(checkpoint, name, model_types, example)
    model_class = getattr(transformers, class_name)
    advice = f"download the checkpoint again (e.g. {example})"
    try:
        settings = model_class.config_class.from_pretrained(folder, local_files_only=True)
        # The backbone's weights are in the checkpoint; transformers would fetch them anew.
        settings.use_pretrained_backbone = False
        model, info = model_class.from_pretrained(
            folder,
            config=settings,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a damaged file makes safetensors, json, torch or transformers raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"The {name} checkpoint in '{folder}' cannot be loaded ({reason[0]}); {advice}."
        ) from error
    lacking = [*info["missing_keys"], *info["mismatched_keys"]]
    if lacking:
        raise InputError(
            f"The {name} checkpoint in '{folder}' lacks {len(lacking)} of the network's weights "
            f"(such as {lacking[0]}); {advice}."
        )
    logger.info("%s: %s from %s", name, class_name, folder)
    return model.eval()


def _transformers(name: str, class_name: str) -> Any:
    try:
        import transformers

        getattr(transformers, class_name)
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(f"For the segmenter {name} {TRANSFORMERS_ADVICE}.") from error
    transformers.utils.logging.disable_progress_bar()  # ours is the one that is shown
    return transformers


def _checkpoint_folder(checkpoint: str, name: str, model_types: tuple[str, ...], example: str) -> Path:
    """The folder, seen to hold config.json of a right model and weights as safetensors."""
    files = f"config.json and model.safetensors (e.g. {example} from the Hugging Face hub)"
    if not checkpoint:
        raise InputError(f"The segmenter {name} needs segmentation.public.checkpoint: a folder with {files}.")
    folder = Path(checkpoint).expanduser()
    if not folder.is_dir():
        raise InputError(f"segmentation.public.checkpoint '{folder}' is no folder; make it one with {files}.")
    settings = read_json(folder / "config.json")
    if settings is None:
        raise InputError(f"'{folder}' holds no config.json; {name} needs a folder with {files}.")
    if settings.get("model_type") not in model_types:
        raise InputError(
            f"'{folder}' holds a model of type '{settings.get('model_type')}', not {model_types[0]}; "
            f"{name} needs a folder with {files}."
        )
    if not any((folder / f"model.safetensors{end}").is_file() for end in ("", ".index.json")):
        other = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.p*t*"))
        found = f"{other[0]} is a pickle, which could run any code, so" if other else "it holds no weights:"
        raise InputError(f"In '{folder}' {found} {name} needs a folder with {files}.")
    return folder


def read_json(path: Path) -> dict | None:
    """The mapping in a JSON file, None where there is no file.  Raises InputError where it is damaged."""
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is not readable JSON; download it again.") from error
    if not isinstance(values, dict):
        raise InputError(f"'{path}' does not hold a JSON object; download it again.")
    return values


def preprocessing_of(folder: Path) -> dict:
    """How the checkpoint wants its images: what its preprocessor file says, {} where there is none."""
    if (values := read_json(folder / "preprocessor_config.json")) is not None:
        return values
    return (read_json(folder / "processor_config.json") or {}).get("image_processor", {})


def network_input(
    rgb: np.ndarray, shape: tuple[int, int], settings: dict, device: torch.device
) -> torch.Tensor:
    """[1, 3, *shape] float32: the image resized (bilinear, smoothed where it shrinks) and normalised.

    rgb: [H, W, 3] uint8.  settings: of `preprocessing_of`; without them ImageNet's mean and deviation.
    """
    image = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)[None].float()
    if tuple(image.shape[-2:]) != shape:
        image = F.interpolate(image, size=shape, mode="bilinear", antialias=True)
    if settings.get("do_rescale", True):
        image = image * settings.get("rescale_factor", 1 / 255)
    if settings.get("do_normalize", True):
        mean = torch.tensor(settings.get("image_mean") or IMAGENET_MEAN, device=device)
        deviation = torch.tensor(settings.get("image_std") or IMAGENET_STD, device=device)
        image = (image - mean[:, None, None]) / deviation[:, None, None]
    return image
