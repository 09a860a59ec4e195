"""A rendered scene written in the layouts of other tools and data sets, by their documents; independent of
the readers under test: every change of axes and unit is written out here.
"""

import json
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from instascene_core.camera import PinholeCamera
from instascene_core.synthetic import SyntheticConfig, generate_scene

WIDTH, HEIGHT = 64, 48


@dataclass
class Shot:
    """One rendered view and what is true of it."""

    name: str
    stamp: float
    pose: np.ndarray  # [4, 4] world_from_camera, OpenCV axes, z up
    rgb: np.ndarray
    depth: np.ndarray  # [H, W] metres
    labels: np.ndarray
    low_depth: np.ndarray  # of half the resolution


class Truth:
    """Four views of three objects on a table, and the renderer to make more of them."""

    def __init__(self):
        config = SyntheticConfig(seed=2, num_objects=3, num_views=4, width=WIDTH, height=HEIGHT)
        self.scene = generate_scene(config)
        c = self.scene.camera
        # Not in the middle, so that mixed up or half-pixel errors of cx and cy show.
        self.camera = PinholeCamera(c.width, c.height, c.fx, 1.05 * c.fy, c.cx + 1.5, c.cy - 2.5)
        self.shots = [self._shot(i, pose) for i, pose in enumerate(self.scene.poses)]

    def render(self, camera, pose):
        return self.scene.renderer.render(camera, pose)

    def _shot(self, i, pose):
        view = self.render(self.camera, pose)
        low = self.render(self.camera.resized(WIDTH // 2, HEIGHT // 2), pose)
        labels = np.maximum(view.labels, 0)
        return Shot(f"{i:06d}", 100 + i * 0.1, pose, view.rgb, view.depth, labels, low.depth)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array)).save(path)


def steps(depth, per_metre, none=0):
    values = np.round(depth.astype(np.float64) * per_metre)
    return np.where(depth > 0, values, none).astype(np.uint16)


def opencv_k(camera):
    """(fx, fy, cx, cy) with pixel centres at whole numbers."""
    return camera.fx, camera.fy, camera.cx - 0.5, camera.cy - 0.5


def matrix_text(matrix):
    return "\n".join(" ".join(f"{v:.9f}" for v in row) for row in matrix) + "\n"


def k_matrix(camera):
    fx, fy, cx, cy = opencv_k(camera)
    return np.array([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def phone_world(pose):
    """The pose in a world of x right, y up: where this one's z is up, that one's −z is this y."""
    return np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]) @ pose


def opengl(pose):
    """The same camera with axes right, up, backward."""
    result = pose.copy()
    result[:3, 1], result[:3, 2] = -pose[:3, 1], -pose[:3, 2]
    return result


def write_tum(folder, truth):
    lists = {
        "rgb": ["# color images", "# file: 'rgbd_dataset_own.bag'", "# timestamp filename"],
        "depth": ["#"],
    }
    track = ["# ground truth trajectory", "# timestamp tx ty tz qx qy qz qw"]
    for shot in truth.shots:
        late = shot.stamp + 0.011  # the depth camera's own clock
        save(folder / f"rgb/{shot.stamp:.6f}.png", shot.rgb)
        save(folder / f"depth/{late:.6f}.png", steps(shot.depth, 5000))
        lists["rgb"].append(f"{shot.stamp:.6f} rgb/{shot.stamp:.6f}.png")
        lists["depth"].append(f"{late:.6f} depth/{late:.6f}.png")
        x, y, z, w = Rotation.from_matrix(shot.pose[:3, :3]).as_quat()
        tx, ty, tz = shot.pose[:3, 3]
        track.append(f"{shot.stamp:.4f} {tx:.9f} {ty:.9f} {tz:.9f} {x:.9f} {y:.9f} {z:.9f} {w:.9f}")
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "groundtruth.txt").write_text("\n".join(track) + "\n")
    (folder / "calibration.txt").write_text(" ".join(map(str, opencv_k(truth.camera))))


def write_scannet(folder, truth):
    """As SensReader does; depth of a camera of its own at the same place."""
    depth_camera = PinholeCamera(60, 46, 0.97 * truth.camera.fx, 0.97 * truth.camera.fy, 29.0, 24.0)
    for i, shot in enumerate(truth.shots):
        save(folder / f"color/{i}.png", shot.rgb)
        save(folder / f"depth/{i}.png", steps(truth.render(depth_camera, shot.pose).depth, 1000))
        save(folder / f"instance-filt/{i}.png", shot.labels.astype(np.uint8))
        (folder / "pose").mkdir(exist_ok=True)
        (folder / f"pose/{i}.txt").write_text(matrix_text(shot.pose))
    intrinsic = folder / "intrinsic"
    intrinsic.mkdir()
    (intrinsic / "intrinsic_color.txt").write_text(matrix_text(k_matrix(truth.camera)))
    (intrinsic / "intrinsic_depth.txt").write_text(matrix_text(k_matrix(depth_camera)))
    for name in ("color", "depth"):
        (intrinsic / f"extrinsic_{name}.txt").write_text(matrix_text(np.eye(4)))


def write_scannetpp(folder, truth):
    """The device's folder: rgb/ and depth/ for the iPhone."""
    frames = []
    for i, shot in enumerate(truth.shots):
        save(folder / f"rgb/frame_{i:06d}.png", shot.rgb)
        save(folder / f"depth/frame_{i:06d}.png", steps(shot.low_depth, 1000))
        kept = np.full((HEIGHT, WIDTH), 255, np.uint8)
        kept[:5] = 0
        save(folder / f"rgb_masks/frame_{i:06d}.png", kept)
        frames.append({"file_path": f"frame_{i:06d}.png", "mask_path": f"frame_{i:06d}.png",
                       "transform_matrix": opengl(shot.pose).tolist(), "is_bad": False})  # fmt: skip
    frames.append({**frames[0], "file_path": "frame_000099.png", "is_bad": True})
    c = truth.camera
    meta = {"fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy, "w": c.width, "h": c.height,
            "camera_model": "OPENCV", "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, "frames": frames,
            "test_frames": []}  # fmt: skip
    (folder / "nerfstudio").mkdir()
    (folder / "nerfstudio/transforms.json").write_text(json.dumps(meta))


def write_replica(folder, truth):
    lines = []
    for shot in truth.shots:
        save(folder / f"results/frame{shot.name}.png", shot.rgb)
        save(folder / f"results/depth{shot.name}.png", steps(shot.depth, 6553.5))
        lines.append(" ".join(f"{v:.9e}" for v in shot.pose.ravel()))
    (folder / "traj.txt").write_text("\n".join(lines) + "\n")
    fx, fy, cx, cy = opencv_k(truth.camera)
    camera = {"w": WIDTH, "h": HEIGHT, "fx": fx, "fy": fy, "cx": cx, "cy": cy, "scale": 6553.5}
    (folder.parent / "cam_params.json").write_text(json.dumps({"camera": camera}))


def write_seven_scenes(folder, truth):
    for shot in truth.shots:
        start = folder / f"seq-01/frame-{shot.name}"
        save(start.with_name(f"{start.name}.color.png"), shot.rgb)
        depth = shot.depth.copy()
        depth[0] = 0  # nothing measured
        save(start.with_name(f"{start.name}.depth.png"), steps(depth, 1000, none=65535))
        start.with_name(f"{start.name}.pose.txt").write_text(matrix_text(shot.pose))


def write_bop(root, truth, camera_poses=True):
    """The data set `root` with one scene, test/000001; the folder of the scene."""
    folder = root / "test/000001"
    cameras, annotations = {}, {}
    order = list(truth.scene.objects)
    for i, shot in enumerate(truth.shots):
        camera_from_world = np.linalg.inv(shot.pose)
        save(folder / f"rgb/{i:06d}.png", shot.rgb)
        save(folder / f"depth/{i:06d}.png", steps(shot.depth, 10_000))
        cameras[i] = {"cam_K": k_matrix(truth.camera)[:3, :3].ravel().tolist(), "depth_scale": 0.1}
        if camera_poses:
            cameras[i] |= {"cam_R_w2c": camera_from_world[:3, :3].ravel().tolist(),
                           "cam_t_w2c": (1000 * camera_from_world[:3, 3]).tolist()}  # fmt: skip
        annotations[i] = []
        for place, thing in enumerate(order):
            camera_from_model = camera_from_world @ thing.world_from_object
            rotation, millimetres = camera_from_model[:3, :3], 1000 * camera_from_model[:3, 3]
            annotations[i].append({"obj_id": 10 + thing.id, "cam_R_m2c": rotation.ravel().tolist(),
                                   "cam_t_m2c": millimetres.tolist()})  # fmt: skip
            visible = np.where(shot.labels == thing.id, 255, 0).astype(np.uint8)
            save(folder / f"mask_visib/{i:06d}_{place:06d}.png", visible)
        order.reverse()  # annotations need not keep their order
    (folder / "scene_camera.json").write_text(json.dumps(cameras))
    (folder / "scene_gt.json").write_text(json.dumps(annotations))
    for thing in truth.scene.objects:
        import trimesh

        model = trimesh.Trimesh(1000 * thing.solid.mesh.vertices, thing.solid.mesh.triangles, process=False)
        (root / "models").mkdir(exist_ok=True)
        model.export(root / f"models/obj_{10 + thing.id:06d}.ply")
    return folder


def write_polycam(folder, truth):
    for shot in truth.shots:
        name = f"{round(shot.stamp * 1e6)}"
        save(folder / f"keyframes/corrected_images/{name}.png", shot.rgb)
        save(folder / f"keyframes/depth/{name}.png", steps(shot.low_depth, 1000))
        confidence = np.full(shot.low_depth.shape, 255, np.uint8)
        confidence[:4], confidence[4:8] = 0, 127
        save(folder / f"keyframes/confidence/{name}.png", confidence)
        c, pose = truth.camera, opengl(phone_world(shot.pose))
        camera = {"width": c.width, "height": c.height, "fx": c.fx, "fy": c.fy, "cx": c.cx, "cy": c.cy,
                  "blur_score": 120.5, "timestamp": int(name)}  # fmt: skip
        camera |= {f"t_{row}{column}": pose[row, column] for row in range(3) for column in range(4)}
        file = folder / f"keyframes/corrected_cameras/{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(camera))


def write_record3d(folder, truth, write_exr):
    poses = []
    for i, shot in enumerate(truth.shots):
        save(folder / f"rgb/{i}.png", shot.rgb)
        (folder / "depth").mkdir(exist_ok=True)
        write_exr(folder / f"depth/{i}.exr", shot.low_depth.astype(np.float32), 3)
        pose = opengl(phone_world(shot.pose))
        poses.append([*Rotation.from_matrix(pose[:3, :3]).as_quat(), *pose[:3, 3]])
    c = truth.camera
    meta = {"w": c.width, "h": c.height, "fps": 10, "K": [c.fx, 0, 0, 0, c.fy, 0, c.cx, c.cy, 1],
            "poses": poses, "dw": c.width // 2, "dh": c.height // 2}  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(meta))


def write_stray(folder, truth):
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(folder / "rgb.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (WIDTH, HEIGHT))
    lines = ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for i, shot in enumerate(truth.shots):
        video.write(np.ascontiguousarray(shot.rgb[..., ::-1]))
        save(folder / f"depth/{i:06d}.png", steps(shot.low_depth, 1000))
        confidence = np.full(shot.low_depth.shape, 2, np.uint8)
        confidence[:4], confidence[4:8] = 0, 1
        save(folder / f"confidence/{i:06d}.png", confidence)
        pose = phone_world(shot.pose)
        values = [shot.stamp, *pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        lines.append(f"{values[0]:.6f}, {i:06d}, " + ", ".join(f"{v:.9f}" for v in values[1:]))
    video.release()
    (folder / "odometry.csv").write_text("\n".join(lines) + "\n")
    c = truth.camera
    (folder / "camera_matrix.csv").write_text(f"{c.fx}, 0.0, {c.cx}\n0.0, {c.fy}, {c.cy}\n0.0, 0.0, 1.0\n")


def write_llff(folder, truth):
    """One focal length, the principal point in the middle: of square pixels only."""
    camera = PinholeCamera(WIDTH, HEIGHT, truth.camera.fx, truth.camera.fx, WIDTH / 2, HEIGHT / 2)
    rows = []
    for shot in truth.shots:
        save(folder / f"images/{shot.name}.png", truth.render(camera, shot.pose).rgb)
        right, down, forward, position = (shot.pose[:3, k] for k in range(4))
        matrix = np.column_stack([down, right, -forward, position, [HEIGHT, WIDTH, camera.fx]])
        rows.append([*matrix.ravel(), 0.3, 3.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return camera


def write_blender(folder, truth):
    """Colour with alpha, 0 off the objects; the angle says the focal length of square pixels."""
    f = truth.camera.fx
    camera = PinholeCamera(WIDTH, HEIGHT, f, f, WIDTH / 2, HEIGHT / 2)
    for split, shots in {"train": truth.shots[:3], "val": truth.shots[3:], "test": truth.shots[3:]}.items():
        frames = []
        for i, shot in enumerate(shots):
            view = truth.render(camera, shot.pose)
            alpha = np.where(view.labels > 0, 255, 0).astype(np.uint8)
            save(folder / f"{split}/r_{i}.png", np.dstack([view.rgb, alpha]))
            frames.append({"file_path": f"./{split}/r_{i}", "rotation": 0.012,
                           "transform_matrix": opengl(shot.pose).tolist()})  # fmt: skip
        meta = {"camera_angle_x": 2 * np.arctan(WIDTH / 2 / f), "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(meta))
    return camera


def write_ns_process_data(folder, truth):
    """What `ns-process-data images` leaves behind, downscaled copies and the COLMAP model included."""
    c, frames = truth.camera, []
    for i, shot in enumerate(truth.shots):
        save(folder / f"images/frame_{i + 1:05d}.png", shot.rgb)
        save(folder / f"images_2/frame_{i + 1:05d}.png", shot.rgb[::2, ::2])
        frames.append({"file_path": f"images/frame_{i + 1:05d}.png", "colmap_im_id": i + 1,
                       "transform_matrix": opengl(shot.pose).tolist()})  # fmt: skip
    (folder / "colmap/sparse/0").mkdir(parents=True)
    (folder / "sparse_pc.ply").write_bytes(b"ply\n")
    meta = {"w": c.width, "h": c.height, "fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy, "k1": 0, "k2": 0,
            "p1": 0, "p2": 0, "camera_model": "OPENCV", "frames": frames, "ply_file_path": "sparse_pc.ply",
            "applied_transform": [[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0]]}  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(meta))


def write_colmap_export(folder, truth):
    """As RealityCapture and Metashape write for COLMAP: text, one camera an image, no points of use."""
    model, c = folder / "sparse/0", truth.camera
    model.mkdir(parents=True)
    cameras, images = [], []
    for i, shot in enumerate(truth.shots, start=1):
        save(folder / f"images/{shot.name}.png", shot.rgb)
        camera_from_world = np.linalg.inv(shot.pose)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        tx, ty, tz = camera_from_world[:3, 3]
        cameras.append(f"{i} PINHOLE {c.width} {c.height} {c.fx} {c.fy} {c.cx} {c.cy}")
        images.append(f"{i} {w} {x} {y} {z} {tx} {ty} {tz} {i} {shot.name}.png\n")
    (model / "cameras.txt").write_text("\n".join(cameras) + "\n")
    (model / "images.txt").write_text("\n".join(images) + "\n")
    (model / "points3D.txt").write_text("")


def agrees(frames, shots, camera, depth_step=None, pose_error=1e-6):
    """The frames are the views that were written, to the digits of the format."""
    assert len(frames) == len(shots)
    for frame, shot in zip(frames, shots):
        np.testing.assert_allclose(frame.world_from_camera, shot.pose, atol=pose_error)
        own = (frame.camera.fx, frame.camera.fy, frame.camera.cx, frame.camera.cy)
        np.testing.assert_allclose(own, (camera.fx, camera.fy, camera.cx, camera.cy), atol=1e-4)
        if depth_step is None:
            assert frame.depth is None
        else:
            np.testing.assert_allclose(frame.depth, shot.depth, atol=0.51 * depth_step)
    return True
