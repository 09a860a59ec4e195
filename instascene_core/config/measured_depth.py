"""Settings of how depth, a sensor's or one estimated from colours, is combined with that of the Gaussians."""

from dataclasses import dataclass

from instascene_core.config.ranges import Count, Positive


@dataclass(frozen=True)
class DepthBendConfig:
    """What the depth of a sensor is off in all frames alike, measured by stereo of the colours: a smooth field
    over the image."""

    correct: bool = True  # False: the sensor's depth is taken as it is
    # What is matched: so many frames, images of at most so many pixels
    frames: Count = 16
    max_pixels: Count = 80_000
    least_frames: Count = 3  # that must match in each half of them; with fewer nothing is corrected
    # The field: medians in so many parts of the image (across, down), of so many matched pixels at least,
    # fitted by so many waves
    cells: tuple[Count, Count] = (8, 6)
    least_pixels: Count = 60
    waves: tuple[Count, Count] = (5, 4)
    # It is taken out where it is at least such a share of the depth (root mean square), and where the field
    # of one half of the frames leaves at most this share of what the other half is off
    least_share: Positive = 1e-3
    most_left: Positive = 0.6


@dataclass(frozen=True)
class MeasuredDepthConfig:
    """A sensor's depth and that of the Gaussians, which all views have a say in, weighted by their noise."""

    combine: bool = True  # False: the sensor's depth is taken as it is
    # Fusion averages what noise there is up to about the footprint of a pixel; noise beyond so many of them
    # (standard deviation) eats the objects.  There the Gaussians' depth takes over.
    coarse_noise: Positive = 1.5
    # What the depth of the Gaussians is off, in pixels' footprints: a standard deviation
    rendered_error: Positive = 0.4
    # Both measure the same surface where they are so many standard deviations apart at most; other depth
    # counts only where other views have measured it, too
    agreement: Positive = 3.0
    compared_views: Count = 6  # the nearest ones ...
    confirming_views: Count = 2  # ... of which so many must have
    # The sensor's noise is measured on so many frames, as a function of the depth
    noise_frames: Count = 16
    noise_pixels: Count = 80_000  # about so many of each, in a strip across it
    noise_bins: Count = 8  # of about as many pixels each


@dataclass(frozen=True)
class EstimatedDepthConfig:
    """Depth that stereo of colours found, and that of the Gaussians."""

    # Both see the same surface where they are so many standard deviations of their difference apart at most;
    # beyond, the Gaussians are right far more often (d1 of clutter: median error 2 mm for 21)
    agreement: Positive = 5.0
    # The difference is measured on so many frames, as a function of the depth
    noise_frames: Count = 16
    noise_bins: Count = 8  # of about as many pixels each
