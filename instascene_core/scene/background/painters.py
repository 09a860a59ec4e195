"""Painters: what a plane may look like where nobody saw it."""

from pathlib import Path
from typing import Protocol

import numpy as np

from instascene_core.config import RemovalConfig
from instascene_core.errors import InputError
from instascene_core.pipelines import licence_of, load_pipeline
from instascene_core.threads import one_thread
from instascene_core.untrusted import one_line

LEAST_RATIO = 0.01  # of both directions' changes, in propagation: beyond, it would be a copy of single pixels
PULL = 1e-4  # toward the known pixels' mean: decides only where nothing known is connected


class Painter(Protocol):
    """Fills the holes of an image of a plane seen head on."""

    name: str  # and licence, as notes say them

    def paint(self, image: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The image [H, W, 3] in [0, 1] with colours at the `wanted` pixels [H, W], from the `known` ones."""
        ...


class PropagationPainter:
    """Colours go on along the plane: the smoothest ones that continue those around the hole, smoother along
    the direction in which the plane's own texture changes least (a board's grain)."""

    name = "propagation"

    def paint(self, image: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """See `Painter`.  Minimises Σ_u (1/λ_u) |∂I/∂u|² + Σ_v (1/λ_v) |∂I/∂v|² over the wanted pixels, λ the
        mean squared changes along rows and columns of what is known."""
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import splu

        if not wanted.any() or not known.any():
            return image.copy()
        weights = 1 / self._changes(image, known)
        index = np.full(wanted.shape, -1, dtype=np.int64)
        index[wanted] = np.arange(int(wanted.sum()))
        count, values = int(wanted.sum()), image.reshape(-1, 3).astype(np.float64)
        flat_index, flat_known = index.ravel(), (known & ~wanted).ravel()
        number = np.arange(wanted.size).reshape(wanted.shape)
        diagonal, right = np.full(count, PULL), np.full((count, 3), PULL) * values[known.ravel()].mean(axis=0)
        entries = []
        pairs = ((number[:, :-1], number[:, 1:], weights[0]), (number[:-1], number[1:], weights[1]))
        for a, b, weight in ((x.ravel(), y.ravel(), w) for p, q, w in pairs for x, y in ((p, q), (q, p))):
            mine = (flat_index[a] >= 0) & ((flat_index[b] >= 0) | flat_known[b])
            row, other = flat_index[a[mine]], b[mine]
            np.add.at(diagonal, row, weight)
            free = flat_index[other] >= 0
            entries.append((row[free], flat_index[other[free]], np.full(int(free.sum()), -weight)))
            np.add.at(right, row[~free], weight * values[other[~free]])
        rows, columns, data = (np.concatenate(part) for part in zip(*entries))
        matrix = coo_matrix((data, (rows, columns)), shape=(count, count)).tocsc() + diags(diagonal).tocsc()
        result = image.copy()
        result[wanted] = np.clip(splu(matrix).solve(right), 0, 1)
        return result

    def _changes(self, image: np.ndarray, known: np.ndarray) -> np.ndarray:
        """[2] mean squared change between known neighbours along rows and along columns, the larger one 1."""
        changes = []
        for first, second, both in (
            (image[:, 1:], image[:, :-1], known[:, 1:] & known[:, :-1]),
            (image[1:], image[:-1], known[1:] & known[:-1]),
        ):
            changes.append(float(((first - second)[both] ** 2).mean()) if both.any() else 0.0)
        largest = max(changes)
        return np.maximum(np.array(changes) / largest, LEAST_RATIO) if largest > 0 else np.ones(2)


class DiffusersPainter:
    """A public inpainting pipeline (Stable Diffusion's layout) in a local folder."""

    def __init__(self, folder: Path, config: RemovalConfig) -> None:
        """Raises InputError or MissingDependencyError in one sentence where it cannot be loaded."""
        self.config = config
        setting, what = "removal.checkpoint", "The painter 'diffusers' of removal.painter"
        self._pipeline = load_pipeline(folder, "StableDiffusionInpaintPipeline", setting, what)
        self._pipeline.safety_checker = None  # of pictures of people; a table's is black to it now and then
        self.name = f"{Path(folder).name} ({licence_of(folder)})"

    def paint(self, image: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """See `Painter`.  What is neither known nor wanted is propagated first: the pipeline sees no hole
        but the wanted one."""
        import cv2
        import torch
        from PIL import Image

        filled = PropagationPainter().paint(image, known, ~known)
        height, width = wanted.shape
        step = 8 * 8  # the autoencoder's scale and the network's
        factor = self.config.image_side / max(height, width)
        size = tuple(int(max(step, step * round(factor * side / step))) for side in (width, height))
        picture = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(wanted.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.25
        generator = torch.Generator().manual_seed(self.config.seed)
        try:
            with one_thread(), torch.inference_mode():
                painted = self._pipeline(
                    prompt=self.config.prompt,
                    image=Image.fromarray(np.uint8(np.rint(255 * picture))),
                    mask_image=Image.fromarray(np.uint8(255 * mask)),
                    width=size[0], height=size[1], num_inference_steps=self.config.steps,
                    guidance_scale=self.config.guidance, generator=generator, output_type="np",
                ).images[0]  # fmt: skip
        except Exception as error:  # whatever a pipeline of another layout raises in the middle
            raise InputError(
                f"The inpainting pipeline {self.name} failed ({one_line(error)}); set removal.painter to "
                "propagation or give a pipeline of Stable Diffusion's inpainting layout."
            ) from error
        painted = cv2.resize(
            np.asarray(painted, dtype=np.float32), (width, height), interpolation=cv2.INTER_AREA
        )
        return np.where(wanted[..., None], np.clip(painted, 0, 1), image)


def make_painter(config: RemovalConfig) -> Painter | None:
    """The painter that the settings name; None for "none"."""
    if config.painter == "none":
        return None
    if config.painter == "diffusers":
        return DiffusersPainter(Path(config.checkpoint), config)
    return PropagationPainter()
