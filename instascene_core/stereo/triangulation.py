"""Sparse points from images with known poses: SIFT matches, triangulated by pycolmap."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instascene_core.errors import NothingFound, needs
from instascene_core.frame import Frame
from instascene_core.images import is_blank
from instascene_core.progress import ProgressCallback, no_progress

logger = logging.getLogger(__name__)

_MAX_IMAGE_SIZE = 640  # pixels; poses are known, so far fewer features than for mapping will do
_MAX_FEATURES = 2048
_MAX_VIEW_ANGLE = np.deg2rad(55)  # beyond it SIFT hardly matches
_NEIGHBOUR_RANKS = (0, 1, 2, 3, 5, 7, 10)  # near ones match well, farther ones triangulate well
_MIN_POINTS = 30
_MAX_ERROR = 2.0  # pixels of reprojection


@dataclass(frozen=True)
class SparsePoints:
    """Triangulated points."""

    positions: np.ndarray  # [P, 3] float64 metres, world frame
    observations: tuple[np.ndarray, ...]  # per frame: [O] int64 indices of the points it sees

    def depths(self, index: int, frame: Frame) -> np.ndarray:
        """[O] z-depths of the points that frame number `index` sees."""
        points = self.positions[self.observations[index]]
        return (points - frame.world_from_camera[:3, 3]) @ frame.world_from_camera[:3, 2]


def triangulate(frames: list[Frame], progress: ProgressCallback = no_progress) -> SparsePoints:
    """Match features between neighbouring views and triangulate them with the poses held fixed.

    Raises NothingFound when too few points come out (texture, poses or intrinsics are at fault), and
    MissingDependencyError without pycolmap.
    """
    with needs("pycolmap", "Images without depth need pycolmap; install it with `pip install pycolmap`."):
        import pycolmap
    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value  # it writes to stderr by itself
    names = [f"{i:05d}.png" for i in range(len(frames))]
    with tempfile.TemporaryDirectory(prefix="instascene_") as folder:
        root = Path(folder)
        progress("triangulate", 0.0, f"features of {len(frames)} images")
        database, reconstruction = _extract(pycolmap, frames, names, root)
        progress("triangulate", 0.5, "matching")
        _match(pycolmap, neighbour_pairs(frames), names, root, database)
        progress("triangulate", 0.8, "points")
        options = pycolmap.IncrementalPipelineOptions()
        options.extract_colors = False
        options.random_seed = 0
        options.triangulation.random_seed = 0
        (root / "model").mkdir()
        result = pycolmap.triangulate_points(
            reconstruction, database, root, root / "model", clear_points=True, options=options
        )
        points = _collect(result, len(frames))
        progress("triangulate", 1.0, f"{len(points.positions)} points")
    logger.info("triangulated %d points from %d images", len(points.positions), len(frames))
    if len(points.positions) < _MIN_POINTS:
        found = f"Only {len(points.positions)} points could be triangulated from {len(frames)} images"
        blank = sum(is_blank(frame.rgb, frame.valid) for frame in frames)
        if 2 * blank >= len(frames):
            raise NothingFound(
                f"{found}: {blank} of them show nothing but one colour; check the camera's cover, its "
                "exposure and where the images come from."
            )
        raise NothingFound(
            f"{found}; check that poses and intrinsics belong to these images and that the things have "
            "texture, or give depth."
        )
    return points


def neighbour_pairs(frames: list[Frame], ranks: tuple[int, ...] = _NEIGHBOUR_RANKS) -> list[tuple[int, int]]:
    """Pairs (i < j) of frames that likely see the same, chosen by pose alone."""
    order = neighbours_by_pose(frames)
    pairs = set()
    for i, others in enumerate(order):
        for rank in ranks:
            if rank < len(others):
                pairs.add((min(i, int(others[rank])), max(i, int(others[rank]))))
    return sorted(pairs)


def neighbours_by_pose(frames: list[Frame]) -> list[np.ndarray]:
    """Per frame the others that look a similar way from nearby, most similar first."""
    centers = np.stack([frame.world_from_camera[:3, 3] for frame in frames])
    forward = np.stack([frame.world_from_camera[:3, 2] for frame in frames])
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    angle = np.arccos(np.clip(forward @ forward.T, -1, 1))
    rank = min(8, len(frames) - 1)
    unit = max(float(np.median(np.sort(distance, axis=1)[:, rank])), 1e-9)
    score = distance / unit + angle / np.deg2rad(20)
    apart = (distance > 1e-3 * unit) & (angle < _MAX_VIEW_ANGLE)  # the same place triangulates nothing
    order = []
    for i in range(len(frames)):
        candidates = np.flatnonzero(apart[i])
        order.append(candidates[np.argsort(score[i, candidates], kind="stable")])
    return order


def _extract(pycolmap, frames: list[Frame], names: list[str], root: Path):
    """Features of all frames into a database; the database's path and a model with the known poses."""
    from PIL import Image

    reconstruction = pycolmap.Reconstruction()
    database_path = root / "features.db"
    options = pycolmap.FeatureExtractionOptions()
    options.sift.max_num_features = _MAX_FEATURES
    largest = max(max(frame.camera.width, frame.camera.height) for frame in frames)
    # Doubling the image finds more in small ones; in large ones it costs most and adds the least stable.
    options.sift.first_octave = -1 if largest <= 280 else 0
    with pycolmap.Database.open(database_path) as database:
        for index, (frame, name) in enumerate(zip(frames, names)):
            factor = min(1.0, _MAX_IMAGE_SIZE / max(frame.camera.width, frame.camera.height))
            camera = frame.camera.scaled(factor)
            image = Image.fromarray(frame.rgb)
            if factor < 1:
                image = image.resize((camera.width, camera.height), Image.Resampling.BOX)
            image.save(root / name, compress_level=1)
            _add_image(pycolmap, reconstruction, database, index + 1, name, camera, frame.camera_from_world)
    pycolmap.extract_features(
        database_path, root, image_names=names, extraction_options=options, device=pycolmap.Device.cpu
    )
    with pycolmap.Database.open(database_path) as database:
        for image in reconstruction.images.values():
            image.points2D = [
                pycolmap.Point2D(p) for p in database.read_keypoints(image.image_id)[:, :2].astype(np.float64)
            ]
    return database_path, reconstruction


def _add_image(pycolmap, reconstruction, database, number: int, name: str, camera, camera_from_world) -> None:
    """Register one image with its own camera (number = camera, image, rig and frame id)."""
    intrinsics = pycolmap.Camera(
        camera_id=number,
        model="PINHOLE",
        width=camera.width,
        height=camera.height,
        params=[camera.fx, camera.fy, camera.cx, camera.cy],
    )
    intrinsics.has_prior_focal_length = True
    pose = pycolmap.Rigid3d(camera_from_world[:3])
    image = pycolmap.Image(name=name, camera_id=number, image_id=number)
    reconstruction.add_camera_with_trivial_rig(intrinsics)
    reconstruction.add_image_with_trivial_frame(image, pose)
    database.write_camera(intrinsics, use_camera_id=True)
    database.write_rig(reconstruction.rig(number), use_rig_id=True)
    database.write_image(pycolmap.Image(name=name, camera_id=number, image_id=number), use_image_id=True)
    database.write_frame(reconstruction.frame(number), use_frame_id=True)


def _match(pycolmap, pairs: list[tuple[int, int]], names: list[str], root: Path, database: Path) -> None:
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = root / "pairs.txt"
    pairing.match_list_path.write_text("".join(f"{names[i]} {names[j]}\n" for i, j in pairs))
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = 0
    verification.ransac.max_num_trials = 500
    pycolmap.match_image_pairs(
        database, pairing_options=pairing, verification_options=verification, device=pycolmap.Device.cpu
    )


def _collect(reconstruction, num_frames: int) -> SparsePoints:
    positions, observations = [], [[] for _ in range(num_frames)]
    for _, point in sorted(reconstruction.points3D.items()):
        if point.error > _MAX_ERROR:
            continue
        for element in point.track.elements:
            observations[element.image_id - 1].append(len(positions))
        positions.append(point.xyz)
    return SparsePoints(
        np.array(positions).reshape(-1, 3),
        tuple(np.unique(np.array(o, dtype=np.int64)) for o in observations),
    )
