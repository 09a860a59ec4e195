"""Writes single messages into a bag, to make recordings that our own writer would not."""

import numpy as np

from instascene_core.camera import PinholeCamera

K = (5, 0, 2.7, 0, 5.5, 1.4, 0, 0, 1)  # of CAMERA, as ROS counts pixels
CAMERA = PinholeCamera(6, 4, 5.0, 5.5, 3.2, 1.9)
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, POSE = "sensor_msgs/msg/CameraInfo", "geometry_msgs/msg/PoseStamped"
ODOMETRY, TF = "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"


class Recorder:
    """Writes single messages, to make bags that our own writer would not."""

    def __init__(self, path):
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self.connections = {}
        self.stamp_of = lambda at: at  # what a driver writes as the stamp of what was taken at a time

    def __enter__(self):
        self.writer.open()
        return self

    def __exit__(self, *error):
        self.writer.close()

    def new(self, kind, **fields):
        return self.store.types[kind](**fields)

    def send(self, topic, message, at):
        kind = message.__msgtype__
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.store)
        self.writer.write(self.connections[topic], round(at * 1e9), self.store.serialize_cdr(message, kind))

    def header(self, at, frame_id="camera"):
        seconds, nanoseconds = divmod(round(self.stamp_of(at) * 1e9), 10**9)
        time = self.new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self.new("std_msgs/msg/Header", stamp=time, frame_id=frame_id)

    def image(self, topic, at, array, encoding, frame_id="camera", bigendian=0):
        row = array.shape[1] * array.dtype.itemsize * (array.shape[2] if array.ndim == 3 else 1)
        message = self.new(
            IMAGE,
            header=self.header(at, frame_id),
            height=array.shape[0],
            width=array.shape[1],
            encoding=encoding,
            is_bigendian=bigendian,
            step=row,
            data=np.frombuffer(array.tobytes(), np.uint8),
        )
        self.send(topic, message, at)

    def packed(self, topic, at, data, format_, frame_id="camera"):
        message = self.new(
            COMPRESSED, header=self.header(at, frame_id), format=format_, data=np.frombuffer(data, np.uint8)
        )
        self.send(topic, message, at)

    def info(self, topic, at, k=K, model="plumb_bob", d=(), size=(6, 4), p=(0,) * 12):
        roi = self.new(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        message = self.new(
            INFO, header=self.header(at), height=size[1], width=size[0], distortion_model=model,
            d=np.array(d, float), k=np.array(k, float), r=np.eye(3).ravel(), p=np.array(p, float),
            binning_x=0, binning_y=0, roi=roi,
        )  # fmt: skip
        self.send(topic, message, at)

    def quaternion(self, xyzw):
        return self.new("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", map(float, xyzw))))

    def pose(self, topic, at, xyz, xyzw=(0, 0, 0, 1)):
        position = self.new("geometry_msgs/msg/Point", **dict(zip("xyz", map(float, xyz))))
        pose = self.new("geometry_msgs/msg/Pose", position=position, orientation=self.quaternion(xyzw))
        self.send(topic, self.new(POSE, header=self.header(at, "map"), pose=pose), at)

    def odometry(self, topic, at, xyz, child="base"):
        position = self.new("geometry_msgs/msg/Point", **dict(zip("xyz", map(float, xyz))))
        pose = self.new(
            "geometry_msgs/msg/Pose", position=position, orientation=self.quaternion((0, 0, 0, 1))
        )
        pose = self.new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
        zero = self.new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
        twist = self.new("geometry_msgs/msg/Twist", linear=zero, angular=zero)
        twist = self.new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36))
        message = self.new(
            ODOMETRY, header=self.header(at, "map"), child_frame_id=child, pose=pose, twist=twist
        )
        self.send(topic, message, at)

    def tf(self, topic, at, parent, child, xyz, xyzw=(0, 0, 0, 1)):
        translation = self.new("geometry_msgs/msg/Vector3", **dict(zip("xyz", map(float, xyz))))
        transform = self.new(
            "geometry_msgs/msg/Transform", translation=translation, rotation=self.quaternion(xyzw)
        )
        stamped = self.new(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(at, parent),
            child_frame_id=child,
            transform=transform,
        )
        self.send(topic, self.new(TF, transforms=[stamped]), at)
