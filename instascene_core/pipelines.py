"""Public diffusion pipelines in folders of the layout that diffusers saves, and their licences."""

from pathlib import Path
from typing import Any

from instascene_core.errors import InputError, MissingDependencyError
from instascene_core.untrusted import one_line, read_json

NO_LICENCE = "licence not stated"
MAX_HEAD = 20_000  # characters of a card that are looked at


def load_pipeline(folder: Path, class_name: str, setting: str, what: str) -> Any:
    """A pipeline of diffusers' class `class_name` in a local folder, in float32 on the CPU, without a bar.

    Only local files, only safetensors (a pickle could run any code), no code of the folder's own.  setting:
    that names the folder; what: it is for.  Raises MissingDependencyError or InputError in one sentence.
    """
    folder = pipeline_folder(folder, setting, what)
    try:
        import diffusers
        import torch

        kind = getattr(diffusers, class_name)
    except ImportError as error:
        advice = "install it with `pip install diffusers`"
        raise MissingDependencyError(f"{what} needs diffusers; {advice}.") from error
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipeline = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32,
            low_cpu_mem_usage=False,
        )  # fmt: skip
    except Exception as error:  # whatever a damaged file makes safetensors, json, torch or diffusers raise
        raise InputError(f"The pipeline in '{folder}' cannot be loaded ({one_line(error)}).") from error
    pipeline.set_progress_bar_config(disable=True)  # ours is the one that is shown
    return pipeline


def pipeline_folder(folder: Path, setting: str, what: str) -> Path:
    """The folder, seen to hold a pipeline; InputError names the setting."""
    folder = Path(folder).expanduser()
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"{setting} '{folder}' is no folder with a model_index.json; {what} needs a pipeline as "
            "diffusers saves it, downloaded beforehand."
        )
    read_json(folder / "model_index.json")  # a sentence where it is broken
    return folder


def licence_of(folder: Path) -> str:
    """The licence that a model's card (README.md, entry "license" of its head) states, else NO_LICENCE."""
    card = Path(folder).expanduser() / "README.md"
    if not card.is_file():
        return NO_LICENCE
    with card.open(encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read(MAX_HEAD).splitlines()]
    head = lines[1 : lines.index("---", 1)] if lines[:1] == ["---"] and "---" in lines[1:] else []
    entries = [line.partition(":")[2].strip().strip("'\"") for line in head if line.startswith("license:")]
    return one_line(entries[0], 60) if entries and entries[0] else NO_LICENCE
