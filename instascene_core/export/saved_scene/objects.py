"""The objects of a scene on their way to disk, two at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from instascene_core.config import ExportConfig
from instascene_core.export.asset import ObjectAsset
from instascene_core.export.object_files import write_object
from instascene_core.export.saved_scene.whole import object_place
from instascene_core.frame import Frame
from instascene_core.objects import CompletedObject
from instascene_core.progress import ProgressCallback, no_progress

# Most of the work (rays, atlases, large arrays) is done by libraries that let other threads go on meanwhile.
AT_ONCE = 2


def write_objects(
    things: Sequence[CompletedObject],
    staging: Path,
    folder: Path,
    config: ExportConfig,
    frames: Sequence[Frame],
    progress: ProgressCallback = no_progress,
) -> list[ObjectAsset]:
    """Write each object below `staging`, as a part of the scene that `folder` will hold; what was written.

    frames: see `write_object`.  Where one fails or `progress` cancels, those not begun are left out.
    """
    import instascene_core.geometry.open3d_loader  # noqa: F401 (once, before the threads)

    def write(thing: CompletedObject) -> ObjectAsset:
        place = object_place(folder, thing.instance_id, config)
        return write_object(thing, staging / place.folder, config, frames, place)

    assets: list[ObjectAsset] = []
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        begun = [pool.submit(write, thing) for thing in things]
        try:
            for thing, one in zip(things, begun, strict=True):
                progress("save", (len(assets) + 1) / (len(things) + 1), f"object {thing.instance_id}")
                assets.append(one.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return assets
