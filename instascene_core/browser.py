"""A saved scene in the browser, with viser where it is installed."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from instascene_core.colors import instance_color
from instascene_core.export.object_loading import load_objects
from instascene_core.frame import UNLABELLED
from instascene_core.gaussians_ply import read_gaussians
from instascene_core.saved_facts import DecomposedFacts, read_scene_facts

THICKNESS = 1e-2  # of a disk, of its smaller deviation: viewers of 3D Gaussians need one
SHADE = 60  # grey of what belongs to no instance


def viser_is_installed() -> bool:
    return importlib.util.find_spec("viser") is not None


def serve(folder: Path, port: int, say: Callable[[str], None], wait: bool = True) -> object:
    """Show the scene until Ctrl-C; the viser server.

    Gaussians as splats, instances as coloured points, completed objects as meshes; each can be switched
    off in the page.  Raises InputError where there is no saved scene.
    """
    import viser  # pyright: ignore[reportMissingImports] (optional: the caller says what to install)

    folder = Path(folder)
    file = read_gaussians(folder / "scene.ply")
    server = viser.ViserServer(port=port)
    server.scene.set_up_direction("+z")
    model = file.gaussians
    means, colors = model.means.numpy(), np.clip(model.base_colors.numpy(), 0, 1)
    server.scene.add_gaussian_splats(
        "/gaussians", means, covariances(model), colors, model.opacities.numpy()[:, None]
    )
    if file.instance_ids is not None:
        server.scene.add_point_cloud(
            "/instances", means, instance_shades(file.instance_ids), point_size=0.002, visible=False
        )
    if any(folder.glob("objects/*/object.json")):
        for number, thing in load_objects(folder).items():
            server.scene.add_mesh_simple(
                f"/objects/{number}",
                thing.mesh.vertices.astype(np.float32),
                thing.mesh.triangles,
                color=tuple(int(c) for c in instance_color(number)),
            )
    server.gui.add_markdown(_summary(folder))
    say(f"The scene is shown at http://localhost:{port} (Ctrl-C ends).")
    while wait:
        time.sleep(1.0)
    return server


def covariances(model) -> np.ndarray:
    """[N, 3, 3] float32 square metres of flat, slightly thickened disks."""
    scales, rotations = model.scales.numpy(), model.rotations.numpy()
    deviations = np.concatenate([scales, THICKNESS * scales.min(axis=1, keepdims=True)], axis=1)
    spread = rotations * deviations[:, None, :]
    return (spread @ spread.transpose(0, 2, 1)).astype(np.float32)


def instance_shades(ids: np.ndarray) -> np.ndarray:
    """[N, 3] uint8: each instance in its colour."""
    names, index = np.unique(ids, return_inverse=True)
    shades = [np.full(3, SHADE) if n == UNLABELLED else instance_color(int(n)) for n in names]
    return np.array(shades, dtype=np.uint8)[index]


def _summary(folder: Path) -> str:
    """The instances of scene.json as Markdown."""
    entries = read_scene_facts(folder, DecomposedFacts)["instances"]["list"]
    lines = [f"- {e['id']}: {e['kind']}, agreement of the views {e['confidence']:.2f}" for e in entries]
    return "\n".join(["**Instances**", *(lines or ["none"])])
