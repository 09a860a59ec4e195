"""Depth that stereo of colours found, checked against the depth of the Gaussians.

The two err differently.  Stereo compares patches of one image with others': it has hardly a bias, but at
outlines it fattens what is in front, by centimetres.  The Gaussians explain every pixel of every view, and so
know whose pixel it is, but their surface lies about half a millimetre too deep.  So stereo's depth is taken
where both see the same surface, by how far they are apart on this recording, and the Gaussians' elsewhere.
"""

from collections.abc import Sequence

import numpy as np

from instascene_core.config.measured_depth import EstimatedDepthConfig
from instascene_core.frame import Frame
from instascene_core.scene.depth_noise import DepthNoise, Render, equal_bins, evenly_spread, spread


def measure_difference(
    frames: Sequence[Frame], render: Render, config: EstimatedDepthConfig
) -> DepthNoise | None:
    """How far the estimated depth of the frames scatters about the Gaussians'; None where none has any."""
    estimated = [frame for frame in frames if frame.estimated_depth is not None]
    depths, differences = [np.empty(0)], [np.empty(0)]
    for k in evenly_spread(len(estimated), config.noise_frames):
        depth, rendered = estimated[k].estimated_depth, render(estimated[k])
        both = (depth > 0) & (rendered > 0)
        depths.append(rendered[both])
        differences.append(np.abs(depth - rendered)[both])
    z = np.concatenate(depths)
    if not len(z):
        return None
    middle, bins = equal_bins(z, config.noise_bins)
    return DepthNoise(middle, spread(np.concatenate(differences), bins))


def checked_depth(
    frame: Frame, rendered: np.ndarray, difference: DepthNoise, config: EstimatedDepthConfig
) -> np.ndarray:
    """[H, W] float32 metres: the estimated depth where the Gaussians confirm it, else `rendered`, theirs."""
    estimated = frame.estimated_depth
    if estimated is None:
        return rendered
    same = np.abs(estimated - rendered) <= config.agreement * difference.at(rendered)
    return np.where((estimated > 0) & same, estimated, rendered).astype(np.float32)
