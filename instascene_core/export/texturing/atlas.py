"""Charts placed side by side in one square image."""

from dataclasses import dataclass

import numpy as np

from instascene_core.export.texturing.charts import Charts

FILLED = 0.62  # share of the image that charts fill, first guess
SMALLEST = 16  # texels, side of an image


@dataclass(frozen=True)
class Atlas:
    """Where each chart lies in the image."""

    places: np.ndarray  # [U, 2] float64 texels from the image's lower left corner, one a flat vertex
    triangles: np.ndarray  # [F, 3] int32 of them
    size: int  # texels, side of the image: a power of two
    texel: float  # metres


def pack(charts: Charts, texel: float, max_size: int, padding: int) -> Atlas:
    """The charts at a scale at which a texel is `texel` metres or less, or the smallest that fits `max_size`.

    padding: texels between charts.  The image's side is the power of two that is needed; what it has to spare
    makes the texels smaller.  Where little but the space between charts would fit, it is twice `max_size` or
    more.  Packing is xatlas'.
    """
    area = _area(charts)  # m²
    wanted = max(np.sqrt(area / FILLED) / texel, SMALLEST)
    size = min(1 << int(np.ceil(np.log2(wanted))), 1 << int(np.log2(max_size)))
    scale = size * np.sqrt(FILLED / max(area, 1e-30))  # texels a metre
    flat, first = _apart(charts), scale
    while True:
        places, side = _packed(flat * scale, charts.triangles, padding)
        if side <= size:
            return Atlas(places, charts.triangles, size, 1 / scale)
        scale *= min((size / side) ** 1.3, 0.97)  # the gaps do not shrink
        if scale < 0.5 * first:
            size, scale = 2 * size, first


def _area(charts: Charts) -> float:
    a, b, c = (charts.flat[charts.triangles[:, k]] for k in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    return float(0.5 * np.abs(ux * vy - uy * vx).sum())


def _apart(charts: Charts) -> np.ndarray:
    """[U, 2] the flat vertices with every chart at another place: xatlas joins charts that touch."""
    of_vertex = np.zeros(len(charts.flat), dtype=np.int64)
    of_vertex[charts.triangles] = charts.chart[:, None]
    count = int(charts.chart.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, of_vertex, charts.flat)
    np.maximum.at(high, of_vertex, charts.flat)
    width = high[:, 0] - low[:, 0]
    start = np.concatenate([[0], np.cumsum(1.05 * width + 1e-3)[:-1]])
    moved = charts.flat - low[of_vertex]
    moved[:, 0] += start[of_vertex]
    return moved


def _packed(flat: np.ndarray, triangles: np.ndarray, padding: int) -> tuple[np.ndarray, int]:
    """(places [U, 2] texels, side of the square they need); flat: [U, 2] texels."""
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_uv_mesh(np.ascontiguousarray(flat, dtype=np.float32), triangles.astype(np.uint32))
    options = xatlas.PackOptions()
    options.padding, options.texels_per_unit, options.bilinear = padding, 1.0, True
    atlas.generate(xatlas.ChartOptions(), options)
    vertex, _, uv = atlas.get_mesh(0)
    places = np.zeros((len(flat), 2))
    places[vertex] = uv * [atlas.width, atlas.height]
    return places, max(atlas.width, atlas.height)
