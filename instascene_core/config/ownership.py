"""Thresholds of the rules that decide whose a pixel is (`instascene_core.ownership`)."""

from dataclasses import dataclass

from instascene_core.config.ranges import Count, Positive, Share


@dataclass(frozen=True)
class PixelLabelsConfig:
    """Labels of pixels from Gaussians, colour and depth (`label_pixels`)."""

    # The pixels at borders are found in a trace of at most so many pixels ...
    max_trace_pixels: Count = 320 * 240
    min_trace_weight: float = 0.02  # ... in which Gaussians of a lower blending weight do not count
    min_weight: float = 0.02  # summed blending weight below which a label does not compete for a pixel
    # One scale is so many times the median deviation (of colour in [0, 1] summed over channels, or of depth
    # in metres) of the pixels inside instances: pixels at borders deviate more.
    deviations_per_scale: Positive = 2.0
    scale_pixels: Count = 8192  # of those, about so many are looked at
    max_scales: Positive = 6.0  # that one measurement can speak against a label: it may be an outlier


@dataclass(frozen=True)
class SurfaceAdoptionConfig:
    """Which unlabelled pixels belong to an instance all the same (`adopt_surface`).

    A footprint is what one pixel covers on the surface: depth / focal length, metres.
    """

    reach: float = 0.15  # how far from the mask, as a share of the square root of its pixels ...
    min_reach: float = 2.0  # ... and at least, pixels
    max_step: float = 3.0  # footprints per pixel of gap: a longer step is an edge of depth
    max_rise: float = 0.2  # rise over the mask's surface, as a share of the step: more bends inward ...
    rise_slack: float = 0.3  # ... footprints allowed on top of that
    rim_weight: float = 0.05  # of normals at the mask's rim, next to 1 inside
    smoothing: Count = 5  # pixels, side of the square over which normals are averaged
    support_height: float = 2.0  # footprints over the support within which a pixel is the support's
    support_share: Share = 0.8  # of a label's pixels lie there: the label is the support's own
