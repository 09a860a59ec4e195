"""What every depth sensor has in common: a state for the recording, range, steps, registration."""

from dataclasses import dataclass, field

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.synthetic.sensors.fields import SlowField, draw_field, inverse_of
from instascene_core.synthetic.sensors.materials import MaterialErrors, Seen, apparent_depth

SAME_SURFACE = 0.01  # share of the depth: neighbouring pixels closer than this are of one surface

Range = tuple[float, float]  # a recording draws evenly between the two


@dataclass(frozen=True)
class DepthState:
    """What stays the same through a recording, or changes slowly."""

    bend: SlowField  # smooth error; unit: see the sensor
    noise: float  # size of the random error; unit: see the sensor
    edge: float  # pixels of the sensor by which edges are wrong
    holes: float  # [0, 1]: how much is missing
    registered_from_true: np.ndarray  # [4, 4]: depth's points appear moved by it in the colour camera's frame


@dataclass(frozen=True)
class DepthSensor:
    """Sizes all sensors have; subclasses add theirs and `_measure`."""

    min_range: float = 0.2  # m
    max_range: float = 8.0  # m
    step: float = 0.001  # m: drivers deliver whole millimetres
    bend: Range = (0.0, 0.0)  # peak of the constant smooth error
    bend_drift: float = 0.0  # size of the part that swings
    bend_period: Range = (25.0, 60.0)  # frames
    noise: Range = (0.0, 0.0)
    edge: Range = (0.0, 0.0)
    holes: Range = (0.0, 1.0)
    registration_m: Range = (0.001, 0.004)  # m: wrong translation from colour to depth
    registration_degrees: Range = (0.2, 0.5)  # degrees: wrong rotation from colour to depth
    materials: MaterialErrors = field(default_factory=MaterialErrors)

    def draw_state(self, rng: np.random.Generator) -> DepthState:
        """The state of one recording."""
        return DepthState(
            bend=draw_field(rng, rng.uniform(*self.bend), self.bend_drift, rng.uniform(*self.bend_period)),
            noise=rng.uniform(*self.noise),
            edge=rng.uniform(*self.edge),
            holes=rng.uniform(*self.holes),
            registered_from_true=random_offset(rng, self.registration_m, self.registration_degrees),
        )

    def measure_depth(
        self, seen: Seen, state: DepthState, rng: np.random.Generator, moment: float = 0.0
    ) -> np.ndarray:
        """Depth [H, W] float32 m as the sensor reports it at frame `moment`, 0 = no measurement."""
        depth = apparent_depth(seen, self.materials, rng)
        # First, so that the sensor's steps and noise stay as they are.
        depth = moved(depth, state.registered_from_true, seen.camera)
        measured = self._measure(depth, seen, state, rng, moment)
        good = (measured >= self.min_range) & (measured <= self.max_range)
        measured = np.round(measured / self.step) * self.step if self.step else measured
        return np.where(good, measured, 0).astype(np.float32)

    def _measure(
        self, depth: np.ndarray, seen: Seen, state: DepthState, rng: np.random.Generator, moment: float
    ) -> np.ndarray:
        """Apparent depth [H, W] → measured depth [H, W] m in the pixels of the colour image."""
        raise NotImplementedError


def random_direction(rng: np.random.Generator) -> np.ndarray:
    """A unit vector [3], all directions alike."""
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def random_offset(rng: np.random.Generator, metres: Range, degrees: Range) -> np.ndarray:
    """A rigid transform [4, 4] of a size within the two ranges, about and along random directions."""
    from scipy.spatial.transform import Rotation

    offset = np.eye(4)
    turn = np.radians(rng.uniform(*degrees)) * random_direction(rng)
    offset[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    offset[:3, 3] = rng.uniform(*metres) * random_direction(rng)
    return offset


def moved(depth: np.ndarray, offset: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Depth [H, W] of the same points after a small `offset` [4, 4] in the camera's frame.

    Looked up backwards, between pixels of one surface and at the nearest beside steps.  The shift is taken
    from the depth of the place itself and once more from the depth found: good to a fraction of a pixel for
    offsets of millimetres, to a few at steps.
    """
    import cv2

    if np.array_equal(offset, np.eye(4)):
        return depth
    # Where the pixel's ray comes from: true = Rᵀ (moved − t).  Python's floats keep the arrays in float32.
    (a, b, c), back = offset[:3, :3].tolist(), (offset[:3, :3].T @ offset[:3, 3]).tolist()
    x, y = camera.rays[0, :, 0], camera.rays[:, 0, 1][:, None]
    ray_x, ray_y, ray_z = (x * a[k] + (y * b[k] + c[k]) for k in range(3))
    focal, centre = (float(camera.fx), float(camera.fy)), (float(camera.cx) - 0.5, float(camera.cy) - 0.5)
    typical = float(np.median(depth[::4, ::4])) or 1.0
    found = source = np.where(depth > 0, depth, np.float32(typical))
    columns = rows = found
    for _ in range(2):
        forward = 1 / (ray_z * found - back[2])
        columns = (ray_x * found - back[0]) * forward * focal[0] + centre[0]
        rows = (ray_y * found - back[1]) * forward * focal[1] + centre[1]
        source = cv2.remap(depth, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        found = np.where(source > 0, source, found)
    # Inverse depth is linear on planes, so nothing steps where the nearest pixel changes.
    between = cv2.remap(inverse_of(depth), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    same = np.abs(between * source - 1) < SAME_SURFACE
    source = np.where(same, 1 / np.maximum(between, 1e-6), source)
    # The point's depth after the offset, at the pixel it was looked up for.
    return np.where(source > 0, (source + back[2]) / ray_z, 0)
