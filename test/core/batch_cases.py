"""What the tests of batches share: tiny recordings, quick settings, workers without processes."""

from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path

from instascene_core.batch.tasks import Outcome, Task
from instascene_core.synthetic import SyntheticConfig, generate_scene, write_dataset

QUICK = (
    "reconstruction.iterations=10", "reconstruction.max_gaussians=2000", "completion.prior=carving",
    "completion.num_samples=1", "completion.observing.max_voxels=30000",
    "completion.convex_parts.max_parts=1",
    "export.formats=[stl]", "export.texture.enabled=false", "registration.correct_poses=false",
    "plausibility.check=skip", "features.iterations=20", "resting.enabled=false",
)  # fmt: skip


def write_tiny(folder: Path, seed: int) -> Path:
    """A recording of one object, six views of 96×72."""
    config = SyntheticConfig(
        seed=seed, num_objects=1, num_views=6, width=96, height=72, supersampling=1, layout="spread",
        kinds=("box",),
    )  # fmt: skip
    write_dataset(generate_scene(config), folder)
    return folder


def write_empty(folder: Path) -> Path:
    """A folder that is taken for a recording by its file, without a frame."""
    folder.mkdir(parents=True)
    (folder / "transforms.json").write_text('{"frames": []}')
    return folder


class Here:
    """Workers in this very process: a task is done when it is waited for, the newest first."""

    def __init__(self, do: Callable[[Task], Outcome], places: int = 1, limit: int = 0) -> None:
        self.do, self.places, self.limit = do, places, limit
        self.begun: list[Task] = []  # in the order in which they were started
        self.most_at_a_time = 0  # tasks that waited at a time
        self._waiting: dict[int, Task] = {}

    def start(self, task: Task) -> Hashable:
        self.begun.append(task)
        self._waiting[len(self.begun)] = task
        self.most_at_a_time = max(self.most_at_a_time, len(self._waiting))
        return len(self.begun)

    def wait(self, begun: Collection[Hashable]) -> Mapping[Hashable, Outcome]:
        handle = max(self._waiting)
        assert handle in begun
        return {handle: self.do(self._waiting.pop(handle))}

    def room(self) -> int:
        return self.places

    def most(self) -> int:
        return self.limit

    def close(self) -> None:
        self._waiting.clear()
