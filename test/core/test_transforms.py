"""Rigid transforms against numbers worked out by hand."""

import numpy as np
import pytest

from instascene_core.errors import InputError
from instascene_core.transforms import (
    OPENGL_FROM_OPENCV,
    apply,
    cross,
    dots,
    image_motion,
    inverse,
    lengths,
    look_at,
    matrix_from_quaternion,
    quaternion_from_matrix,
    require_rigid,
)

QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about z


def rigid(rotation=QUARTER, translation=(1.0, 2.0, 3.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def test_apply_turns_then_shifts():
    np.testing.assert_allclose(apply(rigid(), np.array([[1.0, 0, 0], [0, 1, 0]])), [[1, 3, 3], [0, 2, 3]])


def test_inverse_cancels_also_in_stacks():
    stack = np.stack([rigid(), rigid(np.eye(3), (5, 6, 7))])
    np.testing.assert_allclose(inverse(stack) @ stack, np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-12)
    np.testing.assert_allclose(inverse(rigid())[:3, 3], [-2, 1, -3])


def test_quaternions_are_wxyz():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(matrix_from_quaternion([half, 0, 0, half]), QUARTER, atol=1e-12)
    np.testing.assert_allclose(matrix_from_quaternion([2.0, 0, 0, 2.0]), QUARTER, atol=1e-12)  # normalised
    np.testing.assert_allclose(quaternion_from_matrix(QUARTER), [half, 0, 0, half], atol=1e-12)


def test_quaternions_and_matrices_agree_both_ways():
    quaternions = np.random.default_rng(0).standard_normal((4, 5, 4))
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    quaternions *= np.where(quaternions[..., :1] < 0, -1, 1)
    matrices = matrix_from_quaternion(quaternions)
    assert matrices.shape == (4, 5, 3, 3)
    np.testing.assert_allclose(np.linalg.det(matrices), 1)
    np.testing.assert_allclose(quaternion_from_matrix(matrices), quaternions, atol=1e-12)


def test_motion_in_the_image_is_that_of_the_scene():
    given = np.tile(look_at((0.0, -1.0, 0.5), (0.0, 0.0, 0.0)), (3, 1, 1))
    poses = given.copy()
    poses[1, :3, 3] += 0.01 * given[1, :3, 0]  # a centimetre to the side
    poses[2, :3, 3] += 0.01 * given[2, :3, 2]  # and forward
    np.testing.assert_allclose(image_motion(poses, given, 0.5), [0.0, 0.02, 0.0], atol=1e-12)


def test_look_at_has_opencv_axes():
    pose = look_at(np.array([2.0, 0, 0]), np.zeros(3))
    np.testing.assert_allclose(pose[:3, 2], [-1, 0, 0])  # forward
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1])  # image down is world down
    np.testing.assert_allclose(pose[:3, 0], [0, 1, 0])
    np.testing.assert_allclose(pose[:3, 3], [2, 0, 0])
    straight_down = look_at(np.array([0.0, 0, 3]), np.zeros(3))
    require_rigid(straight_down, "looking along up")
    np.testing.assert_allclose(straight_down[:3, 2], [0, 0, -1])


def test_opengl_and_opencv_differ_by_a_half_turn_about_x():
    np.testing.assert_array_equal(OPENGL_FROM_OPENCV @ [1, 2, 3, 1], [1, -2, -3, 1])


def test_require_rigid_repairs_rounding():
    matrix = rigid()
    matrix[0, 0] = 4e-4
    repaired = require_rigid(matrix, "It")
    np.testing.assert_allclose(repaired[:3, :3] @ repaired[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(repaired[:3, 3], [1, 2, 3])
    np.testing.assert_array_equal(require_rigid(np.eye(4)[:3], "It"), np.eye(4))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.eye(3), "4×4"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.diag([2.0, 1, 1, 1]), "not a rigid"),
        (np.diag([1.0, 1, -1, 1]), "not a rigid"),
    ],
)
def test_require_rigid_names_the_culprit(matrix, words):
    with pytest.raises(InputError, match=f"The pose of 'a'.*{words}"):
        require_rigid(matrix, "The pose of 'a'")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (1000, 3), (20, 30, 3), (1000, 2)])
def test_lengths_and_products_are_numpys_to_the_last_bit(shape, dtype):
    a, b = np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)
    np.testing.assert_array_equal(lengths(a), np.linalg.norm(a, axis=-1))
    np.testing.assert_array_equal(dots(a, b), (a * b).sum(axis=-1))
    assert lengths(a).dtype == dots(a, b).dtype == dtype
    if shape[-1] == 3:
        np.testing.assert_array_equal(cross(a, b), np.cross(a, b))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (1000, 3), (20, 30, 3)])
def test_apply_is_product_and_sum_to_the_last_bit(shape, dtype):
    points, matrix = np.random.default_rng(1).normal(size=shape).astype(dtype), rigid()
    kept = points.copy()
    np.testing.assert_array_equal(apply(matrix, points), points @ matrix[:3, :3].T + matrix[:3, 3])
    np.testing.assert_array_equal(points, kept)
