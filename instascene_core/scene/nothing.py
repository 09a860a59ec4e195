"""Nothing found is a result with a reason: what was looked at, and what to try."""

from collections.abc import Mapping
from pathlib import Path

from instascene_core.errors import NothingFound
from instascene_core.images import is_blank
from instascene_core.instances import THINGS, InstanceId
from instascene_core.saved_facts import DecomposedFacts, read_scene_facts
from instascene_core.scene.results import SceneState
from instascene_core.scene.scene import Scene

# Reasons, the first that holds is told: what it is, and what to try
BLANK_IMAGES = (
    "{count} of the images show nothing but one colour; check the camera's cover, its exposure and where the "
    "images come from"
)
NO_DEPTH = (
    "none of the {count} depth images holds a measurement; check the depth camera and its unit, or leave "
    "depth out with --no-depth"
)
EMPTY_LABELS = (
    "all {count} label images are empty (0 = unlabelled); check what made them, or leave them out so that "
    "the built-in segmenter is used"
)
OUTSIDE = "of the things in them ({count}) none lies in the region '{region}'; try --region all, or a box"
NO_SUPPORT = (
    "there is no plane that things could stand on, and nothing stands out from its surroundings; check that "
    "`up` is the direction against gravity in the frame of the poses, or give label images"
)
ONLY_SUPPORT = (
    "nothing stands out from the plane they show; move closer to the things, look at them from more sides, "
    "or give label images"
)


def nothing_found(scene: Scene, failures: Mapping[InstanceId, str] | None = None) -> NothingFound | None:
    """One sentence where the scene was decomposed and has no object, or where none of them was completed
    because of `failures` (id → why); None where there are objects, or it was not decomposed."""
    state = scene.state
    if state.instances is None:
        return None
    frames = len(state.frames)
    if not state.instances.objects:
        return NothingFound(f"No object was found in {frames} frames: {_reason(state, scene.config.region)}.")
    if failures and not state.objects:
        first = next(iter(failures.values())).rstrip(".")
        return NothingFound(
            f"None of the {len(failures)} objects found in {frames} frames could be completed; the first "
            f"because: {first}."
        )
    return None


def nothing_delivered(folder: Path, completed: bool) -> NothingFound | None:
    """One sentence where the scene saved in `folder` has no object or, if `completed` ones are asked for,
    none of these; None where it has.  Raises InputError where there is no scene."""
    entries = read_scene_facts(folder, DecomposedFacts)["instances"]["list"]
    objects = sum(entry["kind"] == "object" for entry in entries)
    if not objects:
        return NothingFound(
            f"The scene in {folder} has no object, so everything true is missed; `instascene run` on its "
            "input says why, and what to try."
        )
    if completed and not any(folder.glob("objects/*/object.json")):
        return NothingFound(
            f"None of the {objects} objects of the scene in {folder} is completed, so everything true is "
            f"missed; `instascene complete {folder} ID` says why of each."
        )
    return None


def _reason(state: SceneState, region: str) -> str:
    """The likeliest reason, and what to try."""
    frames, known = state.frames, state.require_decomposition()
    blank = sum(is_blank(frame.rgb, frame.valid) for frame in frames)
    if 2 * blank >= len(frames):
        return BLANK_IMAGES.format(count=blank)
    depths = [f.depth for f in frames if f.depth is not None]
    if depths and not any((depth > 0).any() for depth in depths):
        return NO_DEPTH.format(count=len(depths))
    labels = [f.labels for f in frames if f.labels is not None]
    if labels and not any((image > 0).any() for image in labels):
        return EMPTY_LABELS.format(count=len(labels))
    if others := [i for i in known.instances.instances if i.kind in THINGS]:
        return OUTSIDE.format(count=len(others), region=region)
    return NO_SUPPORT if known.support is None else ONLY_SUPPORT
