"""The prior `zero123plus`: the learned prior's shape, its unseen colours from six views of public weights."""

from functools import cached_property
from pathlib import Path

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.external.picture import azimuth_of, best_view, cut_out
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.multiview.inputs import GeneratedViews, Known, merged
from instascene_core.completion.priors.multiview.painting import PaintedSurface
from instascene_core.completion.priors.multiview.ring import Ring, object_frame
from instascene_core.completion.priors.multiview.views import ViewGeometry, render_geometry
from instascene_core.completion.priors.multiview.warping import warp_views
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config import CompletionConfig
from instascene_core.config.external import SixViewsConfig
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError, needs
from instascene_core.geometry import TriangleMesh
from instascene_core.pipelines import NO_LICENCE, licence_of, pipeline_folder
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.transforms import look_at

VIEWS = 6
FIRST, BETWEEN = 30.0, 60.0  # degrees of azimuth: from the image to the first view, counterclockwise; and on
BACKGROUND = 0.5  # grey


class SixViewsPrior:
    """Shape by the learned prior; what no camera saw is coloured by six views generated from one image.

    The views are put onto the known shape by their outlines and brought to the colours that were observed;
    they colour unseen places alone.
    """

    name = "zero123plus"

    def __init__(
        self, shape: LearnedPrior, config: SixViewsConfig, painting: MultiviewConfig | None = None
    ) -> None:
        """painting: how views colour a surface."""
        self.shape, self.config, self.painting = shape, config, painting or MultiviewConfig()

    @classmethod
    def from_config(cls, config: CompletionConfig) -> "SixViewsPrior":
        return cls(LearnedPrior.from_config(config), config.zero123plus, config.multiview)

    @property
    def licence(self) -> str:
        """Of the weights, as their card states it."""
        return licence_of(Path(self.config.checkpoint)) if self.config.checkpoint else NO_LICENCE

    def require_means(self) -> None:
        """InputError where there is no folder that holds a pipeline."""
        pipeline_folder(
            Path(self.config.checkpoint), "completion.zero123plus.checkpoint", f"the prior '{self.name}'"
        )

    @cached_property
    def _model(self):
        with needs(
            "diffusers", "The prior 'zero123plus' needs diffusers; install it with `pip install diffusers`."
        ):
            from instascene_core.completion.priors.external.zero123plus import Zero123Plus
        return Zero123Plus(Path(self.config.checkpoint))

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The learned prior's guesses of the shape."""
        return self.shape.predict(observation, num_samples, seed)

    def paint(
        self,
        observation: Observation,
        mesh: TriangleMesh,
        expected: np.ndarray,
        seed: int,
        progress: ProgressCallback = no_progress,
    ) -> tuple[PaintedSurface, tuple[str, ...]]:
        """Six views of a completed body, and notes.

        Raises InputError when no image shows the object, the weights cannot be loaded, or none of the views
        has the body's outline.
        """
        config, model = self.config, self._model
        picture = cut_out(best_view(observation.views), config.side)
        frame = object_frame(mesh.vertices, observation.up)
        rotation = frame.world_from_frame[:3, :3]
        azimuth = azimuth_of(picture.view, frame.world_from_frame[:3, 3], rotation)
        body = TriangleMesh(frame.from_world(mesh.vertices), mesh.triangles)
        views = six_cameras(azimuth, config)
        geometry = render_geometry(body, views)

        def tell(done: int, total: int) -> None:
            progress("complete", done / total, f"generating views, pass {done + 1} of {total}")

        made = model.generate(picture.rgb, seed, config.side, config.steps, config.guidance, tell)
        rgb, coverage, used = onto_shape(made, geometry, config)
        if not used.any():
            raise InputError("None of the six generated views has the outline of the completed object.")
        known = merged(
            warp_views(observation.views, geometry, views, frame, observation.noise, self.painting)
        )
        generated = GeneratedViews(in_observed_colors(rgb, coverage, known, config), geometry.depth, coverage)
        left_out = VIEWS - int(used.sum())
        note = f"{left_out} of the six generated views contradict the shape and were left out."
        surface = PaintedSurface(views, frame, geometry, [generated], known.valid, self.painting)
        return surface, (note,) if left_out else ()


def six_cameras(azimuth: float, config: SixViewsConfig) -> Ring:
    """The cameras of the six views in the object-normalised frame; azimuth: radians, of the image."""
    half = np.deg2rad(config.field_of_view) / 2
    distance, side = 1 / np.sin(half), config.side  # the sphere around the object touches the images' borders
    poses = []
    for k in range(VIEWS):
        around, rise = azimuth + np.deg2rad(FIRST + BETWEEN * k), np.deg2rad(config.elevations[k % 2])
        flat = np.cos(rise) * np.array([np.cos(around), np.sin(around)])
        poses.append(look_at(distance * np.array([*flat, np.sin(rise)]), np.zeros(3)))
    focal = side / (2 * np.tan(half))
    return Ring(PinholeCamera(side, side, focal, focal, side / 2, side / 2), np.stack(poses))


def onto_shape(
    made: np.ndarray, geometry: ViewGeometry, config: SixViewsConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Generated views [N, H, W, 3] moved and scaled onto the known shape by the boxes of their outlines: one
    scale for all, a shift for each.  Returns colours, coverage [N, H, W] (0 in views that do not fit), and
    which views [N] are used."""
    import cv2

    masks = np.abs(made - BACKGROUND).max(axis=-1) > config.grey
    target = geometry.coverage > 0.5
    boxes = [(_box(mask), _box(shown)) for mask, shown in zip(masks, target)]
    both = [(a, b) for a, b in boxes if a is not None and b is not None]
    ratios = [np.ptp(b, axis=0) / np.maximum(np.ptp(a, axis=0), 1) for a, b in both]
    rgb, coverage = np.zeros_like(made), np.zeros(masks.shape, np.float32)
    used = np.zeros(len(made), dtype=bool)
    scale = float(np.median(ratios)) if ratios else 1.0
    size = made.shape[2], made.shape[1]
    for k, (a, b) in enumerate(boxes):
        if a is None or b is None:
            continue
        shift = b.mean(axis=0) - scale * a.mean(axis=0) + (scale - 1) / 2
        move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        mask = cv2.warpAffine(masks[k].astype(np.float32), move, size)
        overlap = ((mask > 0.5) & target[k]).sum() / max(1, ((mask > 0.5) | target[k]).sum())
        if overlap >= config.min_overlap:
            rgb[k], coverage[k], used[k] = cv2.warpAffine(made[k], move, size), mask, True
    return rgb, coverage, used


def _box(mask: np.ndarray) -> np.ndarray | None:
    """[2, 2] lower and upper corner (x, y) of the pixels of a mask; None where it is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    return np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], dtype=np.float64)


def in_observed_colors(
    rgb: np.ndarray, coverage: np.ndarray, known: Known, config: SixViewsConfig
) -> np.ndarray:
    """Generated colours [N, H, W, 3], each channel multiplied by what brings it closest to the observed ones
    where both are known, and the observed ones there."""
    both = known.valid & (coverage > 0.5)
    if both.any():
        made, seen = rgb[both].astype(np.float64), known.rgb[both].astype(np.float64)
        gain = (made * seen).sum(axis=0) / np.maximum((made**2).sum(axis=0), 1e-9)
        rgb = np.clip(rgb * np.clip(gain, 1 / config.max_gain, config.max_gain).astype(np.float32), 0, 1)
    return np.where(both[..., None], known.rgb, rgb)
