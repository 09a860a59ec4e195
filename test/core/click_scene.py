"""A decomposed scene made by hand: a table, a wall, two boxes with masks and one that no mask ever covered.

Disks lie on a grid of `STEP` on every face, so that what a click should select is known exactly.
"""

import numpy as np
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.config import Config
from instascene_core.frame import Frame
from instascene_core.gaussians import SH_C0, GaussianModel
from instascene_core.geometry import Plane
from instascene_core.instances import Instance, InstanceMap
from instascene_core.rendering import rasterize
from instascene_core.scene import Scene
from instascene_core.scene.label_images import label_images
from instascene_core.transforms import look_at, quaternion_from_matrix

STEP = 0.01  # metres
RED, BLUE, SUPPORT, BACKGROUND = 1, 2, 3, 4  # instance ids
UNSEEN = 90  # owner of the disks of the box that no mask covered
RED_LID = 91  # the top of the red box: another colour
CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 80.0, 60.0)
BOX = 0.1  # metres, edge of each box
PLACES = {RED: (-0.1, 0.0), BLUE: (0.1, 0.0), UNSEEN: (0.0, 0.16)}
COLORS = {
    RED: (0.8, 0.1, 0.1), RED_LID: (0.9, 0.9, 0.9), BLUE: (0.1, 0.2, 0.8), UNSEEN: (0.2, 0.7, 0.2),
    SUPPORT: (0.5, 0.4, 0.3), BACKGROUND: (0.6, 0.6, 0.6),
}  # fmt: skip


def face(centre, u, v, half_u: float, half_v: float):
    """(means [K, 3], rotation [3, 3]) of disks on a rectangle; u × v points outward."""
    count_u, count_v = round(2 * half_u / STEP), round(2 * half_v / STEP)
    a = (np.arange(count_u) + 0.5) * STEP - half_u
    b = (np.arange(count_v) + 0.5) * STEP - half_v
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    u, v = np.array(u, float), np.array(v, float)
    return np.array(centre) + grid[:, :1] * u + grid[:, 1:] * v, np.stack([u, v, np.cross(u, v)], axis=1)


def disks() -> tuple[GaussianModel, np.ndarray]:
    """The model (features: by mask, a little noisy), and [N] the owner of each disk."""
    x, y, z = np.eye(3)
    half = BOX / 2
    parts = [
        (SUPPORT, *face((0, 0, 0), x, y, 0.3, 0.3)),
        (BACKGROUND, *face((0, 0.3, 0.15), x, z, 0.3, 0.14)),
    ]
    for owner, (cx, cy) in PLACES.items():
        middle = np.array([cx, cy, half])
        for a, b in ((y, z), (z, x), (-y, z), (z, -x), (x, y)):
            outward = np.cross(a, b)
            top = owner == RED and outward[2] > 0.5
            parts.append((RED_LID if top else owner, *face(middle + half * outward, a, b, half, half)))
    means = np.concatenate([m for _, m, _ in parts])
    owner = np.concatenate([np.full(len(m), o) for o, m, _ in parts])
    turns = np.concatenate([np.tile(quaternion_from_matrix(r), (len(m), 1)) for _, m, r in parts])
    codes = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    code_of = {RED: 0, RED_LID: 0, BLUE: 1, SUPPORT: 2, BACKGROUND: 3, UNSEEN: 3}
    features = codes[[code_of[o] for o in owner]] + np.random.default_rng(2).normal(0, 0.05, (len(owner), 16))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    colors = np.array([COLORS[o] for o in owner])

    def tensor(values):
        return torch.from_numpy(np.asarray(values, dtype=np.float32))

    model = GaussianModel(
        means=tensor(means),
        quaternions=tensor(turns),
        log_scales=torch.full((len(means), 2), float(np.log(0.6 * STEP))),
        logit_opacities=torch.full((len(means),), 3.0),
        sh=tensor((colors - 0.5) / SH_C0)[:, None],
        features=tensor(features),
    )
    return model, owner


def frames(model: GaussianModel, count: int = 8, camera: PinholeCamera = CAMERA) -> list[Frame]:
    """Views from a ring above the table, with the depth that the model renders."""
    views = []
    for index in range(count):
        angle = 2 * np.pi * (index + 0.25) / count
        pose = look_at(
            np.array([0.45 * np.cos(angle), 0.45 * np.sin(angle) - 0.12, 0.5]), np.array([0, 0.05, 0])
        )
        shown = rasterize(model, camera, pose)
        rgb = (shown.color.clamp(0, 1) * 255).round().byte().numpy()
        depth = np.where(shown.alpha.numpy() > 0.5, shown.depth.numpy(), 0).astype(np.float32)
        views.append(Frame(f"view{index}", float(index), camera, pose, rgb, depth))
    return views


def labels_of(owner: np.ndarray) -> np.ndarray:
    """[N] int32 instance ids as a decomposition without a mask of the third box gives them."""
    labels = np.where(owner == UNSEEN, BACKGROUND, owner)
    return np.where(labels == RED_LID, RED, labels).astype(np.int32)


def decomposed_scene(camera: PinholeCamera = CAMERA, with_normals: bool = False) -> tuple[Scene, np.ndarray]:
    """(scene, owner [N]) as it stands after `segment`; with_normals: the frames carry normals."""
    model, owner = disks()
    labels = labels_of(owner)
    views = frames(model, camera=camera)
    if with_normals:
        facing = np.zeros((camera.height, camera.width, 3), dtype=np.float32)
        facing[..., 2] = -1
        views = [view.with_(normals=facing) for view in views]
    kinds = {RED: "object", BLUE: "object", SUPPORT: "support", BACKGROUND: "background"}
    means = model.means.numpy()
    instances = []
    for number, kind in kinds.items():
        own = labels == number
        feature = model.features.numpy()[own].mean(axis=0)
        feature /= np.linalg.norm(feature)
        box = means[own].min(axis=0), means[own].max(axis=0)
        instances.append(Instance(number, kind, 0.9, *box, feature, int(own.sum()), len(views)))
    images = label_images(views, model, labels, Config().pixel_labels)
    scene = Scene(Config())
    plane = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
    scene.restore(model, views, InstanceMap(tuple(instances), labels, images, plane))
    return scene, owner
