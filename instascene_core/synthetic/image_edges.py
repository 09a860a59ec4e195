"""What an image shows that a segmenter goes by: colours, steps of depth, creases, patches of the table."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from instascene_core.frame import Frame
from instascene_core.geometry.depth_maps import smooth_geometry

TABLE_BLUR = 0.015  # of the image's height: print finer than this is no highlight or shadow
PATCH_STEP = 6.0  # CIE L by which a highlight or shadow differs from its table
PATCH_PIXELS = (0.0008, 0.04)  # of the image: smaller patches are noise, larger ones the table itself
CREASE = 1.0  # 1 − cosine between neighbouring normals (a right angle) that is one edge


@dataclass(frozen=True)
class ImageContent:
    """One frame's image as a segmenter sees it."""

    lab: np.ndarray  # [H, W, 3] float32 CIE Lab
    depth: np.ndarray  # [H, W] float32 metres, 0 = no measurement
    normals: np.ndarray  # [H, W, 3] float32 in camera axes, 0 = unknown
    edges: np.ndarray  # [H, W] float32: strength of the strongest step at the pixel; 1 = a clear edge
    edge_step: float  # Lab units that are one edge
    depth_step: float  # metres that are one edge

    @property
    def measured(self) -> np.ndarray:
        """[H, W] bool: where there is depth."""
        return self.depth > 0

    def steps_between(self, labels: np.ndarray) -> dict[tuple[int, int], float]:
        """Pairs (a, b), a < b, of labels ≥ 1 that touch → the median step across their border, in Lab units;
        the larger of the colour's and the depth's counts."""
        count, keys, steps = int(labels.max(initial=0)) + 1, [], []
        for axis in (0, 1):
            # Two pixels to either side: the pixels at a border mix both colours.
            near, far = (np.take(labels, range(s, labels.shape[axis] - 3 + s), axis) for s in (1, 2))
            pick = (near != far) & (near > 0) & (far > 0)
            outer = [
                [np.take(v, range(s, labels.shape[axis] - 3 + s), axis)[pick] for s in (0, 3)]
                for v in (self.lab, self.depth)
            ]
            color = np.linalg.norm(outer[0][0] - outer[0][1], axis=-1)
            depth = np.abs(outer[1][0] - outer[1][1]) / self.depth_step * self.edge_step
            low, high = np.minimum(near[pick], far[pick]), np.maximum(near[pick], far[pick])
            keys.append(low.astype(np.int64) * count + high)
            steps.append(np.maximum(color, depth))
        key, step = np.concatenate(keys), np.concatenate(steps)
        return {(int(k // count), int(k % count)): float(np.median(step[key == k])) for k in np.unique(key)}

    def table_lightness(self, table: np.ndarray) -> float:
        """Median CIE L of the table [H, W] bool."""
        return float(np.median(self.lab[table, 0])) if table.any() else 0.0

    def patches_of_table(self, table: np.ndarray) -> list[np.ndarray]:
        """[H, W] bool each: connected parts of the table that are lighter or darker than it."""
        import cv2

        if not table.any():
            return []
        blurred = cv2.GaussianBlur(self.lab[..., 0], (0, 0), TABLE_BLUR * len(table))
        step = blurred - self.table_lightness(table)
        patches = []
        for apart in (step > PATCH_STEP, step < -PATCH_STEP):
            area, count = ndimage.label(table & apart)
            size = np.bincount(area.ravel(), minlength=count + 1) / table.size
            fits = np.flatnonzero((size >= PATCH_PIXELS[0]) & (size <= PATCH_PIXELS[1]))
            patches += [area == index for index in fits if index > 0]
        return patches


def content_of(frame: Frame, edge_step: float, depth_step: float) -> ImageContent:
    """The content of a frame with depth; see `ImageContent` for the steps."""
    import cv2

    depth = frame.require_depth()
    lab = cv2.cvtColor(frame.rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    _, normals, valid = smooth_geometry(depth, frame.camera)
    normals = np.where(valid[..., None], normals, 0).astype(np.float32)
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.7)
    edges = np.zeros(depth.shape, dtype=np.float32)
    for axis in (0, 1):
        here, there = ((slice(None),) * axis + (slice(s, n),) for s, n in ((0, -2), (2, None)))
        color = np.linalg.norm(smooth[there] - smooth[here], axis=-1) / edge_step
        measured = (depth[there] > 0) & (depth[here] > 0)
        step = np.abs(depth[there] - depth[here]) / depth_step * measured
        crease = (1 - (normals[there] * normals[here]).sum(-1)) / CREASE * (valid[there] & valid[here])
        middle = (slice(None),) * axis + (slice(1, -1),)
        edges[middle] = np.maximum.reduce([edges[middle], color, step, crease])
    return ImageContent(lab, depth, normals, edges, edge_step, depth_step)
