"""What given masks of some views say about pairs of patches, weighed by how reliable they prove.

A view with masks says of two patches that it shows: one mask, two masks, or only one of them in a mask.  How
often it says so of one object and of two is not known: it depends on who made the masks.  It is estimated
together with the answer (after Dawid and Skene 1979, expectation maximisation): what is known of the pairs
without the masks tells roughly which views err, and the views tell which pairs are one object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instascene_core.config.segmentation import GivenMasksConfig
from instascene_core.segmentation.fused_surface.contacts import PatchPairs

SILENT, SAME, DIFFERENT, ONE_SIDED = range(4)  # what a view says of a pair
SAID = 3  # kinds that are not silent


@dataclass(frozen=True)
class MaskVotes:
    """What each view with masks says of every pair of patches."""

    said: np.ndarray  # [V, C] uint8: SILENT, SAME, DIFFERENT or ONE_SIDED
    num_masks: np.ndarray  # [V] masks that lie on the surface: the pairs of a view repeat what these say

    @property
    def heard(self) -> np.ndarray:
        """[C] bool: pairs of which some view says something."""
        return (self.said != SILENT).any(axis=0)


def votes_of_masks(
    labels: Sequence[np.ndarray | None],
    elements: Sequence[np.ndarray],
    patch: np.ndarray,
    pairs: PatchPairs,
    config: GivenMasksConfig,
) -> MaskVotes:
    """labels: per frame [H, W] int32 of a view with masks, or None.

    elements: per frame [H, W] element each pixel shows, −1 where none; patch: [K] of every element.
    """
    count = int(patch.max(initial=-1)) + 1
    said, num_masks = [], []
    for image, element in zip(labels, elements, strict=True):
        if image is None:
            continue
        mask, number = _mask_of_patch(image, element, patch, count, config)
        first, second = mask[pairs.first], mask[pairs.second]
        kind = np.where((first > 0) & (second > 0), np.where(first == second, SAME, DIFFERENT), ONE_SIDED)
        # Where neither lies in a mask nothing is said: table and missed objects look the same.
        silent = (first < 0) | (second < 0) | ((first == 0) & (second == 0))
        said.append(np.where(silent, SILENT, kind).astype(np.uint8))
        num_masks.append(number)
    shape = (len(said), len(pairs.first))
    return MaskVotes(np.array(said, dtype=np.uint8).reshape(shape), np.array(num_masks, dtype=np.float64))


def _mask_of_patch(
    image: np.ndarray, element: np.ndarray, patch: np.ndarray, count: int, config: GivenMasksConfig
) -> tuple[np.ndarray, int]:
    """([P] int mask in which a patch lies, 0 = in none, −1 = unseen or in several; masks on the surface)."""
    shown = element >= 0
    ids, mask = np.unique(np.maximum(image[shown], 0), return_inverse=True)
    pixels = np.bincount(patch[element[shown]] * len(ids) + mask, minlength=count * len(ids))
    pixels = pixels.reshape(count, len(ids))
    total, best = pixels.sum(axis=1), pixels.argmax(axis=1) if len(ids) else np.zeros(count, dtype=np.int64)
    clear = (total >= config.min_patch_pixels) & (
        pixels.max(axis=1, initial=0) >= config.min_patch_share * total
    )
    return np.where(clear, ids[best] if len(ids) else 0, -1), int((ids > 0).sum())


def combine(odds: np.ndarray, votes: MaskVotes, pairs: PatchPairs, config: GivenMasksConfig) -> np.ndarray:
    """[C] log odds that two patches are two objects: those known without masks, `odds`, and every view's.

    A view's rates are pooled with those of the other views, as it has few masks; patches in contact have
    rates of their own, as a mask that is cut parts those further away more often.
    """
    num_views = len(votes.said)
    # One number for touching or not, and for what a view says of the pair.
    code = votes.said + np.uint8(SAID + 1) * pairs.touching.astype(np.uint8)
    size = 2 * (SAID + 1)
    total = np.array([np.bincount(row, minlength=size) for row in code]).reshape(num_views, size)
    prior = config.prior_masks * np.array([config.one_object, config.two_objects])  # [2, SAID]
    odds = np.clip(odds, -config.max_own_log_odds, config.max_own_log_odds) if num_views else odds
    result = odds.copy()
    for _ in range(config.rounds):
        two = 1 / (1 + np.exp(-np.clip(result, -30, 30)))
        of_two = np.array([np.bincount(row, two, minlength=size) for row in code]).reshape(total.shape)
        counts = np.stack([total - of_two, of_two], axis=1).reshape(num_views, 2, 2, SAID + 1)[..., 1:]
        # [V, one or two objects, apart or touching, SAID] in masks rather than pairs.
        counts = counts / np.maximum(counts.sum(axis=(1, 3), keepdims=True), 1e-9)
        counts = counts * votes.num_masks[:, None, None, None]
        pooled = counts.sum(axis=0) + prior[:, None]
        pooled /= pooled.sum(axis=-1, keepdims=True)
        rates = counts + config.pooled_masks * pooled
        rates /= rates.sum(axis=-1, keepdims=True)
        says = np.zeros((num_views, 2, SAID + 1))
        says[..., 1:] = np.log(rates[:, 1] / rates[:, 0])
        now = odds + sum((says[v].ravel()[row] for v, row in enumerate(code)), np.zeros(len(odds)))
        settled = np.abs(now - result).max(initial=0) < config.settled_log_odds
        result = now
        if settled:
            break
    return result
