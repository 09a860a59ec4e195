"""True label images damaged as a segmenter does it: by what the image shows, alike in neighbouring views.

`masks.damage_labels` draws every mask's fate by itself.  A real segmenter errs where the image invites it
to: it cuts along prints and creases, joins what touches without contrast, misses what is small, thin or dark
on dark, runs over weak edges, and takes shadows and highlights for things.  And it does so again in the next
view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.synthetic.image_edges import TABLE_BLUR, ImageContent, content_of
from instascene_core.synthetic.image_parts import parts_by_content
from instascene_core.synthetic.masks import shuffled


@dataclass(frozen=True)
class SegmenterErrors:
    """How often and how far a segmenter errs.  Rates are probabilities a mask or pair and view.

    An assumption, not a measurement of any segmenter: what is published of class-agnostic ones on cluttered
    tables (such as the share of objects found at IoU 0.75, about four in five) leaves a fifth of the masks
    wrong in a view, and more where small things touch.  With these defaults, 55 to 63 % of what shows 25
    pixels or more in a view has a mask of IoU 0.75 on three crowded scenes (pile, flush, nested at 320×240),
    20 to 26 % with `damage_labels`.  Parts are commonest with SAM-like segmenters, merged things with
    Mask2Former-like ones; both are set to the same order.
    """

    missing: float = 0.04  # of large masks with contrast ...
    missing_small: float = 0.15  # ... added as the mask goes to nothing,
    missing_thin: float = 0.2  # ... as it gets thin,
    missing_dark: float = 0.2  # ... and where it is dark on dark
    small_share: float = 0.008  # of the image's pixels, below which a mask is small
    thin_share: float = 0.03  # of the image's height, below which its greatest width is thin
    dark_lightness: float = 30.0  # CIE L below which a mask is dark, with a step below `edge_step` around it
    split: float = (
        0.08  # of masks whose parts differ by `edge_step`; in proportion to the step, at most twice
    )
    max_parts: int = 4
    merged: float = 0.5  # of pairs that touch without any contrast; falls by e with each `edge_step`
    edge_step: float = 12.0  # steps between colours (Lab units) or of depth that are one edge ...
    depth_step: float = 0.02  # metres that count as much as `edge_step`
    leak_share: float = 0.01  # of the image's height, how far a border moves where there is no edge ...
    jitter_share: float = 0.003  # ... and where there is one
    bleeding: float = 0.08  # masks that take some of the table with them ...
    bleed_reach: float = 0.35  # ... as far as this share of the root of their area
    false_masks: float = 0.7  # highlights and shadows of the table that become masks, mean a view
    persistence_degrees: float = 20.0  # turn of the camera after which 1/e of what it errs by is left ...
    lasting: float = 0.3  # ... but for this share, which belongs to the thing itself and stays

    def __post_init__(self) -> None:
        rates = ("missing", "missing_small", "missing_thin", "missing_dark", "split", "merged", "bleeding")
        for name in (*rates, "lasting"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"The error rate '{name}' must lie in 0 … 1, got {getattr(self, name)}.")
        if self.persistence_degrees <= 0 or self.edge_step <= 0 or self.depth_step <= 0:
            raise InputError("'persistence_degrees', 'edge_step' and 'depth_step' must be positive.")


def damage_like_segmenter(
    frames: Sequence[Frame], rng: np.random.Generator, errors: SegmenterErrors | None = None
) -> list[np.ndarray]:
    """Per frame of a sequence [H, W] int32, UNLABELLED or ≥ 1: its true labels, damaged.

    The frames have labels and depth (metres).  Ids mean nothing from one frame to the next.
    """
    damage = SegmenterDamage(rng, errors)
    return [damage.labels_of(frame) for frame in frames]


class SegmenterDamage:
    """A segmenter that knows the truth and errs; it remembers what it did in the view before."""

    def __init__(self, rng: np.random.Generator, errors: SegmenterErrors | None = None) -> None:
        self._rng, self._errors = rng, errors or SegmenterErrors()
        self._moods = _Moods(rng, self._errors.lasting)
        self._pose: np.ndarray | None = None

    def labels_of(self, frame: Frame) -> np.ndarray:
        """[H, W] int32 damaged labels of the frame after the one before."""
        errors, truth = self._errors, np.maximum(frame.require_labels(), 0)
        if self._pose is not None:
            turn = np.trace(self._pose[:3, :3].T @ frame.world_from_camera[:3, :3])
            angle = np.degrees(np.arccos(np.clip((turn - 1) / 2, -1, 1)))
            self._moods.drift(float(np.exp(-angle / errors.persistence_degrees)))
        self._pose = frame.world_from_camera
        content = content_of(frame, errors.edge_step, errors.depth_step)
        ids = [int(i) for i in np.unique(truth) if i > 0]
        missed = [i for i in ids if self._moods.of("missing", i) < self._missing(truth == i, content)]
        labels = np.where(np.isin(truth, missed), 0, truth).astype(np.int32)
        labels = self._merge(labels, content)
        labels = self._split(labels, truth, content)
        labels = self._bleed(labels, truth, content)
        labels = self._move_borders(labels, content)
        return shuffled(self._add_false(labels, truth, content), self._rng)

    def _missing(self, mask: np.ndarray, content: ImageContent) -> float:
        import cv2

        errors, pixels = self._errors, np.count_nonzero(mask)
        small = max(0.0, 1 - pixels / (errors.small_share * mask.size))
        width = 2 * float(cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3).max())
        thin = max(0.0, 1 - width / (errors.thin_share * mask.shape[0]))
        around = (cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & ~mask
        own = np.median(content.lab[mask], axis=0)
        step = np.linalg.norm(own - np.median(content.lab[around], axis=0)) if around.any() else np.inf
        dark = own[0] < errors.dark_lightness and step < errors.edge_step
        return (
            errors.missing + errors.missing_small * small + errors.missing_thin * thin
            + errors.missing_dark * dark
        )  # fmt: skip

    def _merge(self, labels: np.ndarray, content: ImageContent) -> np.ndarray:
        """Touching masks become one where nothing in the image parts them."""
        target = np.arange(int(labels.max(initial=0)) + 1)
        for (a, b), step in content.steps_between(labels).items():
            if self._moods.of("merged", a, b) < self._errors.merged * np.exp(-step / self._errors.edge_step):
                target[target == target[b]] = target[a]
        return target[labels].astype(np.int32)

    def _split(self, labels: np.ndarray, truth: np.ndarray, content: ImageContent) -> np.ndarray:
        """Masks fall into parts that differ; a merged mask is not cut again."""
        result, next_id, errors = labels.copy(), int(labels.max(initial=0)) + 1, self._errors
        for mask_id in np.unique(labels[labels > 0]):
            mask = labels == mask_id
            mood = self._moods.of("split", int(mask_id))
            if mood >= 2 * errors.split or truth[mask].min() != truth[mask].max():
                continue
            part, step = parts_by_content(mask, content, errors.max_parts, self._rng)
            if part.max() > 0 and mood < errors.split * min(step / errors.edge_step, 2):
                result[mask] = np.where(part == 0, mask_id, next_id + part - 1)
                next_id += int(part.max())
        return result

    def _bleed(self, labels: np.ndarray, truth: np.ndarray, content: ImageContent) -> np.ndarray:
        """Masks run out over the table on one side: where it lies in shadow, if it does."""
        import cv2

        result, table = labels.copy(), (truth == 0) & content.measured
        for mask_id in np.unique(labels[labels > 0]):
            if self._moods.of("bleeding", int(mask_id)) >= self._errors.bleeding:
                continue
            mask = labels == mask_id
            rows, columns = np.nonzero(mask)
            reach = max(2.0, self._errors.bleed_reach * sqrt(len(rows)))
            near = table & (cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) <= reach)
            if not near.any():
                continue
            angle = self._rng.uniform(0, 2 * np.pi)
            y, x = np.nonzero(near)
            side = (x - columns.mean()) * np.cos(angle) + (y - rows.mean()) * np.sin(angle) > 0
            shade = cv2.GaussianBlur(content.lab[..., 0], (0, 0), TABLE_BLUR * len(table))
            dark = shade[y, x] < content.table_lightness(table) - self._errors.edge_step / 2
            chosen = dark if dark.mean() > 0.1 else side
            result[y[chosen], x[chosen]] = mask_id
        return result

    def _move_borders(self, labels: np.ndarray, content: ImageContent) -> np.ndarray:
        """Borders waver by a smooth displacement, further where the image has no edge."""
        import cv2

        height, width = labels.shape
        errors = self._errors
        weak = np.exp(-cv2.GaussianBlur(content.edges, (0, 0), 2.0))
        reach = height * (errors.jitter_share + (errors.leak_share - errors.jitter_share) * weak)
        coarse = self._rng.normal(size=(2, height // 12 + 2, width // 12 + 2)).astype(np.float32)
        dy, dx = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse)
        y, x = np.indices(labels.shape, dtype=np.float32)
        rows = np.clip(np.round(y + reach * dy), 0, height - 1).astype(np.int64)
        columns = np.clip(np.round(x + reach * dx), 0, width - 1).astype(np.int64)
        return labels[rows, columns]

    def _add_false(self, labels: np.ndarray, truth: np.ndarray, content: ImageContent) -> np.ndarray:
        """Patches of the table that are lighter or darker than it become masks."""
        patches = content.patches_of_table((truth == 0) & content.measured)
        count = int(self._rng.poisson(self._errors.false_masks))
        if not patches or not count:
            return labels
        result, next_id = labels.copy(), int(labels.max(initial=0)) + 1
        chosen = self._rng.choice(len(patches), size=min(count, len(patches)), replace=False)
        for number, index in enumerate(chosen):
            free = patches[index] & (result == 0)
            result[free] = next_id + number
        return result


class _Moods:
    """A number in [0, 1], uniform, for every kind of error and thing: an error happens where it is below its
    rate.  It drifts from view to view around a value of the thing's own."""

    def __init__(self, rng: np.random.Generator, lasting: float) -> None:
        self._rng, self._lasting = rng, lasting
        self._own: dict[tuple, float] = {}
        self._now: dict[tuple, float] = {}

    def drift(self, kept: float) -> None:
        """kept: the correlation of the part that changes with what it was."""
        for key, value in self._now.items():
            self._now[key] = kept * value + sqrt(1 - kept**2) * self._rng.normal()

    def of(self, *key: object) -> float:
        """The mood about a thing now."""
        if key not in self._own:
            self._own[key], self._now[key] = self._rng.normal(), self._rng.normal()
        value = sqrt(self._lasting) * self._own[key] + sqrt(1 - self._lasting) * self._now[key]
        return 0.5 * (1 + erf(value / sqrt(2)))
