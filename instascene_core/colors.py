"""Colours that mean the same in RViz, in the report and in the viewer."""

import colorsys

import numpy as np

OBSERVED_COLOR = np.array([90, 170, 255], dtype=np.float32)  # blue, [0, 255]: surface that a camera saw
GENERATED_COLOR = np.array([255, 140, 0], dtype=np.float32)  # orange, [0, 255]: surface that no camera saw

UNCERTAINTY_COLORS = np.array([[236, 240, 232], [250, 190, 110], [222, 92, 80], [122, 20, 84]], np.float32)
UNCERTAIN = 0.005  # metres: the last of these colours


def instance_color(instance_id: int) -> np.ndarray:
    """[3] uint8: a colour that stays with an id (golden-ratio hues, so neighbours differ)."""
    hue = (instance_id * 0.61803398875) % 1.0
    value = 0.95 if (instance_id // 2) % 2 else 0.75
    return (np.array(colorsys.hsv_to_rgb(hue, 0.75, value)) * 255).astype(np.uint8)


def observed_colors(observed: np.ndarray) -> np.ndarray:
    """[K, 3] in [0, 255] from [K] in [0, 1]: OBSERVED_COLOR at 1, GENERATED_COLOR at 0, mixed in between."""
    observed = observed[:, None]
    return observed * OBSERVED_COLOR + (1 - observed) * GENERATED_COLOR


def uncertainty_colors(uncertainty: np.ndarray) -> np.ndarray:
    """[K, 3] in [0, 255] from [K] metres: pale where it is small, dark red from UNCERTAIN on."""
    share = np.clip(np.nan_to_num(uncertainty, nan=UNCERTAIN) / UNCERTAIN, 0, 1)
    steps = np.linspace(0, 1, len(UNCERTAINTY_COLORS))
    return np.stack([np.interp(share, steps, channel) for channel in UNCERTAINTY_COLORS.T], axis=-1)


def part_color(index: int) -> np.ndarray:
    """[3] uint8: the colour of an object's part by its number; paler than objects', so that both show."""
    hue = (0.1 + index * 0.38196601125) % 1.0
    return (np.array(colorsys.hsv_to_rgb(hue, 0.55 + 0.25 * (index % 2), 0.95)) * 255).astype(np.uint8)


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear intensities [...] in [0, 1] of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)
