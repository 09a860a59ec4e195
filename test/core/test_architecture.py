"""The layers of the package (CONTRIBUTING.md): imports go only downward, nothing imports in a circle, core
never imports ROS.

`python test/core/test_architecture.py [CHECKOUT]` counts packages, files and the imports between them.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

CORE = Path(sys.argv[1] if __name__ == "__main__" and sys.argv[1:] else Path(__file__).resolve().parents[2])
CORE = CORE.resolve() / "instascene_core"
NAME = CORE.name
STEPS = {"reconstruction", "segmentation", "association", "features", "completion"}
# Within a step, which of its packages may import which: bottom to top.
INNER_LAYERS = {
    "completion": ["observing", "priors", "explanations", "meshing", "confidence"],
    "segmentation": ["fused_surface", "points_network", "public"],
}
ROS_MODULES = {
    "rclpy",
    "sensor_msgs",
    "geometry_msgs",
    "std_msgs",
    "nav_msgs",
    "visualization_msgs",
    "diagnostic_msgs",
    "tf2_ros",
    "cv_bridge",
    "instascene",
    "instascene_ros",
}


def layers_of_the_package() -> dict[str, int]:
    """Package or module → layer, read from the docstring: lines of names, then `layer N`."""
    docstring = ast.get_docstring(ast.parse((CORE / "__init__.py").read_text()))
    layers = {}
    for names, layer in re.findall(r"^ +([a-z0-9_ ]+?) +layer (\d+)", docstring, re.MULTILINE):
        layers.update({name: int(layer) for name in names.split()})
    return layers


LAYER_OF = layers_of_the_package()


def module_of(path: Path) -> str:
    """`rendering/trace.py` → instascene_core.rendering.trace; a package's __init__ is the package."""
    parts = [NAME, *path.relative_to(CORE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def core_files() -> list[Path]:
    return sorted(p for p in CORE.rglob("*.py") if "__pycache__" not in p.parts)


def imported_names(source: str, path: Path) -> set[str]:
    """Dotted names of everything that `source`, the file `path`, imports, also inside functions.

    Relative ones are resolved.  `from a.b import c` gives a.b.c.
    """
    package = [NAME, *path.relative_to(CORE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def top(module: str) -> str:
    """The package or module right under instascene_core; "" for instascene_core itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def violations(source: str, path: Path) -> list[str]:
    """Sentences about every import in `source` (the file `path`) that breaks a rule."""
    own, found = top(module_of(path)), []
    for name in sorted(imported_names(source, path)):
        if name.split(".")[0] in ROS_MODULES:
            found.append(f"{path.name} imports ROS module {name}")
        if name.split(".")[0] != NAME or not own:
            continue
        other = top(name)
        if other == own:
            found += _inner_violations(path, name)
        elif other in LAYER_OF and LAYER_OF[other] >= LAYER_OF[own]:
            how = "upward" if LAYER_OF[other] > LAYER_OF[own] else "sideways"
            found.append(f"{own} (layer {LAYER_OF[own]}) imports {other} (layer {LAYER_OF[other]}) {how}")
    return found


def _inner_violations(path: Path, name: str) -> list[str]:
    """An import within one step that goes upward between its packages."""
    order = INNER_LAYERS.get(top(name), [])
    own, parts = path.relative_to(CORE).parts, name.split(".")
    if len(own) < 3 or len(parts) < 3 or own[1] not in order or parts[2] not in order:
        return []
    if order.index(parts[2]) > order.index(own[1]):
        return [f"{own[0]}/{own[1]} imports {parts[2]} upward"]
    return []


def imports_between_files(files: Iterable[Path]) -> dict[str, set[str]]:
    """Module → modules it imports, of the package's own."""
    modules = {module_of(path): path for path in files}
    graph = {}
    for module, path in modules.items():
        found = set()
        for name in imported_names(path.read_text(), path):
            while name and name not in modules:  # a function or class: its module
                name = name.rpartition(".")[0]
            # A package's __init__ gathers the names of its files; these do not import it back for that.
            if name and name != NAME and name != module and not module.startswith(f"{name}."):
                found.add(name)
        graph[module] = found
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of one circle, or [] where there is none."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return trail[trail.index(node) :]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            if found := visit(following, [*trail, node]):
                return found
        done.add(node)
        return []

    for start in sorted(graph):
        if found := visit(start, []):
            return found
    return []


@pytest.mark.parametrize("path", core_files(), ids=lambda p: str(p.relative_to(CORE)))
def test_imports_go_downward(path):
    assert violations(path.read_text(), path) == []


def test_no_two_files_import_each_other_in_a_circle():
    assert circle(imports_between_files(core_files())) == []


def test_every_package_has_a_layer():
    packages = {top(module_of(p)) for p in core_files()} - {"", "__main__"}
    assert packages == set(LAYER_OF), "the docstring of instascene_core names other packages than there are"


def test_the_order_of_the_design():
    """The order that CONTRIBUTING.md fixes; the docstring may add layers but not turn these round."""
    order = ["transforms", "geometry", "frame", "rendering", "reconstruction", "scene", "export", "cli"]
    layers = [LAYER_OF[name] for name in order]
    assert layers == sorted(layers) and len(set(layers)) == len(layers)
    assert len({LAYER_OF[step] for step in STEPS}) == 1  # so none imports another


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("from instascene_core.scene import run", "rendering/kernel.py"),
        ("from instascene_core import scene", "rendering/kernel.py"),
        ("import instascene_core.completion.priors", "features/train.py"),
        ("from ..completion import priors", "features/train.py"),
        ("def f():\n    from instascene_core.metrics import psnr", "datasets/colmap.py"),
        ("from instascene_core.rendering import rasterize", "datasets/colmap.py"),
        ("from instascene_core.completion.meshing import fusion", "completion/priors/carving.py"),
        ("from ..priors import carving", "completion/observing/evidence.py"),
        ("import rclpy.node", "scene/scene.py"),
        ("from sensor_msgs.msg import Image", "datasets/rosbag.py"),
    ],
)
def test_the_checker_sees_violations(source, file):
    assert len(violations(source, CORE / file)) == 1


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("from instascene_core.frame import Frame", "datasets/colmap.py"),
        ("from instascene_core import __version__", "datasets/colmap.py"),
        ("from .reader import x", "datasets/colmap.py"),
        ("from instascene_core.scene import run", "cli.py"),
        ("from instascene_core.completion.observing import evidence", "completion/priors/carving.py"),
        ("import numpy, rosbags.highlevel", "datasets/rosbag.py"),
    ],
)
def test_the_checker_lets_good_imports_pass(source, file):
    assert violations(source, CORE / file) == []


def test_the_checker_sees_circles():
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})) == {"b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_importing_the_package_loads_nothing_heavy():
    """`import instascene_core` and its data types stay fast: no torch, open3d, cv2."""
    code = (
        "import sys, instascene_core.frame, instascene_core.objects, instascene_core.datasets\n"
        "import instascene_core.instances, instascene_core.config, instascene_core.metrics\n"
        "print([m for m in ('torch', 'open3d', 'cv2', 'mujoco', 'pycolmap') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CORE.parent)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def count() -> str:
    """Packages and modules right under instascene_core, files, and who imports whom among them."""
    graph = imports_between_files(core_files())
    between = {(top(a), top(b)) for a, found in graph.items() for b in found if top(a) and top(a) != top(b)}
    names = {top(module) for module in graph} - {""}
    arrows = sum(map(len, graph.values()))
    return (
        f"{len(names)} packages and modules, {len(between)} imports between them; "
        f"{len(graph)} files, {arrows} imports between them; circle of files: {circle(graph) or 'none'}\n"
    )


if __name__ == "__main__":
    sys.stdout.write(count())
