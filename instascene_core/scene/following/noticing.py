"""From a scene and new frames to the scene as it is now, and what has changed."""

from collections.abc import Mapping, Sequence

import numpy as np

from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.geometry import SurfacePoints
from instascene_core.instances import THINGS, InstanceId
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.scene.depth_bend import without_bend
from instascene_core.scene.following.changes import APPEARED, LEFT, MOVED, Change
from instascene_core.scene.following.changing import Findings, changed_state
from instascene_core.scene.following.comparing import Comparison, Expectation, compare, doubtful, gone
from instascene_core.scene.following.placing_again import Placing, lies_on, place_again
from instascene_core.scene.following.unexplained import NewThing, things_among, unexplained_points
from instascene_core.scene.removal import remove_instance
from instascene_core.scene.results import SceneState

UP = np.array([0.0, 0.0, 1.0])  # where neither the scene nor its support knows better


def frames_to_follow(state: SceneState) -> list[Frame]:
    """Frames with depth that the scene has not been held against yet."""
    if state.decomposition is None:
        return []
    known = {view.name for view in state.decomposition.views}
    return [f for f in state.frames if f.name not in known and f.depth is not None]


def follow(
    state: SceneState, config: Config, progress: ProgressCallback = no_progress
) -> tuple[SceneState, tuple[Change, ...]]:
    """The scene after its new frames, and the changes that they show; the same state where none are new.

    Frames without depth are left to the next reconstruction.
    """
    frames, settings = frames_to_follow(state), config.following
    if not frames:
        return state, ()
    frames = without_bend(frames, state.require_reconstruction().bends)
    first = _compared(state, frames, config, progress)
    things = [i.id for i in state.require_decomposition().instances.instances if i.kind in THINGS]
    left = gone(first, things, settings)
    missing = {**doubtful(first, things, settings), **left}
    while True:
        found = _looked_again(state, frames, first, missing, config, progress)
        # What is only in part not where it was, and nowhere else, is where it was: it was seen badly.  So was
        # what fits best where it was.
        unmoved = missing.keys() - left.keys() - found.moved.keys()
        unmoved |= {n for n, (_, placing) in found.moved.items() if placing.shift < placing.reach}
        if not unmoved:
            break
        missing = {number: since for number, since in missing.items() if number not in unmoved}
    after, new_ids = changed_state(found, config)
    progress("follow", 1.0, "")
    return after, tuple(_changes(found, new_ids))


def _looked_again(
    state: SceneState, frames: Sequence[Frame], first: Sequence[Comparison],
    missing: Mapping[InstanceId, int], config: Config, progress: ProgressCallback,
) -> Findings:  # fmt: skip
    """What the frames show that the scene without the missing things does not explain."""
    emptied = state
    for number in missing:
        emptied, _ = remove_instance(emptied, number, config)
    comparisons = _compared(emptied, frames, config, progress) if missing else first
    points, noise = unexplained_points(comparisons)
    things = things_among(points, noise, emptied.require_decomposition().support, config.following)
    moved = _moved(state, things, missing, comparisons, config)
    rest = [thing for thing in things if all(thing is not other for other, _ in moved.values())]
    # Of a thing that is hidden in part, several pieces may be seen.
    for number, (_, placing) in moved.items():
        model = _surface_of(state, number)
        rest = [thing for thing in rest if not lies_on(thing.points, model, placing)]
    return Findings(
        before=state,
        emptied=emptied,
        expected=tuple(first),
        comparisons=tuple(comparisons),
        missing=missing,
        moved=moved,
        appeared=tuple(rest),
    )


def _compared(
    state: SceneState, frames: Sequence[Frame], config: Config, progress: ProgressCallback
) -> list[Comparison]:
    expectation, result = Expectation.of(state), []
    for index, frame in enumerate(frames):
        progress("follow", index / len(frames), frame.name)
        result.append(compare(frame, expectation, config.following))
    return result


def _moved(
    state: SceneState, things: Sequence[NewThing], missing: Mapping[InstanceId, int],
    comparisons: Sequence[Comparison], config: Config,
) -> dict[InstanceId, tuple[NewThing, Placing]]:  # fmt: skip
    """Each missing thing that fits one of the new ones, the best pairs first."""
    up = state.require_decomposition().up
    up = UP if up is None else up
    pairs = []
    for number in missing:
        model = _surface_of(state, number)
        for thing in things:
            showing = comparisons[thing.since :]
            placing = place_again(model, thing, showing, up, config.following)
            if placing is not None:
                pairs.append((placing.worth(config.following), number, thing, placing))
    pairs.sort(key=lambda pair: -pair[0])
    found, taken = {}, set()
    for _, number, thing, placing in pairs:
        if number not in found and id(thing) not in taken:
            found[number] = (thing, placing)
            taken.add(id(thing))
    return found


def _surface_of(state: SceneState, number: InstanceId) -> SurfacePoints:
    """A thing's surface: its completed mesh, else its Gaussians as far as they were seen."""
    if (result := state.objects.get(number)) is not None:
        corners = result.mesh.vertices[result.mesh.triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sizes = np.linalg.norm(normals, axis=1)
        real = sizes > 0
        colors = result.colors[result.mesh.triangles].mean(axis=1) / 255
        return SurfacePoints(
            corners.mean(axis=1)[real], normals[real] / sizes[real, None], colors[real].astype(np.float32)
        )
    known = state.require_decomposition()
    own = np.flatnonzero(known.instances.gaussian_labels == number)
    means = known.gaussians.means.detach().numpy()[own].astype(np.float64)
    normals = known.gaussians.normals.detach().numpy()[own].astype(np.float64)
    outward = np.sign(((means - means.mean(axis=0)) * normals).sum(axis=1, keepdims=True))
    colors = known.gaussians.base_colors.detach().numpy()[own].clip(0, 1)
    return SurfacePoints(means, normals * outward, colors)


def _changes(found: Findings, new_ids: Sequence[InstanceId]) -> list[Change]:
    def stamp(index: int) -> float:
        return found.comparisons[index].frame.stamp

    changes = []
    for number, since in found.missing.items():
        if number in found.moved:
            thing, placing = found.moved[number]
            changes.append(Change(MOVED, number, stamp(thing.since), placing.motion))
        else:
            changes.append(Change(LEFT, number, stamp(since)))
    changes += [
        Change(APPEARED, number, stamp(thing.since)) for number, thing in zip(new_ids, found.appeared)
    ]
    return changes
