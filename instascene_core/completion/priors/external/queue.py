"""The prior `queue`: another program makes a mesh of one image; asked and answered through a folder.

A request is a folder `requests/<id>` with image.png (the object on grey), mask.png (white = the object) and
request.json; it appears in one rename, complete.  The answer is `answers/<id>.glb`, .ply, .obj or .stl, a
closed mesh in any place, size and orientation, and should appear in one rename, too.
"""

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.completion.observing.observation import Observation
from instascene_core.completion.priors.external.alignment import aligned
from instascene_core.completion.priors.external.picture import Picture, best_view, cut_out
from instascene_core.completion.priors.learned import LearnedPrior
from instascene_core.completion.priors.prior import Prediction
from instascene_core.config import CompletionConfig
from instascene_core.config.external import QueueConfig
from instascene_core.errors import InputError
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.untrusted import one_line

FORMATS = (".glb", ".ply", ".obj", ".stl")
MAX_BYTES = 200_000_000  # of an answer


@dataclass(frozen=True)
class FetchedShape:
    """A shape that is known beforehand, in its place."""

    name: str
    licence: str
    mesh: TriangleMesh  # closed, world
    error: float  # metres: how far the observed surface lies from it

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The shape; further samples grow or shrink it by its error times normal numbers from `seed`."""
        grid = observation.grid
        field = meshes.signed_distance(self.mesh, grid.centers().reshape(-1, 3)).reshape(grid.shape)
        amounts = [0.0, *np.random.default_rng(seed).standard_normal(max(0, num_samples - 1))]
        fields = np.stack([field + np.float32(amount * self.error) for amount in amounts])
        return Prediction(fields.astype(np.float32), np.full(grid.shape, self.error, np.float32))


class QueuePrior:
    """Shape by another program, aligned to what was observed; the learned prior's where it gives none."""

    name = "queue"

    def __init__(self, shape: LearnedPrior, config: QueueConfig) -> None:
        self.shape, self.config, self.licence = shape, config, config.licence

    @classmethod
    def from_config(cls, config: CompletionConfig) -> "QueuePrior":
        return cls(LearnedPrior.from_config(config), config.queue)

    def require_means(self) -> None:
        """InputError where the folder through which the program is asked is not there."""
        folder = self.config.folder
        if not folder or not Path(folder).expanduser().is_dir():
            raise InputError(f"completion.queue.folder '{folder}' is no folder; make it and name it there.")

    def predict(self, observation: Observation, num_samples: int, seed: int) -> Prediction:
        """The fetched shape's guesses; see `fetched`."""
        return self.fetched(observation).predict(observation, num_samples, seed)

    def fetched(self, observation: Observation, progress: ProgressCallback = no_progress) -> FetchedShape:
        """Ask for a shape, wait, and put it into its place.

        `progress` is told at every look and may raise to stop.  Raises InputError in one sentence where no
        answer comes in time, or one that is no closed mesh or does not fit what was observed.
        """
        self.require_means()
        config = self.config
        folder, number = Path(config.folder).expanduser(), uuid.uuid4().hex
        picture = cut_out(best_view(observation.views), config.side)
        request = _ask(folder, number, picture)
        try:
            mesh = _read_mesh(_wait(folder / "answers", number, config, progress))
        finally:
            _withdraw(request)
        first = self.shape.predict(observation, 1, 0).fields[0]
        rough = meshes.surface_from_field(first)
        world = observation.grid.world_from_grid
        guess = TriangleMesh(
            rough.vertices * observation.grid.voxel @ world[:3, :3].T + world[:3, 3], rough.triangles
        )
        placed, fit = aligned(mesh, guess, observation, config)
        error = max(fit.distance * float(np.linalg.norm(np.ptp(guess.vertices, axis=0))), observation.noise)
        return FetchedShape(self.name, self.licence, placed, error)


def _ask(folder: Path, number: str, picture: Picture) -> Path:
    """Write a request; the folder that it is."""
    import cv2

    request, hidden = folder / "requests" / number, folder / f".{number}"
    request.parent.mkdir(exist_ok=True)
    hidden.mkdir()
    cv2.imwrite(str(hidden / "image.png"), picture.rgb[..., ::-1])
    cv2.imwrite(str(hidden / "mask.png"), np.where(picture.mask, 255, 0).astype(np.uint8))
    facts = {"id": number, "answer": f"answers/{number}", "formats": FORMATS, "side": len(picture.mask)}
    (hidden / "request.json").write_text(json.dumps(facts, indent=1))
    hidden.rename(request)
    return request


def _wait(answers: Path, number: str, config: QueueConfig, progress: ProgressCallback) -> Path:
    """The answer's file, once it is there and no longer grows."""
    start, sizes = time.monotonic(), {}
    while True:
        waited = time.monotonic() - start
        progress("complete", min(1.0, waited / config.timeout_s), f"waiting for a shape, {waited:.0f} s")
        for path in (answers / f"{number}{ending}" for ending in FORMATS):
            if path.is_file():
                size = path.stat().st_size
                if sizes.get(path) == size:
                    return path
                sizes[path] = size
        if waited > config.timeout_s:
            raise InputError(
                f"No answer came to the folder '{answers}' within {config.timeout_s:g} s; start the "
                "program that serves completion.queue.folder, or set completion.queue.timeout_s."
            )
        time.sleep(config.poll_s)


def _withdraw(request: Path) -> None:
    """Remove a request, our own three files, where the program has not."""
    for name in ("image.png", "mask.png", "request.json"):
        (request / name).unlink(missing_ok=True)
    if request.is_dir() and not any(request.iterdir()):
        request.rmdir()


def _read_mesh(path: Path) -> TriangleMesh:
    """The closed mesh in an answer, all its bodies together."""
    import trimesh

    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"The answer '{path}' is larger than {MAX_BYTES // 1_000_000} MB.")
    try:
        loaded = trimesh.load_mesh(path)
        joined = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
        mesh = meshes.from_trimesh(joined)
    except Exception as error:  # whatever a damaged file makes trimesh raise
        raise InputError(f"The answer '{path}' is no readable mesh ({one_line(error)}).") from error
    mesh = meshes.require_mesh(mesh, f"in the answer '{path}'")
    if not len(mesh.triangles) or not meshes.is_watertight(mesh):
        raise InputError(f"The mesh in the answer '{path}' is not closed, so it has no inside.")
    return mesh
