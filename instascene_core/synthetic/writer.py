"""A synthetic scene as a dataset folder: the layout the readers take, plus the ground truth.

transforms.json              nerfstudio: OpenGL camera-to-world, intrinsics, file names
rgb/000000.png               uint8
depth/000000.png             uint16, DEPTH_UNIT metres a step, 0 = nothing there
masks/000000.png             uint16 label image, 0 = table and room, else the object's id
ground_truth/scene.json      objects (id, kind, pose, size, volume, share seen), support plane, config
ground_truth/meshes/<id>.ply exact watertight surface, world frame, metres, vertex colours

With a sensor that is not perfect the above is as it recorded it, labels excepted, and there are also

ground_truth/transforms_exact.json    true poses, with the paths of colours, exact depth and masks
ground_truth/depth_exact/000000.png   as depth/
"""

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np

from instascene_core import __version__
from instascene_core.camera import PinholeCamera
from instascene_core.errors import InputError
from instascene_core.files import atomic_path, write_image, write_json
from instascene_core.frame import Frame, image_from_labels
from instascene_core.geometry import TriangleMesh
from instascene_core.owned_folder import Layout, require_writable, writing
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.synthetic.scene import SceneObject, SyntheticScene
from instascene_core.transforms import OPENGL_FROM_OPENCV

# Metres a step of the 16-bit depth images: 0.1 mm keeps the truth nearly exact, up to 6.5 m.
# `depth_unit_scale_factor` in transforms.json says so; noise options quantise coarser on top.
DEPTH_UNIT = 0.0001
DATASET = Layout(
    kind="synthetic dataset",
    option="another OUTPUT",
    files=re.compile(
        r"transforms\.json|(rgb|depth|masks)/[^/]+\.png|ground_truth/(scene|transforms_exact)\.json"
        r"|ground_truth/(meshes/\d+\.ply|depth_exact/[^/]+\.png)"
    ),
    folders=re.compile(r"rgb|depth|masks|ground_truth(/(meshes|depth_exact))?"),
)


def write_dataset(scene: SyntheticScene, folder: Path, progress: ProgressCallback = no_progress) -> None:
    """Render `scene` into `folder`: new, empty, or with a dataset of an earlier call, which is replaced.

    The dataset appears complete or not at all (`instascene_core.owned_folder`).  Raises InputError when the
    folder cannot be written or holds files that are not ours.
    """
    with writing(folder, DATASET) as change:
        _write_files(scene, change.staging, progress)
        change.stale.update(change.owned)


def require_dataset_writable(folder: Path) -> None:
    """InputError when `write_dataset` could not write to `folder`; to be asked before the scene is made."""
    require_writable(folder, DATASET)


def _write_files(scene: SyntheticScene, folder: Path, progress: ProgressCallback) -> None:
    """All files of the docstring into an empty folder."""
    write_ground_truth(scene, folder / "ground_truth")
    truth = folder / "ground_truth"
    entries, exact = [], []
    for (frame, view), pose in zip(scene.observations(progress), scene.poses):
        entries.append(_write_frame(frame, folder))
        if scene.recording is not None:
            write_image(truth / "depth_exact" / f"{frame.name}.png", _steps(view.depth))
            exact.append(_exact_entry(entries[-1], frame.name, pose))
    camera = _describe_camera(scene.camera)
    if exact:
        write_json(truth / "transforms_exact.json", {**camera, "frames": exact})
    write_json(folder / "transforms.json", {**camera, "frames": entries})


def _describe_camera(camera: PinholeCamera) -> dict:
    """The part of transforms.json that is the same for all frames."""
    return {
        "camera_model": "OPENCV",
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "w": camera.width,
        "h": camera.height,
        "k1": 0.0,
        "k2": 0.0,
        "p1": 0.0,
        "p2": 0.0,
        "depth_unit_scale_factor": DEPTH_UNIT,
    }


def _exact_entry(entry: dict, name: str, pose: np.ndarray) -> dict:
    """The entry of transforms_exact.json, paths from its folder, for that of transforms.json."""
    return {
        **entry,
        "file_path": f"../{entry['file_path']}",
        "depth_file_path": f"depth_exact/{name}.png",
        "label_file_path": f"../{entry['label_file_path']}",
        "transform_matrix": pose @ OPENGL_FROM_OPENCV,
    }


def _steps(depth: np.ndarray) -> np.ndarray:
    """Depth [H, W] m as uint16 steps; beyond their range: no measurement."""
    steps = np.round(depth.astype(np.float64) / DEPTH_UNIT)
    return np.where(steps > 65535, 0, steps).astype(np.uint16)


def _write_frame(frame: Frame, folder: Path) -> dict:
    """Write one frame's images; its entry for transforms.json."""
    if frame.depth is None or frame.labels is None:
        raise InputError(f"The frame '{frame.name}' lacks depth or labels; a synthetic scene has both.")
    name = f"{frame.name}.png"
    write_image(folder / "rgb" / name, frame.rgb)
    write_image(folder / "depth" / name, _steps(frame.depth))
    write_image(folder / "masks" / name, image_from_labels(frame.labels))
    return {
        "file_path": f"rgb/{name}",
        "depth_file_path": f"depth/{name}",
        "label_file_path": f"masks/{name}",
        "timestamp": frame.stamp,
        "transform_matrix": frame.world_from_camera @ OPENGL_FROM_OPENCV,
    }


def write_ground_truth(scene: SyntheticScene, folder: Path) -> None:
    """Write scene.json and one mesh per object."""
    for thing in scene.objects:
        write_mesh(folder / "meshes" / f"{thing.id}.ply", thing.mesh, thing.vertex_colors)
    write_json(
        folder / "scene.json",
        {
            "version": __version__,
            "config": asdict(scene.config),
            "support_plane": {"normal": scene.support.normal, "offset": scene.support.offset},
            "objects": [
                _describe(thing, seen) for thing, seen in zip(scene.objects, scene.observed_fractions)
            ],
        },
    )


def _describe(thing: SceneObject, observed_fraction: float) -> dict:
    corners = thing.solid.mesh.vertices[thing.solid.mesh.triangles]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    return {
        "id": thing.id,
        "kind": thing.kind,
        "material": thing.material,
        "mesh": f"meshes/{thing.id}.ply",
        "world_from_object": thing.world_from_object,
        "dimensions": thing.solid.dimensions,
        "volume": volume,
        "mass": volume * thing.solid.density,
        "observed_fraction": observed_fraction,
    }


def write_mesh(path: Path, mesh: TriangleMesh, colors: np.ndarray) -> None:
    """Write a binary PLY with double vertices and uint8 colours [V, 3], atomically."""
    vertices = np.empty(len(mesh.vertices), dtype=[("xyz", "<f8", 3), ("rgb", "u1", 3)])
    vertices["xyz"], vertices["rgb"] = mesh.vertices, colors
    faces = np.empty(len(mesh.triangles), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.triangles
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property double {axis}" for axis in "xyz"]
    header += [f"property uchar {color}" for color in ("red", "green", "blue")]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode())
        file.write(vertices.tobytes())
        file.write(faces.tobytes())
