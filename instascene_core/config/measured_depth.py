"""Settings of how depth, a sensor's or one estimated from colours, is combined with that of the Gaussians."""

from dataclasses import dataclass

from instascene_core.config.ranges import Count, Positive


@dataclass(frozen=True)
class DepthBendConfig:
    """What a sensor's depth is off in all frames alike: a smooth field, measured by stereo of the colours."""

    # Take it out.  By true masks things then come out better where depth bends by half a per cent
    # and more; with the built-in masks no gain was shown, so it has to be asked for.
    correct: bool = False
    # What stereo is matched on, spread over the recording ...
    frames: Count = 16  # so many
    max_pixels: Count = 80_000  # their images made smaller to at most so many
    least_frames: Count = 3  # in each half of them that must match; with fewer nothing is corrected
    # The field is made of medians in parts of the image ...
    cells: tuple[Count, Count] = (8, 6)  # so many across and down
    least_pixels: Count = 60  # that must match in a part for it to count
    waves: tuple[Count, Count] = (5, 4)  # that are fitted to them, across and down
    # The root mean square of the field, as a share of the depth, from which it is taken out: stereo by poses
    # that are right to a third of a pixel is itself off by a third of this, and less gained nothing taken out
    least_share: Positive = 4e-3
    # ... and what the field of one half of the frames may leave of what the other half is off
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
