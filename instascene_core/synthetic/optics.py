"""Ray casting of scenes with glass and mirrors: one refraction-free look through, one reflection."""

import numpy as np

from instascene_core.camera import PinholeCamera
from instascene_core.synthetic.render import SHADOW_OFFSET, SKY, Body, Light, Renderer
from instascene_core.synthetic.sensors.materials import GLASS, MATERIALS, MIRROR, OPAQUE

CLEARNESS = 0.88  # share of light that clear walls let through when seen straight on
GLASS_TINT = 0.12  # how far the body's own colour tints the glass
HIGHLIGHT = 120.0  # exponent of the sun's reflection: a spot some 10° wide
REFLECTANCE = 0.88  # of mirrors: polished steel, chrome


class OpticRenderer(Renderer):
    """A renderer whose bodies may be of glass or mirroring.

    Glass shows what is straight behind it, tinted; toward the rim less of it and more of the sky.
    Reflections show other mirrors in their own colour, and no glass.  Glass casts no shadow.
    """

    def __init__(self, bodies: list[Body], light: Light, supersampling: int) -> None:
        super().__init__(bodies, light, supersampling)
        self._solid = Renderer([b for b in bodies if b.material != "glass"], light, supersampling)
        self._occluders = self._solid._scene
        # One row more: what a ray that hits nothing looks up.
        self._materials = np.array([MATERIALS[b.material] for b in bodies] + [OPAQUE], dtype=np.uint8)

    def optical_depths(self, camera: PinholeCamera, world_from_camera: np.ndarray) -> dict[str, np.ndarray]:
        """What `sensors.Seen` names `materials`, `through` and `mirrored`, each [H, W].

        A reflection seems as deep as its light's whole way; 0 where it shows the sky, and off mirrors.
        """
        shape = (camera.height, camera.width)
        rays = self._rays(world_from_camera, camera.rays.reshape(-1, 3))
        t, body, normal = self._cast(rays)
        materials = self._materials[body]
        through = self._solid._cast(rays)[0]
        mirrored = np.zeros_like(t)
        at = np.flatnonzero(materials == MIRROR)
        if len(at):
            further = self._solid._cast(_reflected(rays[at], t[at], normal[at]))[0]
            mirrored[at] = np.where(further > 0, t[at] + further, 0)
        images = {"materials": materials, "through": through, "mirrored": mirrored}
        return {name: image.reshape(shape) for name, image in images.items()}

    def _shade(self, rays: np.ndarray, sample: int, samples: int) -> np.ndarray:
        t, body, normal = self._cast(rays)
        color = self._surface_color(rays, t, body, normal, sample, samples)
        materials = self._materials[body]
        at = np.flatnonzero(materials == MIRROR)
        if len(at):
            onward = _reflected(rays[at], t[at], normal[at])
            color[at] = REFLECTANCE * self._solid._shade(onward, sample, samples)
        at = np.flatnonzero(materials == GLASS)
        if len(at):
            behind = self._solid._shade(rays[at], sample, samples)
            color[at] = self._through_glass(rays[at], normal[at], color[at], behind)
        return color

    def _through_glass(
        self, rays: np.ndarray, normal: np.ndarray, own: np.ndarray, behind: np.ndarray
    ) -> np.ndarray:
        """[N, 3] colours of glass of colour `own` [N, 3] in front of `behind` [N, 3]."""
        along = rays[:, 3:] / np.linalg.norm(rays[:, 3:], axis=1, keepdims=True)
        facing = np.sign(-np.einsum("ni,ni->n", normal, along))[:, None] * normal
        cosine = np.clip(-np.einsum("ni,ni->n", facing, along), 0.05, 1)[:, None]
        # Walls are longer to look through at the rim; Schlick's reflection of glass (4 % straight on).
        tint = CLEARNESS * (1 - GLASS_TINT * (1 - own))
        once = 0.04 + 0.96 * (1 - cosine) ** 5
        reflected = 1 - (1 - once) ** 3  # walls have several faces
        bounce = along - 2 * np.einsum("ni,ni->n", along, facing)[:, None] * facing
        sun = np.maximum(bounce @ self._light.direction.astype(np.float32), 0)[:, None] ** HIGHLIGHT
        color = (1 - reflected) * behind * tint ** (1 / np.maximum(cosine, 0.25)) + reflected * SKY
        return np.clip(color + 0.8 * sun, 0, 1).astype(np.float32)


def _reflected(rays: np.ndarray, t: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """[N, 6] float32 rays onward from mirrors; directions keep their length, so t goes on in its unit."""
    toward = np.einsum("ni,ni->n", rays[:, 3:], normal)[:, None]
    onward = np.empty_like(rays)
    onward[:, :3] = rays[:, :3] + t[:, None] * rays[:, 3:] - SHADOW_OFFSET * np.sign(toward) * normal
    onward[:, 3:] = rays[:, 3:] - 2 * toward * normal
    return onward
