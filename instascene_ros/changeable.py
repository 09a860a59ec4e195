"""Which parameters can be changed while the node runs, and from when on the new value holds."""

# Beginning of the name → from when on.  Everything else is read at the start: what reconstructs works ahead
# by its settings, and topics are subscribed to by theirs.
TAKES_EFFECT = {
    "keyframe_": "with the next frame",
    "min_sharpness": "with the next frame",
    "segmentation.": "with the next segment_instances",
    "association.": "with the next segment_instances",
    "features.": "with the next segment_instances",
    "pixel_labels.": "with the next segment_instances",
    "region": "with the next segment_instances",
    "click.": "with the next segment_at",
    "removal.": "with the next remove_instance",
    "following.": "with the next new frames",
    "completion.": "with the next complete_instance",
    "resting.": "with the next complete_instance",
    "export.": "with the next files",
}


def takes_effect(name: str) -> str:
    """From when on a new value of a parameter holds; "" where only a restart brings it."""
    return next((when for start, when in TAKES_EFFECT.items() if name.startswith(start)), "")
