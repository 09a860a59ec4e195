"""Scenes for training: every layout, every surrounding, without the shapes kept for benchmarks.

Cheap on purpose: one ray a pixel, few views a scene, no physics for most layouts, and prints from a
pool that is renewed piece by piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.frame import UNLABELLED, Frame
from instascene_core.geometry import Plane
from instascene_core.synthetic import layouts
from instascene_core.synthetic.assemblies import ASSEMBLIES
from instascene_core.synthetic.household import KINDS
from instascene_core.synthetic.materials import material_color, piece_textures
from instascene_core.synthetic.noise import DEPTH_NOISES
from instascene_core.synthetic.optics import OpticRenderer
from instascene_core.synthetic.physics import poses_as_planned, settle
from instascene_core.synthetic.plans import Fixture, Plan, slab
from instascene_core.synthetic.render import Body, Light, Renderer, bodies_of
from instascene_core.synthetic.sensors import Seen, find_sensor
from instascene_core.synthetic.textures import (
    TEXEL,
    Texture,
    blur,
    hsv,
    object_texture,
    surface_texture,
    wood,
)
from instascene_core.synthetic.unseen import HELD_OUT
from instascene_core.training.segmenter.structure import structure
from instascene_core.transforms import look_at

# Household shapes and composed things; not those that benchmarks keep to themselves.
SIMPLE_KINDS = tuple(kind for kind in KINDS if kind not in HELD_OUT)
FREE_FORMS = 9  # so many times more often than one named kind of composed things a free form comes
TRAINING_KINDS = (*SIMPLE_KINDS, *ASSEMBLIES, *("composite",) * FREE_FORMS)
# Layout → how often.  Those that need physics come rarely, they take seconds.
SHARES = {
    "assemblies": 0.16, "twins_cross": 0.06, "doubles": 0.10, "heap": 0.09, "stacks": 0.08, "flush": 0.08,
    "nested": 0.08, "flat": 0.06, "leaning": 0.10, "spread": 0.02, "pile": 0.08, "contents": 0.03,
    "thin": 0.02, "bin": 0.02, "shelf": 0.02,
}  # fmt: skip
# Camera of a scene → how often: kinds of DEPTH_NOISES with exact poses, or sensors.
SENSOR_SHARES = {
    "none": 0.12, "millimetre": 0.18, "splat": 0.15, "d435": 0.22, "kinect": 0.13, "tof": 0.07, "lidar": 0.13,
}  # fmt: skip
HOUSEHOLD = 0.4  # share of the scenes of simple shapes alone: plain clutter must not be forgotten
OPTICS = 0.15  # share of the scenes that have glass or mirroring things ...
GLASS, MIRROR = 0.25, 0.08  # ... and the share of the things there that are
ONE_LOOK = 0.15  # share of composed things that are of one material all over
STRUCTURE = 0.6  # share of the scenes without boards of their own that get furniture and fittings
SURROUNDINGS = ("none", "none", "wall", "shelf", "bin")
WIDTH, HEIGHT = 320, 240


class Prints:
    """Textures to choose from; each draw replaces a few, so that none is seen for long."""

    def __init__(self, rng: np.random.Generator, size: int = 16) -> None:
        self._rng = rng
        self._objects = [self._object() for _ in range(size)]
        self._surfaces = [self._surface() for _ in range(size // 2)]
        self._woods = [self._wood() for _ in range(size // 4)]

    def renew(self, count: int = 3) -> None:
        for _ in range(count):
            self._objects[self._rng.integers(len(self._objects))] = self._object()
        self._surfaces[self._rng.integers(len(self._surfaces))] = self._surface()
        self._woods[self._rng.integers(len(self._woods))] = self._wood()

    def of_object(self, mapping: str, wrap_radius: float, plain: bool) -> Texture:
        if plain:
            return self._plain(mapping)
        return replace(self._pick(self._objects), mapping=mapping, wrap_radius=wrap_radius)

    def of_material(self, material: str) -> Texture:
        """What a piece of a composed thing is made of."""
        if material == "print":
            return self._pick(self._objects)
        if material == "wood":
            return self._pick(self._woods)
        return _one_color(material_color(material, self._rng), "box")

    def of_surface(self, texel: float, plain: bool) -> Texture:
        return self._plain("box") if plain else replace(self._pick(self._surfaces), texel=texel)

    def _pick(self, pool: list[Texture]) -> Texture:
        return pool[self._rng.integers(len(pool))]

    def _plain(self, mapping: str) -> Texture:
        color = hsv(self._rng.uniform(), self._rng.uniform() ** 2, self._rng.uniform(0.1, 0.95))
        return _one_color(color, mapping)

    def _object(self) -> Texture:
        # Softened to about a pixel: one ray a pixel would sparkle otherwise.
        texture = object_texture(self._rng, "box", 0.05)
        return replace(texture, image=np.clip(blur(texture.image, self._rng.uniform(1.5, 4.0)), 0, 1))

    def _wood(self) -> Texture:
        image = wood(self._rng, material_color("wood", self._rng))
        image = np.clip(blur(image, self._rng.uniform(1.0, 3.0)), 0, 1)
        return Texture(image.astype(np.float32), TEXEL, "box")

    def _surface(self) -> Texture:
        texture = surface_texture(self._rng, TEXEL)
        strength = self._rng.uniform()  # real tables are calmer than those that help feature matching
        mean = texture.image.mean(axis=(0, 1))
        image = mean + strength * (blur(texture.image, self._rng.uniform(1.5, 4.0)) - mean)
        return replace(texture, image=np.clip(image, 0, 1).astype(np.float32))


def _one_color(color: np.ndarray, mapping: str) -> Texture:
    return Texture(np.broadcast_to(color, (8, 8, 3)).astype(np.float32).copy(), 0.01, mapping, 0.1)


@dataclass(frozen=True)
class TrainingView:
    """One frame with what was known when it was taken."""

    frame: Frame  # with labels
    up: np.ndarray | None  # [3], as a user or an estimate would give it
    support: Plane | None


def random_layout(
    rng: np.random.Generator, kinds: tuple[str, ...] | None = None, shares: dict[str, float] | None = None
) -> tuple[SyntheticConfig, Plan, np.ndarray]:
    """A config, its plan and the objects' poses; tried again where the physics fails.

    kinds: of the things; None = those of training.  shares: layout → how often; None = those of training.
    """
    shares = SHARES if shares is None else shares
    while True:
        config = SyntheticConfig(
            seed=int(rng.integers(2**31)),
            num_objects=int(rng.integers(3, 13)),
            layout=str(rng.choice(list(shares), p=np.array(list(shares.values())))),
            kinds=kinds or (SIMPLE_KINDS if rng.uniform() < HOUSEHOLD else TRAINING_KINDS),
            room=bool(rng.uniform() < 0.6),
            table_size=float(rng.uniform(0.9, 1.5)),
        )
        if config.layout == "spread":
            config = replace(config, num_objects=min(config.num_objects, 6))
        plan = layouts.plan(config, rng)
        try:
            parts = [f.mesh.vertices for f in plan.fixtures if f.collides]
            poses = poses_as_planned(plan.drops) if plan.placed else settle(plan.drops, parts, plan.pen)
        except InputError:
            continue
        if (poses[:, 2, 3] > plan.support_height - 0.02).all():
            return config, plan, poses


def enclose(points: np.ndarray, rng: np.random.Generator) -> tuple[list[Fixture], tuple[float, float] | None]:
    """Boards around the objects' points [N, 3], and (azimuth, half span) in radians one sees in from.

    Only for layouts without boards of their own: the objects stay where they are.
    """
    kind = SURROUNDINGS[rng.integers(len(SURROUNDINGS))]
    if kind == "none":
        return [], None
    (x0, y0, _), (x1, y1, top) = points.min(axis=0), points.max(axis=0)
    gap, t = np.abs(rng.normal(0.0, 0.03, 4)) + 0.002, rng.uniform(0.005, 0.02)
    x0, y0, x1, y1 = x0 - gap[0], y0 - gap[1], x1 + gap[2], y1 + gap[3]
    height = top * rng.uniform(0.4, 1.2) if kind == "bin" else top + rng.uniform(0.02, 0.25)
    height = height if kind != "wall" else max(height, 0.6)
    far = 0.5 if kind == "wall" else 0.0
    boards = {"back": slab((x0 - t - far, y1, 0), (x1 + t + far, y1 + t, height))}
    if kind in ("shelf", "bin"):
        boards["left"] = slab((x0 - t, y0 - t, 0), (x0, y1, height))
        boards["right"] = slab((x1, y0 - t, 0), (x1 + t, y1, height))
    if kind == "bin":
        boards["front"] = slab((x0, y0 - t, 0), (x1, y0, height))
    elif kind == "shelf":
        boards["top"] = slab((x0 - t, y0 - t, height), (x1 + t, y1 + t, height + t))
    sight = None if kind == "bin" else (-np.pi / 2, 0.6 if kind == "shelf" else 1.1)
    return [Fixture(name, mesh) for name, mesh in boards.items()], sight


def scene_views(
    rng: np.random.Generator,
    prints: Prints,
    count: int,
    kinds: tuple[str, ...] | None = None,
    shares: dict[str, float] | None = None,
    sensors: dict[str, float] | None = None,
) -> Iterator[TrainingView]:
    """`count` views of one random scene; kinds, shares: as for `random_layout`.

    sensors: as SENSOR_SHARES, which None takes.
    """
    prints.renew()
    config, plan, poses = random_layout(rng, kinds, shares)
    clouds = [d.solid.mesh.vertices @ p[:3, :3].T + p[:3, 3] for d, p in zip(plan.drops, poses)]
    points = np.concatenate(clouds)
    fixtures, sight = list(plan.fixtures), None
    if plan.arc is None and (plan.placed or config.layout == "pile"):
        more, sight = enclose(points, rng)
        if not more and rng.uniform() < STRUCTURE:
            table = next(f for f in fixtures if f.name == "table")
            fixtures = [f for f in fixtures if f is not table]
            more, sight = structure(points, table.mesh.vertices[:, 2], config.room, rng)
        fixtures += more
    elif plan.arc is not None:
        start, span = np.radians(plan.arc)
        sight = (start + span / 2, span / 2)
    bodies = _make_bodies(plan, poses, fixtures, prints, rng)
    kind = Renderer if all(body.material == "opaque" for body in bodies) else OpticRenderer
    renderer = kind(bodies, _choose_light(rng), 1)
    support = Plane(np.array([0.0, 0.0, 1.0]), plan.support_height)
    steep = (
        (45.0, 80.0) if any(f.name == "front" for f in fixtures) or config.layout == "bin" else (8.0, 80.0)
    )
    steep = (5.0, 35.0) if any(f.name in ("top", "shelf top") for f in fixtures) else steep
    sensor = _SceneSensor.draw(rng, SENSOR_SHARES if sensors is None else sensors)
    placed = [_place_camera(points, clouds, sight, steep, rng) for _ in range(count)]
    recording = sensor.record(np.stack([pose for _, pose in placed]), rng)
    for index, (camera, pose) in enumerate(placed):
        view = renderer.render(camera, pose)
        optical = renderer.optical_depths(camera, pose) if isinstance(renderer, OpticRenderer) else {}
        rgb, depth, reported = recording(index, Seen(view.depth, view.rgb, camera, **optical))
        frame = Frame("view", 0.0, camera, reported, rgb, depth, view.labels)
        yield TrainingView(frame, *_estimate_up_and_support(support, float(np.median(view.depth)), rng))


@dataclass(frozen=True)
class _SceneSensor:
    """One camera for all views of a scene: a sensor with all it gets wrong, or depth that is nearly exact."""

    name: str

    @staticmethod
    def draw(rng: np.random.Generator, shares: dict[str, float]) -> "_SceneSensor":
        return _SceneSensor(str(rng.choice(list(shares), p=list(shares.values()))))

    def record(
        self, poses: np.ndarray, rng: np.random.Generator
    ) -> Callable[[int, Seen], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(index, what is seen) → (colour, depth, reported pose) of a view along the true poses [N, 4, 4]."""
        if self.name in DEPTH_NOISES:
            noise = DEPTH_NOISES[self.name]
            return lambda index, seen: (seen.rgb, noise(seen.depth, rng), poses[index])
        sensor = find_sensor(self.name)
        assert sensor is not None, f"'{self.name}' is exact; DEPTH_NOISES has that"
        recording = sensor.record(poses, int(rng.integers(2**31)))
        return lambda index, seen: (*recording.measure(index, seen), recording.poses[index])


def _make_bodies(plan: Plan, poses, fixtures, prints: Prints, rng: np.random.Generator) -> list[Body]:
    plain = rng.choice([0.0, 0.3, 1.0], p=[0.3, 0.5, 0.2])
    bodies: list[Body] = []
    looks: list[tuple[Texture, tuple[Texture, ...]]] = []
    optics = rng.uniform() < OPTICS
    for k, (drop, pose) in enumerate(zip(plan.drops, poses)):
        solid = drop.solid
        wrap = float(solid.dimensions[:2].mean() / 2)
        texture = prints.of_object(solid.mapping, wrap, rng.uniform() < plain)
        one_look = rng.uniform() < ONE_LOOK
        pieces = piece_textures(solid, texture, (lambda _, t=texture: t) if one_look else prints.of_material)
        if drop.twin_of is not None and rng.uniform() < 0.8:
            texture, pieces = looks[drop.twin_of]
        looks.append((texture, pieces))
        chance = rng.uniform() if optics else 1.0
        material = "glass" if chance < GLASS else "mirror" if chance < GLASS + MIRROR else "opaque"
        bodies += bodies_of(k + 1, solid, pose, texture, pieces, material)
    for fixture in fixtures:
        texture = prints.of_surface(fixture.texel, rng.uniform() < 0.35)
        bodies.append(Body(UNLABELLED, fixture.mesh, np.eye(4), texture))
    return bodies


def _choose_light(rng: np.random.Generator) -> Light:
    azimuth, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.1)
    sun = np.array([np.sin(tilt) * np.cos(azimuth), np.sin(tilt) * np.sin(azimuth), np.cos(tilt)])
    return Light(sun, rng.uniform(0.1, 0.9), rng.uniform(0.3, 0.8), 0.05, shadows=rng.uniform() < 0.75)


def _place_camera(points, clouds, sight, steep, rng: np.random.Generator) -> tuple[PinholeCamera, np.ndarray]:
    """A camera and a pose from which the heap, or a part of it, fills the image."""
    focal = WIDTH / 2 / np.tan(np.radians(rng.uniform(38.0, 72.0)) / 2)
    camera = PinholeCamera(WIDTH, HEIGHT, focal, focal, WIDTH / 2, HEIGHT / 2)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    if rng.uniform() < 0.3:  # at one object
        centre = clouds[rng.integers(len(clouds))].mean(axis=0)
    middle, span = sight or (0.0, np.pi)
    azimuth, tilt = middle + rng.uniform(-span, span), np.radians(rng.uniform(*steep))
    toward = np.array([np.cos(azimuth) * np.cos(tilt), np.sin(azimuth) * np.cos(tilt), np.sin(tilt)])
    half_angle = np.arctan(HEIGHT / focal / 2)
    distance = max(radius * rng.uniform(0.6, 1.4) / np.sin(half_angle), 0.25)
    pose = look_at(centre + distance * toward, centre + rng.normal(0, 0.1 * radius, 3))
    roll = np.radians(rng.normal(0, 5))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
    return camera, pose @ turn


def _estimate_up_and_support(
    support: Plane, scale: float, rng: np.random.Generator
) -> tuple[np.ndarray | None, Plane | None]:
    """The up direction and the support as imperfectly as they are known in use."""
    chance = rng.uniform()
    if chance < 0.12:
        return None, None
    up = support.normal + rng.normal(0, 0.03, 3)
    up /= np.linalg.norm(up)
    if chance < 0.3:
        return up, None
    normal = support.normal + rng.normal(0, 0.004, 3)
    return up, Plane(normal / np.linalg.norm(normal), support.offset + rng.normal(0, 0.0015) * scale)
