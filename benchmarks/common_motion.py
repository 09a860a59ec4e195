"""The rigid motion that all poses of a recording have in common, which no frame can tell of.

A camera whose hand-eye transform is a millimetre off puts every object there, whatever is made of its frames.
So completed objects are compared twice: where the truth is, and where the poses put it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from instascene_core.frame import Frame
from instascene_core.geometry import TriangleMesh
from instascene_core.metrics import ObjectAccuracy, compare_objects, volume_iou
from instascene_core.objects import CompletedObject
from instascene_core.transforms import apply, inverse

Truths = Sequence[tuple[TriangleMesh, ObjectAccuracy]]


def best_motion(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """[4, 4]: the rigid motion of points [P, 3] nearest to their places [P, 3], in least squares."""
    motion = np.eye(4)
    turn = Rotation.align_vectors(places - places.mean(axis=0), points - points.mean(axis=0))[0]
    motion[:3, :3] = turn.as_matrix()
    motion[:3, 3] = places.mean(axis=0) - turn.apply(points.mean(axis=0))
    return motion


def common_motion(true_poses: np.ndarray, poses: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[4, 4]: where the poses [V, 4, 4] of the views put what lies at points [P, 3] of the world, as one
    motion for all of them; world_from_camera, metres."""
    seen = [apply(pose @ inverse(true), points) for pose, true in zip(poses, true_poses, strict=True)]
    return best_motion(points, np.mean(seen, axis=0))


def figures_beside_motion(
    objects: Iterable[CompletedObject],
    truths: Truths,
    true_poses: np.ndarray | None,
    posed_frames: Sequence[Frame],
) -> dict[str, float]:
    """What is left of the figures of `truths` once the motion common to all poses is taken out.

    true_poses: [V, 4, 4] of the frames; None where nobody knows them, then there are no figures.
    common_offset_mm: by which the motion moves the middle of all objects; iou_of_poses: mean IoU of the true
    meshes with themselves, moved: no completion from these poses can be better in the mean; placed_iou_all,
    placed_f_score_all: of the objects against the true meshes, moved, a missing one counts 0.
    """
    if true_poses is None:
        return {}
    points = np.concatenate([mesh.vertices for mesh, _ in truths])
    motion = common_motion(true_poses, np.stack([f.world_from_camera for f in posed_frames]), points)
    moved = [(TriangleMesh(apply(motion, mesh.vertices), mesh.triangles), row) for mesh, row in truths]
    accuracy = compare_objects(objects, moved)
    same = [volume_iou(mesh, true) for (mesh, _), (true, _) in zip(moved, truths, strict=True)]
    middle = points.mean(axis=0)
    return {
        "common_offset_mm": 1e3 * float(np.linalg.norm(apply(motion, middle) - middle)),
        "iou_of_poses": float(np.mean(same)),
        "placed_iou_all": accuracy.mean_volume_iou_all,
        "placed_f_score_all": accuracy.mean_f_score_all,
    }
