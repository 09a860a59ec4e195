"""Gaussians in awkward places, and the comparison of kernel and twin, shared by the rendering tests."""

from dataclasses import dataclass

import numpy as np
import torch

from instascene_core import transforms
from instascene_core.camera import PinholeCamera
from instascene_core.gaussians import GaussianModel
from instascene_core.rendering import rasterize
from instascene_core.rendering.reference import rasterize_reference

PARAMETERS = ("means", "quaternions", "log_scales", "logit_opacities", "sh")
IMAGES = ("color", "alpha", "depth", "median_depth", "normal", "distortion")


@dataclass
class Scene:
    gaussians: GaussianModel
    camera: PinholeCamera
    pose: np.ndarray
    background: torch.Tensor | None = None
    colors: torch.Tensor | None = None


def random_scene(
    count: int = 150,
    width: int = 40,
    height: int = 34,
    pixels: float = 4.0,
    sh_count: int = 4,
    seed: int = 0,
    channels: int = 0,
    spread: float = 0.5,
) -> Scene:
    """Disks of about `pixels` standard deviation in front of a camera off-centre with oblong pixels."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    camera = PinholeCamera(width, height, 0.9 * width + 5, 1.2 * height + 7, 0.4 * width, 0.57 * height)
    z = 1 + 4 * rand(count)
    u, v = rand(count) * (width + 4) - 2, rand(count) * (height + 4) - 2
    local = torch.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], 1)
    pose = transforms.look_at([0.3, -0.2, 0.1], [0.9, 1.5, 0.4])
    means = torch.from_numpy(transforms.apply(pose, local.double().numpy())).float()
    log_scales = torch.log(pixels / camera.fx * z)[:, None] + spread * randn(count, 2)
    gaussians = GaussianModel(
        means,
        randn(count, 4),
        log_scales,
        0.5 + 1.5 * randn(count),
        0.25 * randn(count, sh_count, 3),
    )
    colors = rand(count, channels) if channels else None
    return Scene(gaussians, camera, pose, rand(channels or 3), colors)


def grazing_scene() -> Scene:
    """Every disk nearly edge-on to the ray through its centre (0.05° to 3°)."""
    scene = random_scene(seed=3, pixels=6)
    gaussians, pose = scene.gaussians, scene.pose
    rays = gaussians.means.double().numpy() - pose[:3, 3]
    generator = np.random.default_rng(0)
    rotations = []
    for ray in rays:
        ray = ray / np.linalg.norm(ray)
        side = np.cross(ray, generator.normal(size=3))
        side /= np.linalg.norm(side)
        angle = np.radians(generator.uniform(0.05, 3.0)) * generator.choice([-1, 1])
        normal = np.cos(angle) * np.cross(ray, side) + np.sin(angle) * ray
        u = np.cross(side, normal) * np.cos(0.4) + side * np.sin(0.4)
        rotations.append(np.stack([u, np.cross(normal, u), normal], axis=1))
    quaternions = transforms.quaternion_from_matrix(np.array(rotations))
    gaussians.quaternions = torch.from_numpy(quaternions).float()
    return scene


def huge_scene() -> Scene:
    """A few disks far larger than the image, some through the camera plane, among ordinary ones."""
    scene = random_scene(seed=4)
    scene.gaussians.log_scales[:12] = torch.log(torch.tensor([3.0, 40.0]))
    scene.gaussians.log_scales[12:20] = torch.log(torch.tensor([0.5, 2.0]))
    return scene


def crossing_scene(count: int = 60) -> Scene:
    """Faint disks in any orientation that pass through the camera plane, many with their mean out of view."""
    scene = random_scene(count, 150, 110, seed=12, spread=0.0)
    generator = torch.Generator().manual_seed(12)
    position = torch.from_numpy(scene.pose[:3, 3]).float()
    aside = torch.from_numpy(scene.pose[:3, :2]).float() @ torch.randn(2, count, generator=generator)
    depth = (scene.gaussians.means - position) @ torch.from_numpy(scene.pose[:3, 2]).float()
    scene.gaussians.means += 0.3 * aside.T * depth[:, None]
    sizes = torch.tensor([0.15, 0.9]) * torch.exp(0.5 * torch.randn(count, 2, generator=generator))
    scene.gaussians.log_scales[:] = torch.log(depth[:, None] * sizes)
    scene.gaussians.logit_opacities[:] = torch.linspace(-4, -1, count)
    return scene


def behind_scene() -> Scene:
    """Half of the Gaussians are behind the camera or within the near plane."""
    scene = random_scene(seed=5)
    means, position = scene.gaussians.means, torch.from_numpy(scene.pose[:3, 3]).float()
    means[::2] = 2 * position - means[::2]
    means[1:9:2] = position + 1e-4 * (means[1:9:2] - position)
    return scene


def scenes() -> dict[str, Scene]:
    """Name → scene, ordinary and awkward."""
    found = {
        "plain": random_scene(),
        "large image": random_scene(220, 75, 50, seed=1),
        "tiny disks": random_scene(300, pixels=0.05, seed=2, sh_count=1),
        "large disks": random_scene(80, pixels=25, seed=6, sh_count=16),
        "needles": random_scene(150, pixels=4, seed=7, spread=2.0, sh_count=9),
        "grazing": grazing_scene(),
        "huge": huge_scene(),
        "crossing": crossing_scene(),
        "behind": behind_scene(),
        "one pixel": random_scene(20, 1, 1, pixels=0.4, seed=8),
        "one row": random_scene(60, 37, 1, seed=9),
        "no Gaussians": random_scene(0),
        "one Gaussian": random_scene(1, seed=1),
        "opaque": random_scene(seed=10),
    }
    found["opaque"].gaussians.logit_opacities[:] = 9.0
    for channels in (1, 2, 3, 16, 33):
        found[f"{channels} channels"] = random_scene(100, seed=20 + channels, channels=channels)
    found["no background"] = random_scene(seed=11)
    found["no background"].background = None
    return found


@dataclass
class Rendering:
    images: dict[str, torch.Tensor]
    leaves: dict[str, torch.Tensor]
    decided: torch.Tensor | None  # [H, W] bool: no decision of the twin hangs on rounding


def render(scene: Scene, twin: bool) -> Rendering:
    """Render with every input a leaf: by the kernel (float32), or by the twin (float64)."""
    dtype = torch.float64 if twin else torch.float32

    def leaf(tensor):
        return tensor.detach().clone().to(dtype).requires_grad_()

    leaves = {name: leaf(getattr(scene.gaussians, name)) for name in PARAMETERS}
    model = GaussianModel(**leaves)
    leaves["pose"] = leaf(torch.from_numpy(scene.pose.astype(np.float32)))  # the twin sees the same digits
    keywords = {}
    for name in ("background", "colors"):
        if getattr(scene, name) is not None:
            leaves[name] = keywords[name] = leaf(getattr(scene, name))
    function = rasterize_reference if twin else rasterize
    result = function(model, scene.camera, leaves["pose"], **keywords)
    images = {name: getattr(result, name) for name in IMAGES}
    return Rendering(images, leaves, result.margin > 1e-4 if twin else None)


def gradients(rendering: Rendering, upstream: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients of Σ upstream · image by the leaves; the pose's as its six rigid motions."""
    names = list(upstream)
    found = torch.autograd.grad(
        [rendering.images[name] for name in names],
        list(rendering.leaves.values()),
        [upstream[name].to(rendering.images[name].dtype) for name in names],
        allow_unused=True,
        retain_graph=True,
    )
    result = {
        k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(rendering.leaves.items(), found)
    }
    result["pose"] = by_rigid_motion(rendering.leaves["pose"].detach(), result["pose"])
    return result


def by_rigid_motion(pose: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """[6] dL/d(turn, shift) of a camera from dL/d world_from_camera [4, 4]: all of it that has a meaning."""
    turn = pose[:3, :3].T @ gradient[:3, :3]
    skew = turn - turn.T
    return torch.stack([skew[0, 1], skew[0, 2], skew[1, 2], *gradient[:3, 3]])


def deviation(value: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest difference relative to the largest true value."""
    if truth.numel() == 0:
        return 0.0
    value, truth = value.detach(), truth.detach()
    return float((value.double() - truth).abs().max() / truth.abs().max().clamp(min=1e-12))
