"""What the CUDA backend calls of gsplat 1.5.3, in plain torch on the CPU: tiles, lists and blending.

It follows the library's documented behaviour (ray transforms, order of keys, cut-offs, the last channel's
median), so that everything around those four calls is tested without a GPU.  Stricter than the original where
that would fail quietly: shapes, types and channel counts.
"""

from itertools import pairwise

import torch

ALPHA_MIN, ALPHA_MAX, STOP, FILTER = 1 / 255, 0.999, 1e-4, 2.0
CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512)  # others are padded with uninitialised memory


def isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height):
    """(tiles per splat, sorted keys tile << 32 | depth bits, splats in that order)."""
    n = means2d.shape[1]
    assert means2d.shape == (1, n, 2) and radii.shape == (1, n, 2) and depths.shape == (1, n) and n > 0
    assert radii.dtype == torch.int32 and means2d.dtype == depths.dtype == torch.float32
    assert all(t.is_contiguous() for t in (means2d, radii, depths)) and (depths > 0).all()
    limit = torch.tensor([tile_width, tile_height])
    low = torch.floor((means2d[0] - radii[0]) / tile_size).clamp(min=0).long().minimum(limit)
    high = torch.ceil((means2d[0] + radii[0]) / tile_size).clamp(min=0).long().minimum(limit)
    bits = depths[0].view(torch.int32).long()
    keys, splats = [], []
    for i in range(n):
        if (radii[0, i] <= 0).any():
            continue
        for row in range(low[i, 1], high[i, 1]):
            for column in range(low[i, 0], high[i, 0]):
                keys.append((row * tile_width + column) << 32 | int(bits[i]))
                splats.append(i)
    keys, splats = torch.tensor(keys, dtype=torch.int64), torch.tensor(splats, dtype=torch.int32)
    order = torch.argsort(keys, stable=True)
    per_splat = (high - low).clamp(min=0).prod(dim=1).to(torch.int32)[None]
    return per_splat, keys[order], splats[order]


def isect_offset_encode(isect_ids, n_images, tile_width, tile_height):
    """[1, tile rows, tile columns] int32: where each tile's splats begin."""
    assert n_images == 1
    tiles = torch.arange(tile_width * tile_height)
    found = torch.searchsorted(isect_ids >> 32, tiles)
    return found.to(torch.int32).reshape(1, tile_height, tile_width)


def rasterize_to_pixels_2dgs(
    means2d, ray_transforms, colors, opacities, normals, densify, width, height, tile_size, offsets, flat
):
    """(colours, alphas, normals, distortion, median): each [1, H, W, …]."""
    channels = colors.shape[-1]
    assert channels in CHANNELS and densify.shape == means2d.shape and torch.isfinite(colors).all()
    features = torch.cat([colors[0], normals[0]], dim=1)
    images = [torch.zeros(height * width, k, dtype=colors.dtype) for k in (channels, 1, 3, 1)]
    color, alpha, normal, median = images
    for pixel, ids in _tiles(width, height, tile_size, offsets, flat):
        found, before = _weights(means2d[0], ray_transforms[0], opacities[0], ids, pixel, width)
        blended = found @ features[ids]
        color = color.index_put((pixel,), blended[:, :channels])
        normal = normal.index_put((pixel,), blended[:, channels:])
        alpha = alpha.index_put((pixel,), found.sum(1, keepdim=True))
        last = ((found > 0) & (before > 0.5)).long() * torch.arange(1, len(ids) + 1)
        where = last.amax(1)
        value = torch.where(where > 0, colors[0, ids[(where - 1).clamp(min=0)], -1], 0.0)
        median = median.index_put((pixel,), value[:, None])
    shape = (1, height, width, -1)
    distortion = torch.full((1, height, width, 1), torch.nan)  # of centres' depths: not ours
    return (
        color.reshape(shape),
        alpha.reshape(shape),
        normal.reshape(shape),
        distortion,
        median.reshape(shape),
    )


def rasterize_to_indices_in_range_2dgs(
    start, end, transmittances, means2d, ray_transforms, opacities, width, height, tile_size, offsets, flat
):
    """(splats, row-major pixels, images) of all contributing pairs: pixel by pixel, front to back."""
    assert start == 0 and end >= 1 << 30 and transmittances.shape == (1, height, width)
    assert (transmittances == transmittances[0, 0, 0]).all()
    pixels, splats = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
    stop = STOP / float(transmittances.max())
    for pixel, ids in _tiles(width, height, tile_size, offsets, flat):
        found, _ = _weights(means2d[0], ray_transforms[0], opacities[0], ids, pixel, width, stop)
        rows, columns = torch.nonzero(found > 0, as_tuple=True)
        pixels.append(pixel[rows])
        splats.append(ids[columns])
    pixel, splat = torch.cat(pixels), torch.cat(splats)
    order = torch.argsort(pixel, stable=True)
    return splat[order], pixel[order], torch.zeros_like(pixel)


def _tiles(width, height, tile_size, offsets, flat):
    """(pixels [P], splats [K] front to back) of each tile that holds any."""
    bounds = [*offsets.flatten().tolist(), len(flat)]
    columns = offsets.shape[2]
    for tile, (begin, end) in enumerate(pairwise(bounds)):
        if end > begin:
            top, left = tile // columns * tile_size, tile % columns * tile_size
            y, x = torch.meshgrid(
                torch.arange(top, min(top + tile_size, height)),
                torch.arange(left, min(left + tile_size, width)),
                indexing="ij",
            )
            yield (y * width + x).flatten(), flat[begin:end].long()


def _weights(means, transforms, opacities, ids, pixel, width, stop=STOP):
    """(alpha · transmittance, transmittance before) [P, K] of the splats `ids` in the pixels."""
    center = torch.stack([pixel % width, pixel // width], dim=-1).to(means.dtype) + 0.5
    m = transforms[ids]  # [K, 3, 3]
    h_u = center[:, None, :1] * m[None, :, 2] - m[None, :, 0]
    h_v = center[:, None, 1:] * m[None, :, 2] - m[None, :, 1]
    cross = torch.linalg.cross(h_u, h_v)
    parallel = cross[..., 2] == 0
    uv = cross[..., :2] / torch.where(parallel, 1.0, cross[..., 2])[..., None]
    disk = (uv**2).sum(-1)
    screen = FILTER * ((center[:, None] - means[ids]) ** 2).sum(-1)
    alpha = (opacities[ids] * torch.exp(-torch.where(disk <= screen, disk, screen) / 2)).clamp(max=ALPHA_MAX)
    alpha = torch.where((alpha >= ALPHA_MIN) & ~parallel, alpha, 0.0)
    after = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    return torch.where(after > stop, alpha * before, 0.0), before
