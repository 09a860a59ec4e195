"""Blending of per-pixel lists of splats in plain torch: the second pass behind tracing and distortion.

A list is what a rasteriser finds anyway: pairs (splat, pixel), the pairs of a pixel side by side and front to
back.  Runs on any device, differentiable by autograd.
"""

from dataclasses import dataclass

import torch

from instascene_core.camera import PinholeCamera
from instascene_core.rendering.splats import DISTORTION_NEAR, TRANSMITTANCE_MIN, Splats, pixel_hits

_COLUMNS = 8  # features blended at a time
_PAIRS = 4_000_000  # pairs looked at at a time


@dataclass
class BlendedLists:
    """The M pairs of all lists of a view, with what blending makes of them."""

    camera: PinholeCamera
    index: torch.Tensor  # [M] int64, the splat
    pixel: torch.Tensor  # [M] int64 row-major, ascending
    weight: torch.Tensor  # [M] alpha · transmittance; 0 where the pair does not contribute
    transmittance: torch.Tensor  # [M] before the pair, 1 for a pixel's first
    inverse_depth: torch.Tensor  # [M] 1 / metres

    def blend(self, values: torch.Tensor) -> torch.Tensor:
        """Σ w · values over each pixel's list, [H·W, F] from `values` [V, F] of the splats."""
        parts = values.split(_COLUMNS, dim=1)  # bounds the memory of the products
        return torch.cat([self._total(self.weight[:, None] * part[self.index]) for part in parts], dim=1)

    def distortion(self) -> torch.Tensor:
        """[H, W]  Σ_{i<j} w_i w_j (m_i − m_j)², m = 1 − 0.2 m / z (2DGS eq. 13)."""
        w = self.weight
        # Relative to each pixel's first hit: the two sums below all but cancel.
        m = self.inverse_depth - self._first_inverse_depth()[self.pixel]
        spread = self._total(w) * self._total(w * m * m) - self._total(w * m) ** 2
        return (DISTORTION_NEAR**2 * spread.clamp(min=0)).reshape(self.camera.height, self.camera.width)

    def median_depth(self) -> torch.Tensor:
        """[H, W] metres: the hit that takes transmittance from above to at most one half, or 0."""
        after = self.transmittance - self.weight
        crossing = (self.weight > 0) & (self.transmittance > 0.5) & (after <= 0.5)
        depth = torch.where(crossing, 1 / self.inverse_depth, 0.0)
        return self._total(depth).reshape(self.camera.height, self.camera.width)

    def compressed_rows(
        self, transmittance_min: float, weight_min: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(offsets [H·W + 1] int64, positions [K] int64 of the pairs kept): CSR of what `trace` returns."""
        kept = (self.weight > weight_min) & (self.transmittance > transmittance_min)
        chosen = torch.nonzero(kept).flatten()
        counts = torch.bincount(self.pixel[chosen], minlength=self._num_pixels)
        offsets = torch.zeros(self._num_pixels + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts, dim=0, out=offsets[1:])
        return offsets, chosen

    @property
    def _num_pixels(self) -> int:
        return self.camera.width * self.camera.height

    def _total(self, values: torch.Tensor) -> torch.Tensor:
        """[H·W, …] sums of `values` [M, …] over each pixel's list."""
        return values.new_zeros(self._num_pixels, *values.shape[1:]).index_add(0, self.pixel, values)

    @torch.no_grad()
    def _first_inverse_depth(self) -> torch.Tensor:
        """[H·W] of the first pair that contributes; 0 where there is none."""
        chosen = torch.nonzero(self.weight > 0).flatten()
        first = chosen[
            _first_of_segment(self.pixel[chosen]) == torch.arange(len(chosen), device=chosen.device)
        ]
        result = self.inverse_depth.new_zeros(self._num_pixels)
        result[self.pixel[first]] = self.inverse_depth[first]
        return result


def blend_lists(
    splats: Splats,
    index: torch.Tensor,
    pixel: torch.Tensor,
    camera: PinholeCamera,
    near: float,
    dtype: torch.dtype = torch.float32,
) -> BlendedLists:
    """Weights of the pairs (`index` [M], `pixel` [M]), lists side by side and front to back.

    Pairs below ALPHA_MIN count for nothing; a list ends before transmittance would fall below
    TRANSMITTANCE_MIN, as in `rasterize`.
    """
    hits = pixel_hits(splats, index, pixel, camera, near, dtype)
    # Products within segments are differences of one running sum of logarithms; float64 keeps their digits.
    passed = torch.log1p(-hits.alpha.double())
    total = torch.cumsum(passed, dim=0)
    before = total - passed
    start = before[_first_of_segment(pixel)]
    transmittance = torch.exp(before - start)
    live = torch.exp(total - start).detach() >= TRANSMITTANCE_MIN
    weight = torch.where(live, hits.alpha.double() * transmittance, 0.0)
    return BlendedLists(camera, index, pixel, weight.to(dtype), transmittance.to(dtype), hits.inverse_depth)


@torch.no_grad()
def with_crossing_splats(
    splats: Splats, index: torch.Tensor, pixel: torch.Tensor, camera: PinholeCamera, near: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The lists (`index`, `pixel`) of the other splats, with those of `splats.crossing` put in."""
    every = torch.arange(camera.width * camera.height, device=index.device)
    indices, pixels = [index], [pixel]
    for chosen in torch.nonzero(splats.crossing).flatten().split(max(1, _PAIRS // len(every))):
        pair = chosen.repeat_interleave(len(every)), every.repeat(len(chosen))
        hit = torch.nonzero(pixel_hits(splats, *pair, camera, near, torch.float32).alpha > 0).flatten()
        indices.append(pair[0][hit])
        pixels.append(pair[1][hit])
    index, pixel = torch.cat(indices), torch.cat(pixels)
    front_to_back = torch.argsort(splats.depth.float(), stable=True)  # as the rasteriser orders them
    rank = torch.empty_like(front_to_back)
    rank[front_to_back] = torch.arange(len(rank), device=rank.device)
    order = torch.argsort(pixel * len(rank) + rank[index])
    return index[order], pixel[order]


def _first_of_segment(pixel: torch.Tensor) -> torch.Tensor:
    """[M] int64: for each pair the position of its pixel's first."""
    position = torch.arange(len(pixel), device=pixel.device)
    starts = torch.ones(len(pixel), dtype=torch.bool, device=pixel.device)
    starts[1:] = pixel[1:] != pixel[:-1]
    return torch.cummax(torch.where(starts, position, 0), dim=0).values if len(pixel) else position
