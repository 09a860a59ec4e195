"""Reconstruction that was begun before anyone asked for it, or whose request did not get to its end."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from instascene_core import reconstruction
from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.plausibility import Verdict
from instascene_core.progress import ProgressCallback
from instascene_core.scene.results import Reconstruction, SceneState
from instascene_core.scene.stages import reconstruct


@dataclass(frozen=True)
class Limits:
    """Of a reconstruction; None takes the configuration's."""

    iterations: int | None = None
    time_budget_s: float | None = None


@dataclass(frozen=True, eq=False)
class _Unfinished:
    """A reconstruction whose `run` was cancelled or failed later on, or still goes on."""

    frames: tuple[Frame, ...]  # made from these, as they came
    limits: Limits
    reconstruction: Reconstruction

    def is_of(self, frames: Sequence[Frame], limits: Limits) -> bool:
        """Whether it is what would be made of these very frames within these limits."""
        same = len(frames) == len(self.frames) and all(a is b for a, b in zip(frames, self.frames))
        return same and limits == self.limits


class BegunWork:
    """What idle time has reconstructed ahead, and what a `run` had reconstructed when it was cancelled.

    Both only save time: a scene without them comes to the same state, later.
    """

    def __init__(self) -> None:
        self._online: reconstruction.OnlineReconstruction | None = None  # what `ahead` has done
        self._unfinished: _Unfinished | None = None  # of a run that has not got to its end

    def ahead(self, state: SceneState, config: Config, seconds: float) -> bool:
        """Fold new frames into the Gaussians and optimise, for about `seconds`; False when there is nothing
        to do before the next frame."""
        end = time.perf_counter() + seconds
        if self._online is None:
            self.go_on_from(state, config)
        assert self._online is not None
        _fold_in(self._online, state.frames, end)
        return self._online.work(end - time.perf_counter())

    def go_on_from(self, state: SceneState, config: Config) -> None:
        """Begin anew, from the Gaussians where there are any."""
        self._online = reconstruction.OnlineReconstruction(config.reconstruction)
        self.adopt(state, state.posed_frames)

    def adopt(self, state: SceneState, frames: Sequence[Frame]) -> None:
        """Where work was begun, it goes on from the state's Gaussians, on these frames."""
        known = state.reconstruction
        if self._online is not None and known is not None:
            self._online.adopt(frames, known.gaussians, known.background)

    def drop(self, name: str) -> None:
        """A frame has left the scene."""
        if self._online is not None:
            self._online.drop(name)

    def end_run(self) -> None:
        """What a run has reconstructed is the scene's by now, or of other frames than the scene's."""
        self._unfinished = None

    def explain(
        self, state: SceneState, config: Config, progress: ProgressCallback, limits: Limits,
        verdict: Verdict | None,
    ) -> SceneState:  # fmt: skip
        """The state whose Gaussians explain all its frames, finished from what was begun.

        What an earlier run made of these very frames before it was cancelled is taken up.
        verdict: of the frames' plausibility, noted among the metrics.
        """
        if self._unfinished is None or not self._unfinished.is_of(state.frames, limits):

            def finish(frames: list[Frame], progress: ProgressCallback, **given):
                if self._online is None:
                    return None
                _fold_in(self._online, state.frames)
                return self._online.polish(frames, progress, **given)

            made = reconstruct(
                state.frames, config, progress,
                iterations=limits.iterations, time_budget_s=limits.time_budget_s, optimise=finish,
            )  # fmt: skip
            if verdict is not None:
                made = replace(made, metrics={**made.metrics, "plausibility": verdict.as_dict()})
            self._unfinished = _Unfinished(state.frames, limits, made)
        return state.with_reconstruction(self._unfinished.reconstruction)

    @property
    def psnr(self) -> float | None:
        """dB, of the reconstruction of the run that goes on; None before it has one."""
        return None if self._unfinished is None else self._unfinished.reconstruction.metrics.get("psnr")


def _fold_in(
    online: reconstruction.OnlineReconstruction, frames: Sequence[Frame], end: float = math.inf
) -> None:
    """Give it the frames that are new to it, until perf_counter() passes `end`."""
    known = online.names
    for frame in frames:
        if frame.name not in known:
            online.add(frame)
            if time.perf_counter() > end:
                return
