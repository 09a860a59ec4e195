"""Matching by stamp: what becomes a frame, what waits, what is dropped and under which name."""

from types import SimpleNamespace

import numpy as np
import pytest

from instascene_core.camera import LensModel, PinholeCamera
from instascene_core.errors import InputError
from instascene_ros import frame_assembly as fa
from instascene_ros.frame_assembly import AssembledFrame, FrameAssembler, KeyframeRule, StampBuffer, Unusable
from instascene_ros.frame_building import build_frame

CAMERA = PinholeCamera(4, 3, 5.0, 5.0, 2.0, 1.5)
EVERY = KeyframeRule(0.0, 0.0)


def image(width=4, height=3):
    return SimpleNamespace(width=width, height=height)


def pose_at(x: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return matrix


class Setup:
    """An assembler with poses in a dict and the errors in a list."""

    def __init__(self, keyframes=EVERY, wait_s=1.0, with_lens=True, max_pending=120):
        self.poses: dict[float, object] = {}
        self.errors: list[tuple[str, str]] = []
        self.assembler = FrameAssembler(
            self.find_pose,
            keyframes,
            tolerance_s=0.02,
            wait_s=wait_s,
            on_error=lambda kind, sentence: self.errors.append((kind, sentence)),
            max_pending=max_pending,
        )
        if with_lens:
            self.assembler.add_lens(0.0, LensModel(CAMERA))

    def find_pose(self, stamp: float, image) -> np.ndarray | None:
        pose = self.poses.get(stamp)
        if isinstance(pose, InputError):
            raise pose
        return pose

    def feed(self, stamp: float, now: float = 0.0, **options) -> None:
        self.assembler.add_image(stamp, options.pop("image", image()), now, **options)

    def poll(self, now: float = 0.5) -> list[AssembledFrame]:
        return self.assembler.poll(now)

    @property
    def dropped(self) -> dict:
        return dict(self.assembler.counters.dropped)


def test_buffer_finds_the_nearest_stamp():
    buffer = StampBuffer(3)
    for stamp in (0.3, 0.1, 0.2):
        buffer.add(stamp, f"at {stamp}")
    assert buffer.nearest(0.19, 0.02) == "at 0.2"
    assert buffer.nearest(0.15, 0.02) is None
    buffer.add(0.4, "at 0.4")
    assert buffer.nearest(0.1, 0.01) is None and len(buffer) == 3  # the oldest made room
    buffer.add(0.4, "again")
    assert buffer.nearest(0.4, 0.0) == "again" and len(buffer) == 3


def test_buffer_forgets_what_was_before_the_clock_went_back():
    buffer = StampBuffer(10)
    for stamp in (50.0, 50.1, 50.2, 3.0):
        buffer.add(stamp, stamp)
    assert len(buffer) == 1 and buffer.span == (3.0, 3.0)


def test_where_the_clock_goes_back_the_input_starts_afresh_and_that_is_said():
    """As when a bag loops: frames of the second round are the same ones, and no error each."""
    setup = Setup()
    stamps = [10.0, 11.0, 12.0]
    setup.poses.update({stamp: pose_at(stamp) for stamp in (*stamps, 5.0)})
    for stamp in stamps:
        setup.feed(stamp)
        assert len(setup.poll()) == 1
    setup.feed(13.0)  # its pose will never come
    for stamp in stamps:
        setup.feed(stamp)
    assert setup.poll() == [] and setup.assembler.num_pending == 0
    assert setup.dropped == {fa.CLOCK_WENT_BACK: 1, fa.DUPLICATE: 3}
    (error,) = setup.errors
    assert "went back from 13.000 to 10.000 s" in error[1] and "reset_scene" in error[1]
    setup.poses[12.5] = pose_at(12.0)  # stands where the last frame before the restart stood
    setup.feed(12.5)
    assert len(setup.poll()) == 1


def test_images_that_never_came_are_counted():
    setup = Setup()
    for number in range(60):
        if number not in (30, 31, 50):
            setup.poses[number / 10] = pose_at(number)
            setup.feed(number / 10)
    assert setup.assembler.counters.received == 57 and setup.assembler.counters.lost == 3
    setup.assembler.clear()
    assert setup.assembler.counters.lost == 0


def test_image_and_pose_make_a_frame_in_either_order():
    setup = Setup()
    setup.feed(1.0)
    assert setup.poll() == []
    setup.poses[1.0] = pose_at(1)
    (frame,) = setup.poll()
    assert frame.stamp == 1.0 and frame.world_from_camera[0, 3] == 1
    setup.poses[2.0] = pose_at(2)
    setup.feed(2.0)
    assert len(setup.poll()) == 1
    assert setup.assembler.counters.received == 2 and setup.dropped == {}


def test_stamp_without_pose_waits_then_is_dropped_and_counted():
    setup = Setup(wait_s=1.0)
    setup.feed(1.0, now=10.0)
    assert setup.poll(10.9) == [] and setup.assembler.num_pending == 1
    assert setup.poll(11.0) == [] and setup.assembler.num_pending == 0
    assert setup.dropped == {fa.NO_POSE: 1}
    assert "found no pose within 0.02 s" in setup.errors[0][1]


def test_unusable_pose_is_dropped_with_its_sentence():
    setup = Setup()
    setup.poses[1.0] = InputError("The pose contains NaN or infinity.")
    setup.feed(1.0)
    assert setup.poll() == []
    assert setup.dropped == {fa.BAD_POSE: 1}
    assert setup.errors == [(fa.BAD_POSE, "The pose contains NaN or infinity.")]


def test_without_camera_info():
    setup = Setup(with_lens=False, wait_s=1.0)
    setup.poses[1.0] = pose_at(0)
    setup.feed(1.0, now=0.0)
    assert setup.poll(0.9) == []
    setup.poll(1.0)
    assert setup.dropped == {fa.NO_CAMERA_INFO: 1}
    assert "no camera_info; publish it" in setup.errors[0][1]


def test_unusable_camera_info():
    setup = Setup()
    setup.assembler.add_lens(1.0, Unusable("The camera_info cannot be used: no."))
    setup.poses[1.0] = pose_at(0)
    setup.feed(1.0)
    assert setup.poll() == [] and setup.dropped == {fa.BAD_CAMERA_INFO: 1}
    assert setup.errors == [(fa.BAD_CAMERA_INFO, "The camera_info cannot be used: no.")]


def test_each_image_gets_the_camera_info_of_its_stamp():
    setup = Setup(with_lens=False)
    other = LensModel(PinholeCamera(8, 6, 9.0, 9.0, 4.0, 3.0))
    setup.poses.update({1.0: pose_at(0), 2.0: pose_at(1)})
    setup.feed(1.0, image=image())
    setup.feed(2.0, image=image(8, 6))
    setup.assembler.add_lens(2.0, other)
    assert [f.stamp for f in setup.poll(0.0)] == [2.0]  # the first waits for its own
    setup.assembler.add_lens(1.0, LensModel(CAMERA))
    assert [f.lens.camera for f in setup.poll(0.0)] == [CAMERA]


def test_one_camera_info_for_all_holds_after_a_moment():
    setup = Setup()
    setup.poses[9.0] = pose_at(0)
    setup.feed(9.0, now=0.0)
    assert setup.poll(0.1) == []
    assert len(setup.poll(fa.INFO_WAIT_S)) == 1


def test_size_mismatch():
    setup = Setup()
    setup.poses[1.0] = pose_at(0)
    setup.feed(1.0, image=image(8, 3))
    assert setup.poll() == [] and setup.dropped == {fa.SIZE_MISMATCH: 1}
    assert "The image is 8×3 but camera_info says 4×3" in setup.errors[0][1]


def test_depth_and_masks_are_waited_for_and_then_done_without():
    setup = Setup(wait_s=1.0)
    setup.poses.update({1.0: pose_at(0), 2.0: pose_at(1)})
    setup.feed(1.0, wants_depth=True, wants_masks=True)
    setup.assembler.add_depth(1.01, "depth")
    assert setup.poll(0.5) == []
    setup.assembler.add_masks(0.99, "masks")
    (frame,) = setup.poll(0.5)
    assert (frame.depth, frame.masks) == ("depth", "masks")
    setup.feed(2.0, wants_depth=True)
    assert setup.poll(0.9) == []
    (frame,) = setup.poll(1.0)
    assert frame.depth is None


def test_keyframes_by_translation_and_rotation():
    setup = Setup(keyframes=KeyframeRule(0.10, 5.0))
    turned = pose_at(0.0)
    angle = np.radians(6.0)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    setup.poses.update({1.0: pose_at(0.0), 2.0: pose_at(0.09), 3.0: turned, 4.0: pose_at(0.11)})
    for stamp in setup.poses:
        setup.feed(stamp)
    assert [f.stamp for f in setup.poll()] == [1.0, 3.0, 4.0]
    assert setup.dropped == {fa.NOT_A_KEYFRAME: 1} and setup.errors == []


def test_duplicate_stamps_and_too_many_pending():
    setup = Setup(max_pending=2)
    setup.feed(1.0)
    setup.feed(1.0)
    assert setup.dropped == {fa.DUPLICATE: 1}
    assert "Two images have the stamp 1.000000" in setup.errors[0][1]
    setup.feed(2.0)
    setup.feed(3.0)
    assert setup.dropped == {fa.DUPLICATE: 1, fa.NO_POSE: 1} and setup.assembler.num_pending == 2


def test_clear_forgets_frames_and_counts_but_not_the_camera():
    setup = Setup()
    setup.poses[1.0] = pose_at(0)
    setup.feed(1.0)
    setup.feed(7.0)
    setup.poll()
    setup.assembler.clear()
    assert setup.assembler.num_pending == 0 and setup.assembler.counters.received == 0
    setup.feed(1.0)
    assert len(setup.poll()) == 1


# ── decoding ──────────────────────────────────────────────────────────────────────────────────────


def assembled(depth=None, masks=None, rgb_encoding="rgb8"):
    from std_msgs.msg import Header

    from instascene_ros.conversions import image_message

    rgb = np.full((3, 4, 3), 100, np.uint8)
    msg = image_message(rgb, "rgb8", Header())
    msg.encoding = rgb_encoding
    wrap = lambda pixels, encoding: None if pixels is None else image_message(pixels, encoding, Header())  # noqa: E731
    return AssembledFrame(
        1.0, msg, pose_at(0), LensModel(CAMERA), wrap(depth, "32FC1"), wrap(masks, "mono16")
    )


def build(**options):
    return build_frame(assembled(**options), "one")


def test_decoded_frame_holds_everything():
    depth = np.full((3, 4), 2.0, np.float32)
    masks = np.array([[0, 1, 1, 2]] * 3, np.uint16)
    decoded = build(depth=depth, masks=masks)
    assert decoded.complaints == () and decoded.frame.name == "one"
    np.testing.assert_array_equal(decoded.frame.depth, depth)
    np.testing.assert_array_equal(decoded.frame.labels[0], [-1, 1, 1, 2])


@pytest.mark.parametrize(
    "options, kind, words",
    [
        ({"depth": np.zeros((3, 4), np.float32)}, fa.BAD_DEPTH, "all zeros"),
        ({"depth": np.ones((6, 8), np.float32)}, fa.BAD_DEPTH, "8×6, the colour image 4×3"),
        ({"masks": np.zeros((3, 4), np.uint16)}, fa.BAD_MASKS, "is empty"),
        ({"masks": np.ones((6, 8), np.uint16)}, fa.BAD_MASKS, "8×6"),
    ],
)
def test_unusable_depth_or_masks_are_left_out_and_complained_about(options, kind, words):
    decoded = build(**options)
    assert decoded.frame.depth is None and decoded.frame.labels is None
    (complaint,) = decoded.complaints
    assert complaint.kind == kind and words in complaint.sentence and "\n" not in complaint.sentence


def test_unknown_encoding_is_refused():
    with pytest.raises(InputError, match="'odd' is not a colour encoding"):
        build(rgb_encoding="odd")


def test_depth_of_another_camera_frame_is_left_out_and_complained_about():
    from instascene_ros.frame_building import Decoding

    frame = assembled(depth=np.full((3, 4), 2.0, np.float32))
    frame.depth.header.frame_id, frame.image.header.frame_id = "/depth_optical", "color_optical"
    decoded = build_frame(frame, "one")
    (complaint,) = decoded.complaints
    assert decoded.frame.depth is None and complaint.kind == fa.BAD_DEPTH
    assert "'depth_optical', the image of 'color_optical'" in complaint.sentence
    assert build_frame(frame, "one", Decoding(depth_registered=True)).frame.depth.all()
    assert build_frame(frame, "one", Decoding(0.001, True)).frame.depth[0, 0] == np.float32(0.002)


def test_an_image_whose_valid_pixels_do_not_come_is_dropped():
    setup = Setup(wait_s=1.0)
    setup.poses.update({1.0: pose_at(0), 2.0: pose_at(1)})
    for stamp in setup.poses:
        setup.assembler.add_image(stamp, "image", 0.0, wants_valid=True)
    setup.assembler.add_valid(1.0, "valid")
    assert [f.valid for f in setup.poll(0.5)] == ["valid"]
    assert setup.poll(1.5) == [] and setup.dropped == {fa.NO_VALID: 1}
