"""Sensors of synthetic recordings: what a real camera on a real robot does to exact views.

Depth alone, as training uses it:

    depth_sensor = find_sensor("d435").depth
    state = depth_sensor.draw_state(rng)                                # once a recording
    depth = depth_sensor.measure_depth(Seen(exact, rgb, camera), state, rng, moment=frame_number)
"""

from instascene_core.errors import InputError
from instascene_core.synthetic.sensors.depth import DepthSensor, DepthState
from instascene_core.synthetic.sensors.materials import MATERIALS, Seen
from instascene_core.synthetic.sensors.phone_lidar import PhoneLidar
from instascene_core.synthetic.sensors.poses import PoseErrors
from instascene_core.synthetic.sensors.recording import Recording, Sensor
from instascene_core.synthetic.sensors.stereo import D435
from instascene_core.synthetic.sensors.structured_light import Kinect
from instascene_core.synthetic.sensors.time_of_flight import TimeOfFlight

# A phone's colours and depth are calibrated to each other at the factory, its poses come from its own SLAM.
HANDHELD = PoseErrors(hand_eye_m=(0.0, 0.001), hand_eye_degrees=(0.0, 0.1), drift_degrees=(0.1, 0.4))

# Name → sensor; None: everything exact.
SENSORS: dict[str, Sensor | None] = {
    "perfect": None,
    "d435": Sensor(D435()),
    "kinect": Sensor(Kinect()),
    "tof": Sensor(TimeOfFlight()),
    "lidar": Sensor(PhoneLidar(), poses=HANDHELD),
}


def find_sensor(name: str) -> Sensor | None:
    """The sensor of that name, None for "perfect"; InputError names the known ones."""
    if name not in SENSORS:
        raise InputError(f"There is no sensor '{name}'; known: {', '.join(SENSORS)}.")
    return SENSORS[name]


__all__ = ["MATERIALS", "SENSORS", "DepthSensor", "DepthState", "Recording", "Seen", "Sensor", "find_sensor"]
