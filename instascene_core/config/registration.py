"""Settings of the registration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RegistrationConfig:
    """Poses that agree with one another, before anything is reconstructed.

    Lengths that are not pixels are relative to the typical depth of the recording.
    """

    # Correct poses of frames with depth where pixels that had no say agree better afterwards; False takes
    # them as given.
    correct_poses: bool = True
    # Which views are compared: for each the nearest by what both see, and some farther ones
    neighbours: int = 5
    far_neighbours: int = 3  # of the farther ones
    min_overlap: float = 0.2  # share of a view's points that the other must see, head on or nearly
    # What of them: pixels of each view, of images thinned out to at most so many pixels
    samples: int = 700
    max_pixels: int = 80_000  # of an image
    max_pixels_together: int = 8_000_000  # of all views: 20 bytes each
    # Coarse to fine: how far colours are smoothed (pixels of the thinned image), and rounds at most
    smoothing: tuple[float, ...] = (3.0, 1.5, 0.7)
    rounds: int = 8  # of Gauss-Newton at each smoothing
    # How far given poses are expected to be off (standard deviations)
    pose_shift: float = 0.03
    pose_turn: float = 0.03  # radians
    # How far residuals are taken seriously
    noise_floor: float = 5e-4  # of the depth, squared with it: no sensor is better
    independence: float = 0.05  # what one pixel adds to what its neighbours have said
    # A correction is made where it explains the pixels that had no say better: by so many standard errors
    # of the mean over the pairs of views
    significance: float = 4.0
    least_pixels: float = 0.05  # and where it moves the images by at least this much (mean)
