"""The CUDA backend: the same images as the CPU kernel, blended on the GPU by gsplat's 2DGS rasteriser.

gsplat (Ye et al. 2024) bins splats into tiles and blends channels; what the channels mean is ours.  Its
one-call function `rasterization_2dgs` is not used: it renders the depth of disk centres, applies the screen
filter about the middle of a box instead of the projected centre, and cuts that filter off after a pixel.
Instead

    splats.project                         ray-disk geometry, boxes, pose gradients         torch
    isect_tiles, isect_offset_encode       which splat touches which tile                   gsplat
    rasterize_to_pixels_2dgs               Σ w · (colour, plane offset, normal), alpha      gsplat
    rasterize_to_indices_in_range_2dgs     the pairs behind tracing and distortion          gsplat
    pixel_lists                            their weights                                    torch

gsplat also shows disks where their planes are hit behind the camera.  Views with disks that would show so
(they reach behind the camera, their mirror image lies in view) are blended from their lists, which is slower.

Both backends skip alpha < 1/255, clamp it to 0.999, stop a pixel before transmittance falls below 1e-4 and
filter the screen with σ = √2/2 pixels.  What differs:
- gsplat intersects in float32 pixel coordinates of the whole image, where the CPU kernel counts from the
  projected centre.  At 1280×720 that arithmetic, followed on the CPU, changes alpha by less than 1.3e-5 in
  99 % of all hits, of disks seen within 3° of edge-on by less than 1.1e-4; and by a whole 1/255 where a
  cut-off falls to the other side.  Its fast exponentials come on top.
- gsplat sums gradients with atomic additions: the same input gives the same result but for rounding.
- `visible` is decided by boxes, the CPU kernel's by blocks of 4×4 pixels: it may hold some more Gaussians.
"""

import importlib.metadata
import importlib.util
import logging
import math
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import ModuleType

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.errors import MissingDependencyError
from instascene_core.rendering.losses import ray_planes
from instascene_core.rendering.pixel_lists import BlendedLists, blend_lists, with_crossing_splats
from instascene_core.rendering.splats import GRAZING, Splats, pixel_hits, project
from instascene_core.rendering.view import RasterImages, RasterView

logger = logging.getLogger(__name__)

GSPLAT_VERSION = "1.5.3"  # the one whose arithmetic this file relies on; the `cuda` extra installs it
TILE = 16  # pixels

# Channel counts compiled into gsplat; others it would fill with uninitialised memory, whose NaNs reach the
# gradients.  More than 32 need more shared memory than every GPU has.
_CHANNELS = (1, 2, 3, 4, 8, 16, 32)


def cuda_problem() -> str | None:
    """One sentence why this process cannot render on CUDA, or None."""
    if not torch.cuda.is_available():
        return (
            "Rendering on CUDA needs an NVIDIA GPU and a torch built for it, and torch sees no such GPU here."
        )
    if importlib.util.find_spec("gsplat") is None:
        return f"Rendering on CUDA needs gsplat {GSPLAT_VERSION}; run `pip install 'instascene[cuda]'`."
    try:
        found = importlib.metadata.version("gsplat").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        found = "of unknown version"
    if found != GSPLAT_VERSION:
        return (
            f"Rendering on CUDA needs exactly gsplat {GSPLAT_VERSION}, and gsplat {found} is installed; "
            f"run `pip install gsplat=={GSPLAT_VERSION}`."
        )
    return None


@cache
def gsplat() -> ModuleType:
    """The pinned gsplat with its kernels; MissingDependencyError where it cannot be used.

    gsplat without prebuilt kernels compiles them at first use, which takes minutes and a CUDA toolkit.
    """
    if problem := cuda_problem():
        raise MissingDependencyError(problem)
    logger.info("Loading gsplat; where its kernels are not built yet this takes minutes.")
    import gsplat as module  # pyright: ignore[reportMissingImports] (optional: the extra `cuda`)
    from gsplat.cuda import _backend  # pyright: ignore[reportMissingImports] (optional: the extra `cuda`)

    if _backend._C is None:
        raise MissingDependencyError(
            "gsplat is installed without CUDA kernels and finds no CUDA toolkit (nvcc) to build them with."
        )
    return module


@dataclass
class Tiles:
    """gsplat's index: the splats of each tile, front to back."""

    offsets: torch.Tensor  # [1, tile rows, tile columns] int32, into `splats`
    splats: torch.Tensor  # [pairs] int32


@dataclass
class CudaRendering:
    """The images of one view, differentiable, and what later passes need."""

    view: RasterView
    splats: Splats
    images: RasterImages = field(init=False)  # median_depth and distortion None unless asked for

    @property
    def visible(self) -> torch.Tensor:
        """[N] bool: the Gaussian's box reaches the image."""
        result = torch.zeros(len(self.view.means), dtype=torch.bool, device=self.view.means.device)
        result[self.splats.ids] = self.splats.box_radius[:, 0] > 0
        return result

    @cached_property
    def tiles(self) -> Tiles:
        return tile_index(self.splats, self.view.camera)

    @cached_property
    def lists(self) -> BlendedLists:
        """The pixels' lists, a pass of its own."""
        return pixel_lists(self.view, self.splats, self.tiles)


@dataclass
class Sums:
    """What blending adds up at each pixel."""

    features: torch.Tensor  # [H, W, F]  Σ w f
    alpha: torch.Tensor  # [H, W]  Σ w
    normal: torch.Tensor  # [H, W, 3]  Σ w n, camera frame, away from the camera
    median_depth: torch.Tensor | None  # [H, W] metres


def render(
    view: RasterView, screen: torch.Tensor | None = None, median_depth: bool = True, distortion: bool = True
) -> CudaRendering:
    """The images of `rasterize` on the device of `view`'s tensors, differentiable by all of them.

    `screen` [N] is filled when gradients flow back.  The median depth costs a channel, the distortion a pass.
    """
    return blend(view, project(view, screen), median_depth, distortion)


def blend(view: RasterView, splats: Splats, median_depth: bool, distortion: bool) -> CudaRendering:
    """`render` of Gaussians that are projected already."""
    rendering = CudaRendering(view, splats)
    shown, crossing = torch.stack([(splats.box_radius > 0).any(), splats.crossing.any()]).tolist()
    if not shown:
        rendering.images = _blank_images(view)
    else:
        colors = view.colors.index_select(0, splats.ids)
        features = torch.cat([colors, splats.offset[:, None].to(colors)], dim=1)
        sums = (_sums_of_lists if crossing else _sums_by_gsplat)(rendering, features, median_depth)
        rendering.images = _images(view, sums)
        if distortion:
            rendering.images.distortion = rendering.lists.distortion()
    if not median_depth:
        rendering.images.median_depth = None
    if not distortion:
        rendering.images.distortion = None
    return rendering


def tile_index(splats: Splats, camera: PinholeCamera) -> Tiles:
    """Which splats touch which tile, front to back (by the depth of their centres, then by index).

    Splats that cross the near plane are in none.
    """
    module, (rows, columns) = gsplat(), _tile_grid(camera)
    radius = torch.where(splats.crossing[:, None], 0, splats.box_radius)
    center, depth = splats.box_center[None].float(), splats.depth[None].detach().float()
    _, keys, flat = module.isect_tiles(
        center.contiguous(), radius[None], depth.contiguous(), TILE, columns, rows
    )
    return Tiles(module.isect_offset_encode(keys, 1, columns, rows).reshape(1, rows, columns), flat)


def pixel_lists(view: RasterView, splats: Splats, tiles: Tiles | None = None) -> BlendedLists:
    """Every pair of a splat and a pixel it contributes to, with its weight."""
    device, dtype, camera = view.means.device, view.means.dtype, view.camera
    if len(splats.ids) == 0:
        index = pixel = torch.zeros(0, dtype=torch.int64, device=device)
        return blend_lists(splats, index, pixel, camera, view.near, dtype)
    tiles = tiles or tile_index(splats, camera)
    crossing = bool(splats.crossing.any())
    # gsplat's lists end before transmittance would fall below 1e-4.  Where crossing splats come in between,
    # the pair that ends a pixel must be listed too: it leaves 1e-3 at least, so a start of 1e6 is ample.
    start = torch.full((1, camera.height, camera.width), 1e6 if crossing else 1.0, dtype=dtype, device=device)
    index, pixel, _ = gsplat().rasterize_to_indices_in_range_2dgs(
        0, 2**31 - 1, start, *_inputs(splats, dtype), camera.width, camera.height, TILE, tiles.offsets,
        tiles.splats,
    )  # fmt: skip
    if crossing:
        index, pixel = with_crossing_splats(splats, index, pixel, camera, view.near)
    return blend_lists(splats, index, pixel, camera, view.near, dtype)


def _inputs(splats: Splats, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means, ray transforms and opacities as gsplat takes them: a batch of one camera."""
    return splats.mean[None].to(dtype), splats.matrix[None].to(dtype), splats.opacity[None].to(dtype)


def _images(view: RasterView, sums: Sums) -> RasterImages:
    """`sums` holds the colours and, as the last feature, the planes' offsets."""
    # Σ w d / (Σ w n · ray): where the mean plane meets the ray.
    cosine = (sums.normal.permute(2, 0, 1) * ray_planes(view.camera, sums.normal)).sum(0)
    facing = (cosine > GRAZING * sums.alpha) & (sums.alpha > 0)
    color = sums.features[..., :-1]
    if view.background is not None:
        color = color + (1 - sums.alpha)[..., None] * view.background
    return RasterImages(
        color=color,
        alpha=sums.alpha,
        depth=torch.where(facing, sums.features[..., -1] / torch.where(facing, cosine, 1.0), 0.0),
        median_depth=sums.median_depth,
        normal=-sums.normal @ view.world_from_camera[:3, :3].T,
        distortion=None,
    )


def _sums_of_lists(rendering: CudaRendering, features: torch.Tensor, median_depth: bool) -> Sums:
    lists, camera = rendering.lists, rendering.view.camera
    values = torch.cat(
        [features, rendering.splats.normal.to(features), torch.ones_like(features[:, :1])], dim=1
    )
    blended = lists.blend(values).reshape(camera.height, camera.width, -1)
    median = lists.median_depth() if median_depth else None
    return Sums(blended[..., :-4], blended[..., -1], blended[..., -4:-1], median)


def _sums_by_gsplat(rendering: CudaRendering, features: torch.Tensor, median_depth: bool) -> Sums:
    view, splats, tiles = rendering.view, rendering.splats, rendering.tiles
    camera, (mean, matrix, opacity) = view.camera, _inputs(splats, features.dtype)
    normals, unused = splats.normal[None].to(features), torch.zeros_like(mean)
    blended, firsts = [], []
    for part in padded_parts(features, with_index=median_depth):
        found = gsplat().rasterize_to_pixels_2dgs(
            mean, matrix, part.channels[None], opacity, normals, unused, camera.width, camera.height, TILE,
            tiles.offsets, tiles.splats,
        )  # fmt: skip
        blended.append(found[0][0, ..., : part.used])
        firsts.append(found[1:])
    alpha, normal, _, last = firsts[0]
    alpha = alpha[0, ..., 0]
    median = _median_depth(view, splats, last[0, ..., 0], alpha) if median_depth else None
    return Sums(torch.cat(blended, dim=-1), alpha, normal[0], median)


@dataclass
class Part:
    """Channels blended in one go, [V, one of _CHANNELS]; the first `used` are the features."""

    channels: torch.Tensor
    used: int


def padded_parts(features: torch.Tensor, with_index: bool) -> list[Part]:
    """`features` [V, F] in parts of as many channels as gsplat knows, filled up with zeros.

    `with_index` puts the row's number into the last channel of the first part: gsplat's median is that
    channel's value.  float32 counts to 16 million.
    """
    parts, taken = [], 0
    while taken < features.shape[1] or not parts:
        index = with_index and not parts
        used = min(features.shape[1] - taken, _CHANNELS[-1] - index)
        size = next(c for c in _CHANNELS if c >= used + index)
        rows = [features[:, taken : taken + used], features.new_zeros(len(features), size - used - index)]
        if index:
            rows.append(torch.arange(len(features), dtype=features.dtype, device=features.device)[:, None])
        parts.append(Part(torch.cat(rows, dim=1), used))
        taken += used
    return parts


def _median_depth(view: RasterView, splats: Splats, last: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """[H, W] metres: the hit on splat `last` [H, W] where transmittance ends at or below one half, else 0."""
    pixel = torch.nonzero(alpha.flatten().detach() >= 0.5).flatten()
    index = last.detach().flatten()[pixel].round().long()
    hits = pixel_hits(splats, index, pixel, view.camera, view.near, torch.float64)
    image = torch.zeros(alpha.numel(), dtype=torch.float64, device=alpha.device)
    return image.index_put((pixel,), 1 / hits.inverse_depth).to(alpha.dtype).reshape(alpha.shape)


def _blank_images(view: RasterView) -> RasterImages:
    """Nothing but the background; attached to the inputs, so that their gradients are zero, not absent."""
    camera, like = view.camera, view.means
    nothing = sum(
        (t * 0).sum() for t in (view.means[:0], view.colors[:0]) if t.requires_grad
    ) + like.new_zeros(())
    plain = nothing.expand(camera.height, camera.width)
    color = nothing.expand(camera.height, camera.width, view.colors.shape[1])
    if view.background is not None:
        color = color + view.background
    normal = plain[..., None].expand(-1, -1, 3)
    images = (color, plain, plain, plain, normal, plain)
    return RasterImages(*(image.clone() for image in images))


def _tile_grid(camera: PinholeCamera) -> tuple[int, int]:
    return math.ceil(camera.height / TILE), math.ceil(camera.width / TILE)
