"""The tiles one after another, each a scene of its own on disk, and at the end the one scene of all.

A tile that is done is not done again by a later call with the same recording, settings and code; a process
that is killed loses the tile it was at.  Tiles lie in the output's state folder until all are done.
"""

import gc
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from instascene_core.config import Config
from instascene_core.config.tiles import TilesConfig
from instascene_core.contents import code_version, content_of, digest_of, settings_digest, weights_digest
from instascene_core.datasets import Dataset
from instascene_core.errors import Cancelled, InputError, is_out_of_memory, outside_cause
from instascene_core.export.places import FILE
from instascene_core.export.saved_scene import require_savable, save_scene
from instascene_core.local_frame import offset_for
from instascene_core.owned_folder import STATE, finish
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.saved_facts import read_scene_facts
from instascene_core.scene import Scene
from instascene_core.scene.results import IdHistory
from instascene_core.tiles.cutting import cut
from instascene_core.tiles.layout import Tile, Tiling
from instascene_core.tiles.whole import join_tiles
from instascene_core.untrusted import one_line

FOLDER = "tiles"  # within the output's state folder
KEY_DIGITS = 16  # of what a tile depends on, in the name of a folder
HIGHEST_ID = 65535  # that a label image can hold

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A recording, and how it is made."""

    dataset: Dataset
    origin: Mapping[str, Any]  # how the frames can be read again, see `Scene.origin`
    config: Config
    how: TilesConfig
    tiling: Tiling
    output: Path
    until: str = "complete"  # last stage of each tile, see `Scene.run`

    @property
    def settings(self) -> Config:
        """Those of every tile.  Rooms have more than one support, so that "auto" has no region to find: all
        things count."""
        return replace(self.config, region="all") if self.config.region == "auto" else self.config

    @property
    def state(self) -> Path:
        """The folder of what tiles leave."""
        return self.output / STATE / FOLDER

    @property
    def key(self) -> str:
        """Names all that tiles depend on."""
        reading = dict(self.origin)
        if reading.get("ignore"):
            reading["ignore"] = content_of(Path(reading["ignore"])).digest
        return digest_of([
            content_of(self.dataset.path).digest, reading, code_version(), weights_digest(),
            settings_digest(self.settings), asdict(self.how), self.until,
        ])  # fmt: skip


@dataclass(frozen=True)
class TilesResult:
    """What came of the tiles."""

    done: tuple[str, ...]  # names of tiles
    earlier: tuple[str, ...]  # those of them that an earlier call had done
    failed: Mapping[str, str]  # name of a tile → why it has no scene
    not_completed: Mapping[int, str]  # id of an object that stays → why it has no mesh
    objects: int  # completed ones, of the whole
    twice: int  # things that two tiles found

    def problem(self) -> InputError | None:
        """Where a tile failed, so that the exit status says so."""
        if not self.failed:
            return None
        name, why = next(iter(self.failed.items()))
        count = len(self.failed) + len(self.done)
        return InputError(
            f"{len(self.failed)} of {count} tiles failed and are missing in the scene; the same command does "
            f"only them again. The first, {name}: {why}"
        )


def run_tiles(job: Job, progress: ProgressCallback = no_progress) -> TilesResult:
    """Make every tile that is not there, and join all to the scene in `job.output`.

    A tile that fails is left out and told.  Raises InputError where all fail, or the output cannot be
    written.
    """
    _require_movable(job.config)
    require_savable(job.output, job.dataset.path, job.dataset.names)
    progress("tiles", 0.0, "what there is already")
    folder = job.state / job.key[:KEY_DIGITS]
    _remove_others(job.state, folder)
    done: dict[int, Path] = {}
    earlier, failed = [], {}
    highest = max((_highest(path) for path in _finished(job, folder).values()), default=0)
    for index, tile in enumerate(job.tiling.tiles):
        progress("tiles", index / len(job.tiling.tiles), tile.name)
        place = folder / tile.name
        if _is_done(place):
            earlier.append(tile.name)
        else:
            try:
                _make(job, index, place, highest, _within(progress, tile, index, len(job.tiling.tiles)))
            except (Cancelled, KeyboardInterrupt):
                raise
            except Exception as error:
                failed[tile.name] = _why(error, tile)
            gc.collect()
        if _is_done(place):
            done[index] = place
            highest = max(highest, _highest(place))
    progress("tiles", 1.0, f"{len(done)} tiles")
    job.dataset.remarks.report()
    if not done:
        name, why = next(iter(failed.items()))
        raise InputError(f"None of the {len(failed)} tiles could be made; the first, {name}: {why}")
    whole = join_tiles(job.tiling, done, job.output, job.config, job.how, job.dataset.names, failed, progress)
    if not failed:
        shutil.rmtree(job.state, ignore_errors=True)
    names = tuple(job.tiling.tiles[k].name for k in done)
    return TilesResult(names, tuple(earlier), failed, whole.not_completed, whole.objects, whole.found_twice)


def _require_movable(config: Config) -> None:
    """InputError where descriptions would name files by the place they have in the tile."""
    if config.export.mesh_uri == FILE:
        raise InputError(
            f"What tiles write is moved at the end, so that export.mesh_uri cannot be {FILE}; leave it out "
            f"and use `instascene export OUT --mesh-uri {FILE}` afterwards."
        )


def _make(job: Job, index: int, place: Path, highest: int, progress: ProgressCallback) -> None:
    """One tile as a saved scene in the folder `place`; its ids begin after `highest`."""
    tile, scene = job.tiling.tiles[index], Scene(job.settings)
    offset = offset_for(job.dataset.poses[0, :3, 3])  # the same for all tiles
    scene.state = replace(scene.state, ids=IdHistory(highest=highest), world_offset=offset)
    scene.corrections, scene.origin = job.dataset.corrections, dict(job.origin)
    for number, frame in enumerate(_frames(job, tile)):
        progress("read", (number + 1) / len(tile.frames), frame.name)
        scene.add_frame(cut(frame, job.tiling.axes, *job.tiling.reach(index)))
    failures = scene.run(job.until, progress)
    if scene.state.ids.highest > HIGHEST_ID:
        raise InputError(f"There are more than {HIGHEST_ID} instances, which label images cannot tell apart.")
    told = {str(number): why for number, why in failures.items()}
    scene.state = replace(scene.state, metrics={**scene.metrics, "not_completed": told})
    save_scene(scene, place, source=str(job.origin.get("source", "")), progress=progress)


def _frames(job: Job, tile: Tile) -> Iterator:
    for index in tile.frames:
        yield job.dataset[index]


def _within(progress: ProgressCallback, tile: Tile, index: int, count: int) -> ProgressCallback:
    """Progress that says which tile it is of."""

    def report(stage: str, fraction: float, message: str = "") -> None:
        progress(stage, fraction, f"{tile.name} ({index + 1} of {count}): {message}")

    return report


def _why(error: Exception, tile: Tile) -> str:
    """One sentence; a fault of the program goes to the log with its place."""
    if isinstance(error, InputError):
        return str(error)
    known = outside_cause(error)
    if known is None or is_out_of_memory(error):
        logger.exception("Tile %s failed", tile.name)
    return known or f"Internal error ({type(error).__name__}: {one_line(error)})."


def _is_done(place: Path) -> bool:
    """Whether a tile's scene is there, whole."""
    if not place.is_dir():
        return False
    finish(place)
    return (place / "scene.json").is_file()


def _finished(job: Job, folder: Path) -> dict[str, Path]:
    places = {tile.name: folder / tile.name for tile in job.tiling.tiles}
    return {name: place for name, place in places.items() if _is_done(place)}


def _highest(place: Path) -> int:
    """The highest id that a finished tile gave."""
    return int(read_scene_facts(place).get("highest_instance_id", 0))


def _remove_others(state: Path, folder: Path) -> None:
    """What calls with other settings left."""
    with suppress(OSError):
        for path in state.iterdir():
            if path != folder:
                shutil.rmtree(path)
