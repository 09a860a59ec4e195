"""Synthetic sensors: each error has the size that is stated for it."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from instascene_core.camera import PinholeCamera
from instascene_core.cli import main
from instascene_core.datasets import open_dataset
from instascene_core.errors import InputError
from instascene_core.synthetic import SyntheticConfig, generate_scene
from instascene_core.synthetic.optics import OpticRenderer
from instascene_core.synthetic.render import Body, Light, Motion, Renderer
from instascene_core.synthetic.sensors import SENSORS, DepthSensor, Seen, find_sensor
from instascene_core.synthetic.sensors.color import ColorErrors
from instascene_core.synthetic.sensors.depth import moved
from instascene_core.synthetic.sensors.materials import GLASS, MIRROR, MaterialErrors
from instascene_core.synthetic.sensors.phone_lidar import PhoneLidar
from instascene_core.synthetic.sensors.poses import PoseErrors
from instascene_core.synthetic.sensors.stereo import D435
from instascene_core.synthetic.sensors.structured_light import Kinect
from instascene_core.synthetic.sensors.time_of_flight import TimeOfFlight
from instascene_core.synthetic.textures import Texture
from instascene_core.transforms import inverse, look_at

CAMERA = PinholeCamera(160, 120, 160.0, 160.0, 80.0, 60.0)
NOTHING = (0.0, 0.0)
DAYLIGHT = Light(np.array([0.6, 0.0, 0.8]), shadows=False)
ALIGNED = {"registration_m": NOTHING, "registration_degrees": NOTHING}
CALM = {"bend": NOTHING, "bend_drift": 0.0, "noise": NOTHING, "edge": NOTHING, "holes": NOTHING, **ALIGNED}
NAMES = [name for name, sensor in SENSORS.items() if sensor is not None]


def wall(metres: float, camera: PinholeCamera = CAMERA) -> np.ndarray:
    return np.full((camera.height, camera.width), metres, np.float32)


def printed(camera: PinholeCamera = CAMERA, brightness: float = 0.5, contrast: float = 0.15) -> np.ndarray:
    """A finely speckled image, in which stereo finds matches everywhere."""
    noise = np.random.default_rng(0).normal(brightness, contrast, (camera.height, camera.width, 1))
    return np.repeat(np.clip(255 * noise, 0, 255).astype(np.uint8), 3, axis=2)


def measure(sensor, depth, rgb=None, camera=CAMERA, seed=0, moment=0.0, **maps):
    rng = np.random.default_rng(seed)
    seen = Seen(depth, printed(camera) if rgb is None else rgb, camera, **maps)
    return sensor.measure_depth(seen, sensor.draw_state(rng), rng, moment)


def step(near: float = 0.6, far: float = 1.0) -> np.ndarray:
    """A near block in columns 60 … 99, rows 40 … 79, before a wall."""
    depth = wall(far)
    depth[40:80, 60:100] = near
    return depth


def depth_sensor(name: str) -> DepthSensor:
    sensor = find_sensor(name)
    assert sensor is not None
    return sensor.depth


# --- all sensors ---


def test_unknown_sensors_are_refused_by_name():
    assert find_sensor("perfect") is None
    with pytest.raises(InputError, match=r"'polaroid'.*d435, kinect, tof, lidar"):
        find_sensor("polaroid")


@pytest.mark.parametrize("name", NAMES)
def test_measured_depth_is_float32_zero_where_nothing_is_and_repeatable(name):
    depth = step()
    depth[:20] = 0
    sensor = depth_sensor(name)
    first, again, other = (measure(sensor, depth, seed=s) for s in (1, 1, 2))
    assert first.dtype == np.float32 and first.shape == depth.shape
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.2
    assert (first[:8] == 0).all() and (first[90:] > 0).mean() > 0.8
    assert np.abs(first[90:][first[90:] > 0] - 1).max() < 0.08
    assert (measure(sensor, np.zeros_like(depth)) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_nearer_than_the_minimum_range_is_nothing(name):
    sensor = depth_sensor(name)
    assert (measure(sensor, wall(sensor.min_range - 0.03)) == 0).all()
    assert (measure(sensor, wall(sensor.min_range + 0.05)) > 0).mean() > 0.5


def test_wrong_registration_moves_points_as_a_rigid_body():
    offset = np.eye(4)
    offset[:3, 3] = [0.004, 0.0, -0.002]
    angle = np.radians(0.5)
    offset[:3, :3] = cv2.Rodrigues(np.array([0.0, angle, 0.0]))[0]
    y, x = np.mgrid[:120, :160]
    plane = (1 / (1.2 + 0.002 * (x - 80) + 0.003 * (y - 60))).astype(np.float32)  # in inverse depth
    result = moved(plane, offset, CAMERA)
    inner = np.s_[10:-10, 10:-10]
    points = CAMERA.back_project(plane)[inner].reshape(-1, 3) @ offset[:3, :3].T + offset[:3, 3]
    normal = np.linalg.lstsq(points, np.ones(len(points)), rcond=None)[0]
    distances = (CAMERA.back_project(result)[inner].reshape(-1, 3) @ normal - 1) / np.linalg.norm(normal)
    assert np.abs(distances).max() < 1e-4
    # An edge moves by f·(t/z + angle).
    shifted = moved(step(0.8, 0.8001), offset, CAMERA) - moved(wall(0.8), offset, CAMERA)
    assert np.abs(shifted).max() < 3e-4
    edges = np.flatnonzero(np.diff(moved(step(0.6, 0.65), offset, CAMERA)[60]) < -0.02)
    assert edges[0] + 1 == pytest.approx(60 + 160 * (0.004 / 0.6 + angle), abs=1.1)


# --- D435 ---


def test_d435_noise_is_smooth_and_of_its_size_in_disparity():
    sensor = replace(D435(), **{**CALM, "noise": (0.1, 0.1)}, step=0.0, subpixel=1e-4)
    disparity = 0.05 * 385 / measure(sensor, wall(0.8)) - 0.05 * 385 / 0.8
    assert disparity.std() == pytest.approx(0.1, rel=0.25)
    beside = np.corrcoef(disparity[:, :-1].ravel(), disparity[:, 1:].ravel())[0, 1]
    apart = np.corrcoef(disparity[:, :-20].ravel(), disparity[:, 20:].ravel())[0, 1]
    assert beside > 0.5 and abs(apart) < 0.25


def test_d435_bends_a_white_wall_by_a_centimetre_and_keeps_bending_it_alike():
    sensor = replace(D435(), **{**CALM, "bend": (0.3, 0.3), "bend_drift": 0.03})
    rng = np.random.default_rng(3)
    state = sensor.draw_state(rng)
    seen = Seen(wall(0.8), printed(), CAMERA)
    errors = [sensor.measure_depth(seen, state, rng, k) - 0.8 for k in (0, 1, 15)]
    expected = 0.3 * 0.8**2 / (0.05 * 385)  # 1 cm
    assert 0.7 * expected < np.abs(errors[0]).max() < 1.35 * expected
    assert np.corrcoef(errors[0].ravel(), errors[2].ravel())[0, 1] > 0.9
    assert np.abs(errors[0] - errors[1]).mean() < np.abs(errors[0] - errors[2]).mean()
    assert np.abs(np.diff(errors[0], axis=1)).max() < 0.003  # smooth but for the disparity's steps


def test_d435_shadow_is_left_of_the_block_and_as_wide_as_the_baseline_makes_it():
    sensor = replace(D435(), **CALM)
    camera = PinholeCamera(160, 120, 400.0, 400.0, 80.0, 60.0)
    depth = step(0.5, 1.0)
    holes = measure(sensor, depth, printed(camera), camera)[60] == 0
    width = 0.05 * 400 * (1 / 0.5 - 1 / 1.0)  # 20 pixels
    assert holes[60 - int(width) + 2 : 59].all() and holes.sum() == pytest.approx(width, abs=2)


@pytest.mark.parametrize("pixels", [2.0, 4.0])
def test_d435_foreground_grows_by_its_pixels(pixels):
    sensor = replace(D435(), **{**CALM, "edge": (pixels, pixels)})
    camera = PinholeCamera(160, 120, 385.0, 385.0, 80.0, 60.0)  # so that its pixels are those of the image
    measured = measure(sensor, step(0.6, 1.0), printed(camera), camera)
    grown = (np.abs(measured[45:75, 100:110] - 0.6) < 0.05).sum(axis=1)
    assert 0.6 * pixels <= grown.mean() <= 1.25 * pixels and grown.max() <= 1.25 * pixels + 0.5
    # A slanted wall grows nowhere.
    slanted = wall(0.8) + np.linspace(0, 0.3, 160, dtype=np.float32)
    assert np.abs(measure(sensor, slanted, printed(camera), camera) - slanted)[:, 5:-5].max() < 0.006


def test_d435_misses_dark_and_plain_surfaces_only():
    sensor = replace(D435(), **{**CALM, "holes": (1.0, 1.0)})
    dark, plain, textured = (printed(CAMERA, b, c) for b, c in ((0.03, 0.0), (0.5, 0.0), (0.5, 0.15)))
    missed = [(measure(sensor, wall(1.0), rgb) == 0).mean() for rgb in (dark, plain, textured)]
    assert missed[0] > 0.3 and 0.005 < missed[1] < 0.25 and missed[2] < 0.001
    holes = (measure(sensor, wall(1.0), dark) == 0).astype(np.uint8)
    assert cv2.connectedComponents(holes)[0] < holes.sum() / 10  # blobs, not salt


def test_d435_misses_surfaces_at_a_grazing_angle():
    sensor = replace(D435(), **CALM)
    y = np.arange(120, dtype=np.float32)[:, None]
    floor = np.broadcast_to(0.1 * 160 / (y - 20).clip(2), (120, 160)).astype(np.float32)
    angle = np.arctan2(0.1, floor[:, 0])  # the floor is 10 cm under the eye
    missed = (measure(sensor, floor) == 0).mean(axis=1)
    assert missed[(angle < 0.1) & (floor[:, 0] < 5)].mean() > 0.9
    assert missed[(angle > 0.4) & (floor[:, 0] > 0.2)].max() < 0.05


# --- Kinect ---


def test_kinect_measures_in_eighths_of_a_pixel():
    sensor = replace(Kinect(), **{**CALM, "noise": (1.0, 1.0)}, step=0.0)
    measured = measure(sensor, wall(1.5))
    eighths = 8 * 0.075 * 580 / measured[measured > 0].astype(np.float64)
    np.testing.assert_allclose(eighths, np.round(eighths), atol=1e-3)
    assert np.diff(np.unique(measured[measured > 0].round(5))).min() > 0.005  # 6.5 mm at 1.5 m
    assert 0.002 < measured[measured > 0].std() < 0.006


def test_kinect_sees_neither_its_shadow_nor_black():
    sensor = replace(Kinect(), **CALM)
    camera = PinholeCamera(160, 120, 400.0, 400.0, 80.0, 60.0)
    holes = measure(sensor, step(0.5, 1.0), printed(camera), camera)[60] == 0
    assert holes[32:59].all() and not holes[:27].any()  # 75 mm · 400 · (1/0.5 − 1/1) = 30 pixels
    assert (measure(sensor, wall(1.0), printed(CAMERA, 0.01, 0.0)) == 0).mean() > 0.95


# --- time of flight ---


def test_tof_noise_grows_with_the_square_of_distance_and_in_the_dark():
    sensor = replace(TimeOfFlight(), **{**CALM, "noise": (0.001, 0.001)}, wiggle=0.0, step=0.0)
    near, far = (measure(sensor, wall(z), printed(CAMERA, 0.5, 0.0)) for z in (1.0, 2.0))
    dark = measure(sensor, wall(1.0), printed(CAMERA, 0.125, 0.0))
    assert near.std() == pytest.approx(0.001, rel=0.2)
    assert far.std() / near.std() == pytest.approx(4, rel=0.2)
    assert dark.std() / near.std() == pytest.approx(2, rel=0.2)


def test_tof_wiggles_with_distance():
    sensor = replace(TimeOfFlight(), **CALM, step=0.0)
    errors = [float(np.median(measure(sensor, wall(z)) - z)) for z in np.linspace(0.6, 1.07, 12)]
    assert max(errors) == pytest.approx(0.003, abs=5e-4) and min(errors) == pytest.approx(-0.003, abs=5e-4)


def test_tof_pixels_fly_between_two_surfaces():
    sensor = replace(TimeOfFlight(), **{**CALM, "edge": (1.5, 1.5)})
    measured = measure(sensor, step(0.6, 1.0))
    between = (measured > 0.65) & (measured < 0.95)
    assert between.sum() > 40
    assert not between[:, :55].any() and not between[:, 105:].any() and not between[45:75, 65:95].any()


def test_tof_rounds_a_concave_corner_and_leaves_its_walls_and_a_convex_one():
    camera = PinholeCamera(160, 120, 300.0, 300.0, 80.0, 60.0)
    # Two walls that meet in a right angle, 0.8 m away; depth along each ray.
    x = np.abs(camera.rays[..., 0])
    corner, ridge = 0.8 / (1 + x), 0.8 / (1 - x)
    sensor = replace(TimeOfFlight(), **CALM, wiggle=0.0)
    rgb = printed(camera, 0.5, 0.0)
    error = measure(sensor, corner, rgb, camera) - corner
    assert -0.02 < error[20:100, 78:82].mean() < -0.002  # the corner itself is filled
    assert error[20:100, 84:110].max() > 0.0005  # the walls beside it seem deeper
    assert np.abs(error[20:100, 135:150]).mean() < 0.001
    assert np.abs(measure(sensor, ridge, rgb, camera) - ridge)[20:100, 78:82].mean() < 0.001


# --- LiDAR of a phone ---


def test_lidar_has_256_columns_and_round_edges():
    camera = PinholeCamera(768, 576, 700.0, 700.0, 384.0, 288.0)
    sensor = replace(PhoneLidar(), **{**CALM, "edge": (1.5, 1.5)})
    depth = wall(1.0, camera)
    depth[:, 384:] = 0.6
    profile = measure(sensor, depth, printed(camera), camera)[288]
    rise = np.flatnonzero((profile > 0.64) & (profile < 0.96))
    # Three image pixels a cell: 10 … 90 % of a blur of 1.5 cells are 2.56 · 1.5 · 3 = 11.5 pixels.
    assert 9 <= len(rise) <= 16 and rise.mean() == pytest.approx(384, abs=2)
    checks = wall(0.8, camera) + 0.1 * (np.indices((576, 768)).sum(axis=0) % 2)  # finer than a cell
    assert measure(sensor, checks.astype(np.float32), printed(camera), camera)[50:-50, 50:-50].std() < 0.002


def test_lidar_is_off_by_a_slow_per_cent():
    sensor = replace(PhoneLidar(), **{**CALM, "bend": (0.01, 0.01), "edge": (1.0, 1.0)}, hole_share=0.0)
    error = measure(sensor, wall(2.0)) - 2
    assert 0.012 < np.abs(error).max() < 0.022 and np.abs(np.diff(error, axis=1)).max() < 0.004


# --- glass and mirrors ---


def test_glass_is_measured_as_background_hole_or_surface_in_the_stated_shares():
    sensor = replace(D435(), **CALM, materials=MaterialErrors(glass_hole=0.3, glass_surface=0.2))
    glass = np.full((120, 160), GLASS, np.uint8)
    measured = measure(sensor, wall(0.6), materials=glass, through=wall(1.0))
    assert (measured == 0).mean() == pytest.approx(0.3, abs=0.12)  # shadows and growing move the borders
    assert (np.abs(measured - 0.6) < 0.02).mean() == pytest.approx(0.2, abs=0.1)
    assert (np.abs(measured - 1.01) < 0.02).mean() > 0.3
    assert (np.abs(measure(sensor, wall(0.6)) - 0.6) < 0.02).all()


def test_mirrors_are_measured_as_deep_as_what_they_show():
    sensor = replace(TimeOfFlight(), **CALM, materials=MaterialErrors(blob_px=20.0))
    mirror = np.full((120, 160), MIRROR, np.uint8)
    measured = measure(sensor, wall(0.6), materials=mirror, mirrored=wall(1.6))
    assert (np.abs(measured - 1.6) < 0.02).mean() == pytest.approx(0.4, abs=0.1)
    assert (measured == 0).mean() == pytest.approx(0.45, abs=0.1)


def plate(z: float, half: float, color, label: int, material: str = "opaque", x: float = 0.0) -> Body:
    from instascene_core.synthetic.plans import slab

    texture = Texture(np.broadcast_to(np.float32(color), (8, 8, 3)).copy(), 0.01, "box")
    return Body(label, slab((x - half, -half, z - 0.01), (x + half, half, z)), np.eye(4), texture, material)


@pytest.mark.parametrize(("material", "color"), [("glass", [0, 1, 0]), ("mirror", [1, 0, 0])])
def test_renderer_looks_through_glass_and_into_mirrors(material, color):
    """A plate 1 m below the camera; a green floor 0.5 m further, a red ceiling 1 m above the camera."""
    bodies = [
        plate(1.0, 0.2, [0, 0, 1], 1, material),
        plate(0.5, 3.0, [0, 1, 0], 2),
        plate(3.01, 3.0, [1, 0, 0], 3),
    ]
    renderer = OpticRenderer(bodies, DAYLIGHT, 1)
    pose = look_at([0.0, 0.0, 2.0], [0.0, 0.0, 0.0])
    rgb = renderer.render(CAMERA, pose).rgb[60, 80] / 255
    assert rgb.argmax() == int(np.argmax(color)) and rgb[2] < 0.25
    depths = {name: image[60, 80] for name, image in renderer.optical_depths(CAMERA, pose).items()}
    assert depths["materials"] == {"glass": GLASS, "mirror": MIRROR}[material]
    if material == "glass":
        assert depths["through"] == pytest.approx(1.5) and depths["mirrored"] == 0
    else:
        assert depths["through"] == pytest.approx(1.0) and depths["mirrored"] == pytest.approx(3.0, abs=1e-3)


# --- colour ---


def test_motion_blurs_along_the_exposure_and_bends_along_the_rows():
    """A black plate's edge before a white wall, the camera moving right."""
    # The camera looks down with x to the right.
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0])
    pose[2, 3] = 2.0
    bodies = [plate(1.0, 0.5, [0, 0, 0], 1, x=0.5), plate(0.99, 5.0, [1, 1, 1], 2)]
    renderer = Renderer(bodies, DAYLIGHT, 4)

    def edge(velocity: float, turning: float, exposure: float, readout: float) -> tuple[np.ndarray, float]:
        """(column of the edge per row, columns over which it is grey)."""
        motion = Motion(np.array([velocity, 0, 0]), np.array([0, turning, 0]), exposure, readout)
        rows = renderer.render(CAMERA, pose, motion).rgb[30:90, :, 0].astype(float)
        white = rows.max()
        return rows.sum(axis=1) / white, float(((rows > 5) & (rows < white - 5)).sum(axis=1).mean())

    still, sharp = edge(0, 0, 0, 0)
    assert sharp <= 1 and np.ptp(still) == 0
    moving, blurred = edge(0.3, 0, 0.1, 0)  # 3 cm at 1 m = 4.8 pixels, to the left
    assert 4 <= blurred <= 6 and moving.mean() == pytest.approx(still.mean(), abs=0.3)
    bent, _ = edge(0.3, 0, 0, 0.1)
    assert bent[0] - bent[-1] == pytest.approx(4.8 * 59 / 120, abs=0.4)
    turned, _ = edge(0, 0.3, 0, 0.1)
    assert turned[0] - turned[-1] == pytest.approx(4.8 * 59 / 120, abs=0.4)


def test_exposure_drifts_slowly_and_within_its_bound():
    states = [ColorErrors().draw_state(60, np.random.default_rng(s)) for s in range(8)]
    for state in states:
        brightness = state.gains[:, 1]
        assert brightness.max() <= 1.15 + 1e-9 and brightness.min() >= 1 / 1.15 - 1e-9
        assert np.abs(np.log(brightness)).max() >= 0.49 * np.log(1.15)
        assert np.abs(np.diff(np.log(brightness))).max() < 0.06
        ratio = state.gains[:, [0, 2]] / state.gains[:, 1:2]
        assert ratio.max() <= 1.05 + 1e-9 and ratio.std(axis=0).min() > 0.001
        for motion in state.motions:
            assert 0.05 <= np.linalg.norm(motion.velocity) <= 0.3
            assert 5 <= np.degrees(np.linalg.norm(motion.turning)) <= 30
            assert 0.008 <= motion.exposure <= 0.02 and 0.015 <= motion.readout <= 0.03


def test_noise_of_the_image_is_as_large_as_shot_and_read_noise():
    errors = ColorErrors(electrons=(4000, 4000), quality=(100, 100), exposure=0.0, white_balance=0.0)
    rng = np.random.default_rng(0)
    state = errors.draw_state(1, rng)
    for level in (50, 200):
        image = errors.measure(np.full((120, 160, 3), level, np.uint8), state, 0, rng)
        light = level / 255
        expected = 255 * np.sqrt(light / 4000 + 0.004**2)
        assert cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 0].std() == pytest.approx(
            expected * np.linalg.norm([0.299, 0.587, 0.114]), rel=0.2
        )
        assert image.mean() == pytest.approx(level, abs=0.5)


# --- poses ---


def offsets(reported: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reported in the true camera's frame: metres [N, 3] and rotation vectors in degrees [N, 3]."""
    from scipy.spatial.transform import Rotation

    relative = inverse(true) @ reported
    return relative[:, :3, 3], np.degrees(Rotation.from_matrix(relative[:, :3, :3]).as_rotvec())


def circle(count: int) -> np.ndarray:
    angles = np.linspace(0, 4, count)
    return np.stack([look_at([np.cos(a), np.sin(a), 0.6], [0, 0, 0]) for a in angles])


def test_pose_drift_is_bounded_slow_and_not_zero():
    errors = PoseErrors(hand_eye_m=NOTHING, hand_eye_degrees=NOTHING, base_m=NOTHING, base_degrees=NOTHING)
    true = circle(80)
    for seed in range(5):
        metres, degrees = offsets(errors.reported(true, np.random.default_rng(seed)), true)
        for error, bound, white in ((metres, 0.005, 0.0003), (degrees, 0.25, 0.02)):
            assert 0.2 * bound < np.abs(error).max() < bound + 5 * white
            assert np.corrcoef(error[:-1].ravel(), error[1:].ravel())[0, 1] > 0.7
        steps = np.diff(metres, axis=0)
        assert steps.std() < 0.002  # drift to the next frame is far smaller than that of the recording


def test_hand_eye_error_is_constant_in_the_camera_and_of_its_size():
    errors = PoseErrors(
        base_m=NOTHING,
        base_degrees=NOTHING,
        drift_m=NOTHING,
        drift_degrees=NOTHING,
        white_m=0,
        white_degrees=0,
    )
    true = circle(9)
    metres, degrees = offsets(errors.reported(true, np.random.default_rng(0)), true)
    assert np.ptp(metres, axis=0).max() < 1e-9 and np.ptp(degrees, axis=0).max() < 1e-6
    assert 0.001 <= np.linalg.norm(metres[0]) <= 0.003 and 0.1 <= np.linalg.norm(degrees[0]) <= 0.3


# --- whole scenes ---

SMALL = SyntheticConfig(seed=5, num_objects=4, num_views=4, width=96, height=72)


@pytest.fixture(scope="module")
def scene():
    return generate_scene(SMALL)


def with_config(scene, **changes):
    return replace(scene, config=replace(scene.config, **changes))


def test_the_perfect_sensor_delivers_the_exact_view(scene):
    frame, view = scene.frame(1), scene.view(1)
    np.testing.assert_array_equal(frame.rgb, view.rgb)
    np.testing.assert_array_equal(frame.require_depth(), view.depth)
    np.testing.assert_allclose(frame.world_from_camera, scene.poses[1], atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_frames_have_the_same_bits_in_whatever_order(scene, name):
    forward, backward = (with_config(scene, sensor=name) for _ in range(2))
    first = [forward.frame(i) for i in (0, 2)]
    second = [backward.frame(i) for i in (2, 0)][::-1]
    for a, b in zip(first, second):
        for field in ("rgb", "depth", "labels", "world_from_camera"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    exact = scene.view(2)
    np.testing.assert_array_equal(first[1].labels, exact.labels)
    np.testing.assert_array_equal(forward.view(2).rgb, exact.rgb)
    assert (first[1].rgb != exact.rgb).mean() > 0.3 and (first[1].depth != exact.depth).mean() > 0.3
    assert 1e-4 < np.linalg.norm(first[1].world_from_camera[:3, 3] - scene.poses[2][:3, 3]) < 0.02


def test_shares_of_glass_and_mirrors_change_nothing_else(scene):
    shiny = generate_scene(replace(SMALL, glass_fraction=0.7, mirror_fraction=0.3))
    assert {o.material for o in shiny.objects} == {"glass", "mirror"}
    assert {o.material for o in scene.objects} == {"opaque"}
    for a, b in zip(scene.objects, shiny.objects):
        np.testing.assert_array_equal(a.world_from_object, b.world_from_object)
    exact, odd = scene.view(0), shiny.view(0)
    np.testing.assert_array_equal(exact.depth, odd.depth)  # the truth is the surface
    on = exact.labels > 0
    assert (exact.rgb[on] != odd.rgb[on]).mean() > 0.5
    frame = with_config(shiny, sensor="tof").frame(0)
    assert np.median(np.abs(frame.require_depth()[on] - exact.depth[on])) > 0.03


def test_command_writes_the_recording_and_the_truth(tmp_path):
    out = tmp_path / "out"
    size = ["--objects", "2", "--views", "3", "--width", "64", "--height", "48"]
    main(["synth", str(out), "--sensor", "d435", "--glass", "0.5", *size])
    truth = json.loads((out / "ground_truth/transforms_exact.json").read_text())
    recorded = json.loads((out / "transforms.json").read_text())
    assert json.loads((out / "ground_truth/scene.json").read_text())["config"]["sensor"] == "d435"
    assert len(truth["frames"]) == len(recorded["frames"]) == 3
    for exact, reported in zip(truth["frames"], recorded["frames"]):
        for key in ("file_path", "depth_file_path", "label_file_path"):
            assert (out / "ground_truth" / exact[key]).is_file() and (out / reported[key]).is_file()
        a, b = (np.array(e["transform_matrix"])[:3, 3] for e in (exact, reported))
        assert 1e-4 < np.linalg.norm(a - b) < 0.02
        depth = cv2.imread(str(out / "ground_truth" / exact["depth_file_path"]), cv2.IMREAD_UNCHANGED)
        assert (np.asarray(depth) > 0).all()
    frames = list(open_dataset(out))
    assert len(frames) == 3 and (frames[0].require_depth() > 0).mean() > 0.4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sensor": "rain"}, "no sensor 'rain'"),
        ({"sensor": "d435", "depth_noise": "kinect"}, "depth_noise"),
        ({"glass_fraction": -0.1}, "glass_fraction"),
        ({"glass_fraction": 0.6, "mirror_fraction": 0.6}, "mirror_fraction"),
    ],
)
def test_unusable_settings_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        generate_scene(replace(SMALL, **change))


def test_command_names_the_known_sensors(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["synth", str(tmp_path / "out"), "--sensor", "rain"])
    assert "known: perfect, d435" in capsys.readouterr().err
