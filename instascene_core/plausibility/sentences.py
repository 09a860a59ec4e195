"""One sentence for everything that the check can find: what is wrong, and what to do."""

from instascene_core.corrections import Corrections
from instascene_core.plausibility.verdict import (
    CONVENTION,
    DEPTH_SHIFT,
    DEPTH_UNIT,
    EMPTY_DEPTH,
    NO_MOTION,
    NO_ROTATION,
    NO_TRANSLATION,
    NONE_FITS,
    ON_THE_SPOT,
    POSE_SCALE,
    RANGE,
    SAME_POSES,
    TIME,
)

# Without a reading that helps
PLAIN = {
    SAME_POSES: "All {count} poses are the same, but the images were not taken from one place; check where "
    "the poses come from (a tf that is not updated, a topic that is latched).",
    NO_MOTION: "All {count} poses are the same, and images from one place do not tell how far things are; "
    "check where the poses come from, or record depth.",
    NO_TRANSLATION: "All {count} poses lie at the same position, but the camera moved between the images; "
    "the translations are lost, so check where the poses come from.",
    NO_ROTATION: "All {count} poses have the same rotation, but the camera turned between the images; the "
    "rotations are lost, so check where the poses come from.",
    ON_THE_SPOT: "The camera only turned on the spot, and images from one place do not tell how far things "
    "are; move it sideways, or record depth.",
    EMPTY_DEPTH: "{empty} of {count} depth images hold no measurement, so everything comes from the colours; "
    "check the depth's unit, scale and shift, or give --no-depth if that is meant.",
    NONE_FITS: "The poses do not fit the images ({given} {what} agrees), and no other convention, scale or "
    "time offset does; check the calibration and that images, depth and poses are of the same recording.",
}
AGREES = "then {best} {what} agrees instead of {given}"


def plain(name: str, **facts) -> str:
    return PLAIN[name].format(**facts)


def of_correction(name: str, reading: Corrections, found: Corrections, agrees: str) -> str:
    """Names the reading that fits, and the option that makes it."""
    if name == CONVENTION:
        return (
            f"The poses are read as {reading.pose_convention}, but they fit as {found.pose_convention} "
            f"({agrees}): give --pose-convention {found.pose_convention} (the node: pose_convention)."
        )
    if name == TIME:
        change = found.pose_time_offset - reading.pose_time_offset
        when = "later" if change > 0 else "earlier"
        return (
            f"Each image fits the pose of {abs(change):.3g} s {when} ({agrees}): give --pose-time-offset "
            f"{found.pose_time_offset:.4g} (the node: pose_time_offset)."
        )
    if name == RANGE:
        return (
            f"The depth is the distance from the camera's centre, not along its axis ({agrees}): give "
            "--depth-is-range (the node: depth_is_range)."
        )
    if name == DEPTH_SHIFT:
        right, down = found.depth_shift
        return (
            f"The depth does not lie on the colours: it fits them moved {right:g} pixels right and {down:g} "
            "down; record depth registered to the colour camera, or give --depth-shift "
            f"{right:g} {down:g} (the node: depth_shift)."
        )
    return _of_scale(name, reading, found, agrees)


def _of_scale(name: str, reading: Corrections, found: Corrections, agrees: str) -> str:
    """Depth and poses fix only the ratio of their units, so both options are told, the likelier first."""
    depth = found.depth_scale / reading.depth_scale
    poses = found.pose_scale / reading.pose_scale
    if name == DEPTH_UNIT:
        return (
            f"The depth fits the poses once it is multiplied by {depth:.4g} ({agrees}): give --depth-scale "
            f"{found.depth_scale:.4g} if the poses are in metres, or --pose-scale "
            f"{reading.pose_scale / depth:.4g} if the depth is (the node: depth_scale, pose_scale)."
        )
    assert name == POSE_SCALE
    return (
        f"The poses fit the depth once their translations are multiplied by {poses:.4g} ({agrees}): give "
        f"--pose-scale {found.pose_scale:.4g} if the depth is in metres, or --depth-scale "
        f"{reading.depth_scale / poses:.4g} if the poses are (the node: pose_scale, depth_scale)."
    )
