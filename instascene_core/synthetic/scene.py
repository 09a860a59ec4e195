"""A whole synthetic scene: objects at rest, cameras, and what the cameras see."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.frame import Frame
from instascene_core.geometry import Plane, TriangleMesh
from instascene_core.metrics import sample_surface
from instascene_core.progress import ProgressCallback, no_progress
from instascene_core.synthetic import layouts
from instascene_core.synthetic.cameras import arc_poses, fitting_distance, make_camera
from instascene_core.synthetic.household import make
from instascene_core.synthetic.materials import material_texture, piece_textures
from instascene_core.synthetic.noise import depth_noise
from instascene_core.synthetic.optics import OpticRenderer
from instascene_core.synthetic.physics import poses_as_planned, settle
from instascene_core.synthetic.plans import Fixture, Plan
from instascene_core.synthetic.render import Body, Light, Renderer, View, bodies_of
from instascene_core.synthetic.sensors import Recording, Seen, find_sensor
from instascene_core.synthetic.solids import Solid
from instascene_core.synthetic.textures import Texture, object_texture, surface_texture
from instascene_core.transforms import apply, inverse

FRAME_PERIOD = 0.1  # seconds between stamps
PILE_FILL = 0.92  # a heap is flatter than the sphere around it
ATTEMPTS = 5  # how often a scene whose objects fell off or are hidden is tried anew


@dataclass(frozen=True)
class SceneObject:
    """One object at rest."""

    id: int  # ≥ 1, its value in label images
    solid: Solid
    world_from_object: np.ndarray  # [4, 4]
    texture: Texture
    piece_textures: tuple[Texture, ...] = ()  # one a piece of the solid; `texture` is then its main print
    material: str = "opaque"  # a key of synthetic.sensors.MATERIALS

    @property
    def kind(self) -> str:
        return self.solid.kind

    @property
    def mesh(self) -> TriangleMesh:
        """The exact surface in the world frame, watertight."""
        world = self.world_from_object
        vertices = self.solid.mesh.vertices @ world[:3, :3].T + world[:3, 3]
        return TriangleMesh(vertices, self.solid.mesh.triangles)

    @property
    def vertex_colors(self) -> np.ndarray:
        """[V, 3] uint8 texture at the vertices, unlit; where pieces adjoin, the later one's."""
        mesh = self.solid.mesh
        if not self.solid.pieces:
            colors = self.texture.sample(mesh.vertices.astype(np.float32), _vertex_normals(mesh))
            return np.round(colors * 255).astype(np.uint8)
        from scipy.spatial import cKDTree

        tree, colors = cKDTree(mesh.vertices), np.zeros((len(mesh.vertices), 3))
        for piece, texture in zip(self.solid.pieces, self.piece_textures, strict=True):
            frame = piece.object_from_piece
            mine = tree.query(piece.mesh.vertices @ frame[:3, :3].T + frame[:3, 3])[1]
            vertices = piece.mesh.vertices.astype(np.float32)
            colors[mine] = texture.sample(vertices, _vertex_normals(piece.mesh))
        return np.round(colors * 255).astype(np.uint8)


def _vertex_normals(mesh: TriangleMesh) -> np.ndarray:
    """[V, 3] float32 unit normals, each the mean of the adjoining faces by area."""
    corners = mesh.vertices[mesh.triangles]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(mesh.vertices)
    for corner in range(3):
        np.add.at(normals, mesh.triangles[:, corner], face_normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return normals.astype(np.float32)


@dataclass(frozen=True)
class SyntheticScene:
    """Everything there is to know about a scene; views are rendered when asked for."""

    config: SyntheticConfig
    objects: tuple[SceneObject, ...]
    fixtures: tuple[tuple[Fixture, Texture], ...]
    support: Plane  # the table's top
    camera: PinholeCamera
    poses: np.ndarray  # [num_views, 4, 4] world_from_camera
    light: Light = field(repr=False)

    def __len__(self) -> int:
        return len(self.poses)

    @cached_property
    def renderer(self) -> Renderer:
        bodies = [
            body
            for o in self.objects
            for body in bodies_of(o.id, o.solid, o.world_from_object, o.texture, o.piece_textures, o.material)
        ]
        bodies += [Body(-1, f.mesh, np.eye(4), texture) for f, texture in self.fixtures]
        kind = Renderer if all(b.material == "opaque" for b in bodies) else OpticRenderer
        return kind(bodies, self.light, self.config.supersampling)

    @cached_property
    def recording(self) -> Recording | None:
        """What the configured sensor has through this scene's views; None: it is perfect."""
        sensor = find_sensor(self.config.sensor)
        return None if sensor is None else sensor.record(self.poses, self.config.seed)

    def view(self, index: int) -> View:
        """Exact colour, depth, labels and normals of view `index`."""
        return self.renderer.render(self.camera, self.poses[index])

    def frame(self, index: int) -> Frame:
        """View `index` as the pipeline takes it, from the configured sensor or with depth noise."""
        return self.observe(index)[0]

    def observe(self, index: int) -> tuple[Frame, View]:
        """Frame `index`, and the view behind it: exact depth, labels and normals at the true pose.

        The view's colours have the sensor's motion in them.
        """
        stamp, name = index * FRAME_PERIOD, f"{index:06d}"
        if self.recording is not None:
            view = self.renderer.render(self.camera, self.poses[index], self.recording.motion(index))
            seen = Seen(view.depth, view.rgb, self.camera)
            if isinstance(self.renderer, OpticRenderer):
                seen = replace(seen, **self.renderer.optical_depths(self.camera, self.poses[index]))
            rgb, depth = self.recording.measure(index, seen)
            pose = self.recording.poses[index]
            return Frame(name, stamp, self.camera, pose, rgb, depth, view.labels), view
        view = self.view(index)
        rng = np.random.default_rng([self.config.seed, 7, index])
        depth = depth_noise(self.config.depth_noise)(view.depth, rng)
        return Frame(name, stamp, self.camera, self.poses[index], view.rgb, depth, view.labels), view

    @cached_property
    def observed_fractions(self) -> tuple[float, ...]:
        """Per object the share [0, 1] of its surface that at least one view sees."""
        return tuple(self._observed_fraction(thing) for thing in self.objects)

    def _observed_fraction(self, thing: SceneObject, samples: int = 500) -> float:
        points = sample_surface(thing.mesh, samples, (self.config.seed, 8, thing.id))
        seen = np.zeros(samples, dtype=bool)
        for pose in self.poses:
            pixels, _ = self.camera.project(apply(inverse(pose), points))
            with np.errstate(invalid="ignore"):
                inside = ((pixels >= 0) & (pixels < [self.camera.width, self.camera.height])).all(axis=1)
            left = np.flatnonzero(inside & ~seen)
            if len(left):
                seen[left] = self.renderer.visible(points[left], pose[:3, 3])
        return float(seen.mean())

    def frames(self, progress: ProgressCallback = no_progress) -> Iterator[Frame]:
        """All views in order."""
        for frame, _ in self.observations(progress):
            yield frame

    def observations(self, progress: ProgressCallback = no_progress) -> Iterator[tuple[Frame, View]]:
        """All frames in order, each with the view behind it (see `observe`)."""
        for index in range(len(self)):
            progress("render", index / len(self), f"view {index + 1} of {len(self)}")
            yield self.observe(index)
        progress("render", 1.0, "rendered")


def generate_scene(config: SyntheticConfig, progress: ProgressCallback = no_progress) -> SyntheticScene:
    """The scene of `config`: the same bits for the same config.

    Raises InputError when the config is unusable or, after several attempts, objects fall off the
    table or stay hidden.
    """
    _check(config)
    problem = ""
    for attempt in range(ATTEMPTS):
        result = _attempt(config, np.random.default_rng([config.seed, attempt]), progress)
        if isinstance(result, SyntheticScene):
            return result
        problem = result
    raise InputError(
        f"No scene with seed {config.seed} came out well in {ATTEMPTS} attempts ({problem}); "
        "try another seed or fewer objects."
    )


def _check(config: SyntheticConfig) -> None:
    if config.num_objects < 1 or config.num_views < 1 or config.width < 1 or config.height < 1:
        raise InputError("A synthetic scene needs at least one object, one view and a non-empty image.")
    if not 5 <= config.fov_degrees <= 140:
        raise InputError(f"The field of view of {config.fov_degrees}° is not between 5° and 140°.")
    if not config.elevations_degrees or not all(0 < e < 90 for e in config.elevations_degrees):
        raise InputError("The camera elevations must lie between 0° and 90°, and there must be at least one.")
    if config.supersampling < 1:
        raise InputError("The supersampling must be 1 or more.")
    if config.seed < 0:
        raise InputError("The seed must not be negative.")
    if not 0 <= config.plain_fraction <= 1:
        raise InputError("The share of plain objects must lie between 0 and 1.")
    depth_noise(config.depth_noise)
    if find_sensor(config.sensor) is not None and config.depth_noise != "none":
        raise InputError(f"The sensor '{config.sensor}' has noise of its own; leave depth_noise at 'none'.")
    shares = (config.glass_fraction, config.mirror_fraction)
    if min(shares) < 0 or sum(shares) > 1:
        raise InputError("glass_fraction and mirror_fraction must not be negative, nor above 1 together.")
    for kind in config.kinds:
        make(kind, np.random.default_rng(0))


def _attempt(
    config: SyntheticConfig, rng: np.random.Generator, progress: ProgressCallback
) -> SyntheticScene | str:
    """A scene, or what went wrong."""
    plan = layouts.plan(config, rng)
    parts = [f.mesh.vertices for f in plan.fixtures if f.collides]
    poses = poses_as_planned(plan.drops) if plan.placed else settle(plan.drops, parts, plan.pen, progress)
    problem = _misplaced(config, plan, poses)
    if problem:
        return problem
    objects: list[SceneObject] = []
    materials = _draw_materials(config, len(plan.drops))
    for k, (drop, pose) in enumerate(zip(plan.drops, poses)):
        wrap = float(drop.solid.dimensions[:2].mean() / 2)
        texture = object_texture(rng, drop.solid.mapping, wrap, plain=rng.uniform() < config.plain_fraction)
        if drop.twin_of is not None:
            texture = objects[drop.twin_of].texture
        looks = _piece_textures(config, k if drop.twin_of is None else drop.twin_of, drop.solid, texture)
        objects.append(SceneObject(k + 1, drop.solid, pose, texture, looks, materials[k]))
    fixtures = tuple((f, surface_texture(rng, f.texel)) for f in plan.fixtures)
    camera = make_camera(config)
    points = np.concatenate([o.mesh.vertices for o in objects])
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - target, axis=1).max())
    distance = config.distance or fitting_distance(camera, PILE_FILL * radius)
    cameras = plan.cameras
    azimuth = rng.uniform(0, 2 * np.pi)
    sun = np.array([0.6 * np.cos(azimuth), 0.6 * np.sin(azimuth), 1.0])
    scene = SyntheticScene(
        config=replace(config, distance=distance),
        objects=tuple(objects),
        fixtures=fixtures,
        support=Plane(np.array([0.0, 0.0, 1.0]), plan.support_height),
        camera=camera,
        poses=arc_poses(_seen_from(config, plan), target, distance, rng) if cameras is None else cameras,
        light=Light(sun / np.linalg.norm(sun), shadows=config.shadows),
    )
    return _hidden(scene) or scene


def _draw_materials(config: SyntheticConfig, count: int) -> list[str]:
    """One key of MATERIALS an object; of a generator of its own, so that all else stays as it is without."""
    chance = np.random.default_rng([config.seed, 9]).uniform(size=count)
    limits = [config.glass_fraction, config.glass_fraction + config.mirror_fraction]
    return [("glass", "mirror", "opaque")[k] for k in np.searchsorted(limits, chance, side="right")]


def _piece_textures(config: SyntheticConfig, index: int, solid: Solid, body: Texture) -> tuple[Texture, ...]:
    """Textures of a solid's pieces, by a generator of their own: scenes without pieces stay as they were."""
    rng = np.random.default_rng([config.seed, 9, index])
    return piece_textures(solid, body, lambda material: material_texture(material, rng))


def _seen_from(config: SyntheticConfig, plan: Plan) -> SyntheticConfig:
    """The config with its arcs moved to where the layout can be looked into."""
    if plan.arc is not None:
        start, span = plan.arc
        config = replace(config, arc_start_degrees=start, arc_degrees=min(span, config.arc_degrees))
    low, high = plan.elevations
    elevations = config.elevations_degrees
    if min(elevations) < low or max(elevations) > high:
        count = len(elevations)
        spread = np.linspace(low, high, count + 2)[1:-1] if count < 3 else np.linspace(low, high, count)
        config = replace(config, elevations_degrees=tuple(float(e) for e in spread))
    return config


def _misplaced(config: SyntheticConfig, plan: Plan, poses: np.ndarray) -> str:
    """Which object did not stay where it belongs, or nothing."""
    half = config.table_size / 2
    region = np.array(plan.region or ((-half, half), (-half, half)))
    for k, (drop, pose) in enumerate(zip(plan.drops, poses)):
        heights = drop.solid.mesh.vertices @ pose[2, :3] + pose[2, 3]
        outside = (pose[:2, 3] < region[:, 0]) | (pose[:2, 3] > region[:, 1])
        if outside.any() or heights.min() < plan.support_height - 0.01:
            return f"{drop.solid.kind} {k + 1} fell off"
    return ""


def _hidden(scene: SyntheticScene) -> str:
    """Which object the views hardly see, or nothing."""
    for thing, seen in zip(scene.objects, scene.observed_fractions):
        if seen < scene.config.min_observed_fraction:
            return f"only {100 * seen:.0f} % of {thing.kind} {thing.id} can be seen"
    return ""
