"""Examples: a painted body seen from the ring, what a prior would have guessed of it, and who saw what."""

from dataclasses import dataclass

import numpy as np

from instascene_core.completion.priors.multiview.inputs import Given, Known
from instascene_core.completion.priors.multiview.ring import (
    ObjectFrame,
    Ring,
    fitting_focal,
    object_frame,
    ring,
)
from instascene_core.completion.priors.multiview.views import (
    ViewGeometry,
    ray_scene,
    render_geometry,
    ring_rays,
)
from instascene_core.geometry import TriangleMesh
from instascene_core.training.multiview.bodies import Source, damage_body, look_from, make_body
from instascene_core.training.multiview.paints import Light, Paint, make_paint

VIEWS, SIDE = 16, 64
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))
MIN_COSINE = 0.15  # between normal and ray of an observing camera
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Example:
    """One object as it is stored; N views of H × W pixels in the object-normalised frame."""

    kind: str  # shape and paint
    focal: float  # of the ring, image sides
    bottom: float  # height of the support in the frame
    rgb: np.ndarray  # [N, H, W, 3] uint8, true
    coverage: np.ndarray  # [N, H, W] uint8, true, 255 = whole
    depth: np.ndarray  # [N, H, W] float16, true, 0 = none
    given_depth: np.ndarray  # [N, H, W] float16, of the guessed body
    given_coverage: np.ndarray  # [N, H, W] uint8
    given_normals: np.ndarray  # [N, H, W, 3] int8, 127 = 1, camera axes
    uncertainty: np.ndarray  # [N, H, W] uint8, 1000 to the frame's unit
    seen: np.ndarray  # [N, H, W] uint8: bit k = the k-th source saw the place

    @property
    def views(self) -> Ring:
        return ring(self.focal, self.depth.shape[1], len(self.depth))

    def given(self) -> Given:
        """What the model starts from."""
        return Given(
            views=self.views,
            depth=self.given_depth.astype(np.float32),
            coverage=self.given_coverage / np.float32(255),
            normals=self.given_normals / np.float32(127),
            uncertainty=self.uncertainty / np.float32(1000),
            bottom=self.bottom,
        )

    def known(self, sources: int) -> Known:
        """What the sources whose bits are set in `sources` know, without error."""
        valid = ((self.seen & np.uint8(sources)) > 0) & (self.coverage > 127)
        return Known(self.rgb / np.float32(255), valid.astype(np.float32))


def make_example(rng: np.random.Generator, held_out: bool = False, side: int = SIDE) -> Example:
    """A random object in views of `side` pixels, the same for any side; held_out: of shapes and prints that
    the training does not see."""
    while True:
        kind, body = make_body(rng, held_out)
        sources = look_from(rng, body)
        damaged = damage_body(rng, body, sources)
        if damaged is None:
            continue
        guess, grid, expected = damaged
        frame = object_frame(guess.vertices, UP)
        inside = TriangleMesh(frame.from_world(guess.vertices), guess.triangles)
        views = ring(fitting_focal(inside.vertices, VIEWS), side, VIEWS)
        given = render_geometry(inside, views)
        seen = _seen(given, views, frame, sources)
        if np.count_nonzero(seen) < 100 * (side / SIDE) ** 2:
            continue  # hidden by what stands in the way
        at = grid.sample(expected, frame.to_world(views.points(given.depth)).reshape(-1, 3))
        doubt = np.where(given.shown, at.reshape(given.depth.shape) / frame.radius, 0)
        extent = np.ptp(body.vertices, axis=0)
        paint = make_paint(rng, extent, frame.radius / (0.4 * SIDE), held_out)
        rgb, coverage, depth = render_paint(body, paint, Light.draw(rng), views, frame)
        return Example(
            kind=f"{kind}/{paint.kind}",
            focal=views.camera.fx / side,
            bottom=float(frame.from_world(np.zeros(3))[2]),
            rgb=np.rint(255 * rgb).astype(np.uint8),
            coverage=np.rint(255 * coverage).astype(np.uint8),
            depth=depth.astype(np.float16),
            given_depth=given.depth.astype(np.float16),
            given_coverage=np.rint(255 * given.coverage).astype(np.uint8),
            given_normals=np.rint(127 * given.normals).astype(np.int8),
            uncertainty=np.clip(np.rint(1000 * doubt), 0, 255).astype(np.uint8),
            seen=seen,
        )


def _seen(given: ViewGeometry, views: Ring, frame: ObjectFrame, sources: list[Source]) -> np.ndarray:
    """[N, H, W] uint8 bits: which sources saw the places that the guessed body shows."""
    shown = given.shown
    points = frame.to_world(views.points(given.depth)[shown])
    normals = views.to_frame(given.normals)[shown] @ frame.world_from_frame[:3, :3].T
    bits = np.zeros(len(points), dtype=np.uint8)
    for k, source in enumerate(sources):
        toward = source.world_from_camera[:3, 3] - points
        facing = (toward * normals).sum(axis=1) > MIN_COSINE * np.linalg.norm(toward, axis=1)
        bits |= np.where(facing & source.sees(points, 0.04 * frame.radius), np.uint8(1 << k), np.uint8(0))
    seen = np.zeros(shown.shape, dtype=np.uint8)
    seen[shown] = bits
    return seen


def render_paint(
    body: TriangleMesh, paint: Paint, light: Light, views: Ring, frame: ObjectFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images [N, H, W, 3] in [0, 1] of a painted body (world), its coverage and depth [N, H, W] (frame).

    Colours are the mean over the part of a pixel that shows the body, 0 where none does.
    """
    from instascene_core.geometry.open3d_loader import open3d

    local = TriangleMesh(frame.from_world(body.vertices), body.triangles)
    scene = ray_scene(local)
    size = float(np.linalg.norm(np.ptp(body.vertices, axis=0)))
    shape = (views.count, views.camera.height, views.camera.width)
    total, count = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    for offset in SUBPIXELS:
        rays = ring_rays(views, offset)
        hit = scene.cast_rays(open3d.core.Tensor(rays), nthreads=1)
        depth = hit["t_hit"].numpy()
        shown = np.isfinite(depth)
        origins, directions = rays[shown][:, :3], rays[shown][:, 3:]
        points = frame.to_world(origins + depth[shown][:, None] * directions)
        turn = frame.world_from_frame[:3, :3].T
        normals, toward = hit["primitive_normals"].numpy()[shown] @ turn, -directions @ turn
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        normals *= np.where((normals * toward).sum(axis=1, keepdims=True) < 0, -1, 1)
        colors = paint.colors(points, normals)
        total[shown] += light.lit(colors, points, normals, toward, paint.gloss, size).astype(np.float32)
        count[shown] += 1
    center = scene.cast_rays(open3d.core.Tensor(ring_rays(views)), nthreads=1)["t_hit"].numpy()
    rgb = total / np.maximum(count, 1)[..., None]
    return rgb, count / len(SUBPIXELS), np.where(np.isfinite(center), center, 0).astype(np.float32)
