"""The texels of an atlas that lie on the mesh."""

from dataclasses import dataclass

import numpy as np

from instascene_core.export.texturing.atlas import Atlas


@dataclass(frozen=True)
class Texels:
    """Texels whose centres charts cover, row by row from the top of the image."""

    index: np.ndarray  # [N] int64 into the flattened image [size, size], first row at the top
    triangle: np.ndarray  # [N] int64
    barycentric: np.ndarray  # [N, 3] float64

    def interpolated(self, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
        """[N, C] values [V, C] of vertices at the texels; triangles: [F, 3] of the vertices."""
        corners = triangles[self.triangle]
        a, b, c = (self.barycentric[:, k, None] * values[corners[:, k]] for k in range(3))
        return a + b + c


def covered_texels(atlas: Atlas) -> Texels:
    """The texels of an atlas, found by looking down on the flat charts."""
    from instascene_core.geometry.open3d_loader import open3d

    scene = open3d.t.geometry.RaycastingScene()
    flat = np.concatenate([atlas.places, np.zeros((len(atlas.places), 1))], axis=1)
    scene.add_triangles(
        open3d.core.Tensor(flat.astype(np.float32)), open3d.core.Tensor(atlas.triangles.astype(np.uint32))
    )
    center = np.arange(atlas.size, dtype=np.float32) + 0.5
    rays = np.zeros((atlas.size, atlas.size, 6), dtype=np.float32)
    rays[..., 0], rays[..., 1], rays[..., 2], rays[..., 5] = center[None], center[::-1, None], 1.0, -1.0
    hit = scene.cast_rays(open3d.core.Tensor(rays.reshape(-1, 6)))
    found = hit["primitive_ids"].numpy()
    index = np.flatnonzero(found != scene.INVALID_ID)
    uv = hit["primitive_uvs"].numpy()[index].astype(np.float64)
    return Texels(index, found[index].astype(np.int64), np.stack([1 - uv.sum(axis=1), *uv.T], axis=1))


def filled(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The image [S, S, 3] with every texel outside of the charts in the colour of the nearest one inside, so
    that no smaller copy of it (mip map) mixes in another colour; known: [S, S] bool."""
    from scipy.ndimage import distance_transform_edt

    _, (row, column) = distance_transform_edt(~known, return_indices=True)
    return image[row, column]
