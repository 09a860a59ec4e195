"""Whose a pixel is: by masks, by Gaussians and what the camera measured; `adopt_surface`: test_completion."""

import numpy as np
import torch
from association_cases import FakeTrace

from instascene_core.camera import PinholeCamera
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.gaussians import SH_C0, GaussianModel
from instascene_core.ownership.by_gaussians import Evidence, evidence_of, label_pixels
from instascene_core.ownership.by_masks import add_structure, frontmost, labels_of_masks


def test_a_mask_becomes_its_cluster_and_every_other_pixel_nobodys():
    """Frame 0: id 7 shows cluster 1, id 3 none.  Frame 1: id 3 shows cluster 0, id 9 was too small."""
    images = [np.array([[7, 7, 3], [0, -1, 3]], np.int32), np.array([[3, 9, 3]], np.uint16)]
    frame_of_mask, label_of_mask = np.array([0, 0, 1], np.int32), np.array([7, 3, 3], np.int32)
    cluster_of_mask = np.array([1, UNLABELLED, 0], np.int32)
    first, second = labels_of_masks(images, frame_of_mask, label_of_mask, cluster_of_mask)
    np.testing.assert_array_equal(first, [[1, 1, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(second, [[0, -1, 0]])
    assert first.dtype == second.dtype == np.int32


def one_row(offsets, indices, weights) -> FakeTrace:
    """A trace of one row of pixels; weights of the entries, front to back."""
    weights = np.array(weights, dtype=np.float32)
    indices = np.array(indices, dtype=np.int32)
    return FakeTrace(1, len(offsets) - 1, np.array(offsets), indices, weights, np.ones_like(weights))


def test_the_frontmost_gaussian_has_the_largest_weight_and_of_equals_the_first():
    trace = one_row([0, 2, 2, 4, 5], [4, 1, 2, 3, 0], [0.3, 0.6, 0.4, 0.4, 0.1])
    np.testing.assert_array_equal(frontmost(trace), [1, -1, 2, 0])


def test_structure_takes_only_pixels_without_a_mask_that_show_it():
    """Gaussian 0 is the support (cluster 2), Gaussian 1 is an object's; five pixels."""
    trace = one_row([0, 1, 2, 3, 3, 4], [0, 1, 0, 0], [0.9, 0.9, 0.9, 0.9])
    masks = [np.array([[0, 0, 5, -1, 8]], np.int32)]
    filtered = [np.array([[-1, -1, 0, -1, -1]], np.int32)]
    (labels,) = add_structure(filtered, masks, [trace], np.array([2, UNLABELLED], np.int32))
    # Unmasked support; an unmasked object; a mask with a cluster; nothing there; a mask that was dropped.
    np.testing.assert_array_equal(labels, [[2, -1, 0, -1, -1]])


def test_a_cluster_of_index_0_can_be_structure():
    trace = one_row([0, 1], [0], [0.9])
    nothing = [np.array([[UNLABELLED]], np.int32)]
    (labels,) = add_structure(nothing, nothing, [trace], np.array([0], np.int32))
    np.testing.assert_array_equal(labels, [[0]])


def test_evidence_is_colour_and_depth_along_the_axis():
    """A camera at z = −1 that looks along +z: a Gaussian at z = 2 is 3 m away, whatever its x."""
    model = GaussianModel(
        means=torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 2.0]]),
        quaternions=torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
        log_scales=torch.zeros(2, 2),
        logit_opacities=torch.zeros(2),
        sh=torch.tensor([[[0.8, 0.2, 0.5]], [[0.1, 0.5, 0.9]]]).sub(0.5).div(SH_C0),
    )
    pose = np.eye(4)
    pose[2, 3] = -1.0
    camera = PinholeCamera(2, 1, 1.0, 1.0, 1.0, 0.5)
    rgb = np.array([[[255, 0, 51], [0, 0, 0]]], np.uint8)
    frame = Frame("a", 0.0, camera, pose, rgb, np.array([[1.5, 0.0]], np.float32))
    color, depth = evidence_of(frame, model)
    np.testing.assert_allclose(color.predicted, [[0.8, 0.2, 0.5], [0.1, 0.5, 0.9]], atol=1e-6)
    np.testing.assert_allclose(color.measured[0, 0], [1.0, 0.0, 0.2], atol=1e-6)
    assert color.valid.all()
    np.testing.assert_allclose(depth.predicted, [[1.0], [3.0]], atol=1e-6)
    np.testing.assert_array_equal(depth.valid, [[True, False]])
    assert len(evidence_of(frame.with_(depth=None), model)) == 1


def test_rendered_label_is_the_one_with_most_weight():
    trace = FakeTrace(
        1, 3, np.array([0, 3, 4, 4]), np.array([0, 1, 2, 3], dtype=np.int32),
        np.array([0.4, 0.3, 0.3, 0.9], dtype=np.float32), np.ones(4, dtype=np.float32),
    )  # fmt: skip
    image = label_pixels(np.array([7, 5, 5, UNLABELLED], dtype=np.int32), trace)
    np.testing.assert_array_equal(image, [[5, UNLABELLED, UNLABELLED]])


def test_what_the_camera_measured_moves_a_border_pixel():
    """Weights favour label 5 in the middle pixel; depth, and colour, say that it shows label 7."""
    trace = FakeTrace(
        1, 3, np.array([0, 1, 3, 4]), np.array([0, 0, 1, 1], dtype=np.int32),
        np.array([1.0, 0.6, 0.4, 1.0], dtype=np.float32), np.ones(4, dtype=np.float32),
    )  # fmt: skip
    labels = np.array([5, 7], dtype=np.int32)
    np.testing.assert_array_equal(label_pixels(labels, trace), [[5, 5, 7]])
    distance = np.array([[1.0], [2.0]])
    measured = np.array([[[1.01], [1.99], [1.99]]])
    everywhere, nowhere = np.ones((1, 3), bool), np.array([[True, False, True]])
    found = label_pixels(labels, trace, [Evidence(distance, measured, everywhere)])
    np.testing.assert_array_equal(found, [[5, 7, 7]])
    # Without a measurement at that pixel the weights decide, and one outlier does not decide alone.
    found = label_pixels(labels, trace, [Evidence(distance, measured, nowhere)])
    np.testing.assert_array_equal(found, [[5, 5, 7]])
    faint = np.array([1.0, 0.995, 0.005, 1.0], dtype=np.float32)
    trace = FakeTrace(1, 3, trace.offsets, trace.indices, faint, trace.transmittance)
    found = label_pixels(labels, trace, [Evidence(distance, measured, everywhere)])
    np.testing.assert_array_equal(found, [[5, 5, 7]])


def one_a_pixel(labels: np.ndarray, chosen: np.ndarray) -> FakeTrace:
    """A trace in which the chosen Gaussians show one pixel each; Gaussian i lies in pixel i."""
    count = np.isin(np.arange(labels.size), chosen).astype(int)
    ones = np.ones(len(chosen), dtype=np.float32)
    offsets = np.concatenate([[0], np.cumsum(count)])
    return FakeTrace(*labels.shape, offsets, np.arange(len(chosen), dtype=np.int32), ones, ones)


def test_only_what_is_doubtful_at_a_lower_resolution_is_traced_again():
    """12 × 12 pixels, a Gaussian each, 5 left of column 5 and 7 right of it; traced first at 6 × 6."""
    labels = np.where(np.arange(12) < 5, 5, 7).repeat(12).reshape(12, 12).T.astype(np.int32)
    pixel = np.arange(144).reshape(12, 12)
    four = np.concatenate(
        [pixel[i::2, j::2].ravel()[:, None] for i in (0, 1) for j in (0, 1)], axis=1
    )  # [36, 4] Gaussians of each small pixel
    quarter = np.full(144, 0.25, dtype=np.float32)
    small = FakeTrace(6, 6, np.arange(37) * 4, four.ravel().astype(np.int32), quarter, np.ones_like(quarter))
    asked = []

    def retrace(chosen: np.ndarray) -> FakeTrace:
        asked.append(chosen)
        return one_a_pixel(labels, chosen)

    nothing = Evidence(np.zeros((144, 1)), np.zeros((12, 12, 1)), np.zeros((12, 12), bool))
    found = label_pixels(labels.ravel(), small, [nothing], retrace=retrace)
    np.testing.assert_array_equal(found, labels)
    (chosen,) = asked  # the small pixels with both labels, and those beside them
    np.testing.assert_array_equal(chosen, pixel[:, 2:8].ravel())


def test_a_view_of_one_label_is_not_traced_again():
    small = one_row([0, 1, 2], [0, 1], [1.0, 1.0])
    nothing = Evidence(np.zeros((2, 1)), np.zeros((2, 4, 1)), np.zeros((2, 4), bool))

    def retrace(_: np.ndarray) -> FakeTrace:
        raise AssertionError("nothing is doubtful")

    found = label_pixels(np.array([3, 3], np.int32), small, [nothing], retrace=retrace)
    np.testing.assert_array_equal(found, np.full((2, 4), 3))
