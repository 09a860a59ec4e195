"""open3d is imported without its plots and its machine learning, which work once they are asked for."""

import subprocess
import sys

PROGRAM = """
import sys
from instascene_core.geometry.open3d_loader import open3d

heavy = {"dash", "pandas", "plotly", "sklearn"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert open3d.core.Tensor([1.0]).numpy() == 1
finders = [type(finder).__name__ for finder in sys.meta_path]
assert "_LateFinder" not in finders, finders

import torch  # asks for the file of every module, as everything does that asks where a function is from

assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert not hasattr(open3d.ml, "__nothing__") and not heavy & set(sys.modules)

import open3d.visualization.rendering
from open3d.visualization import Visualizer

assert callable(open3d.visualization.draw_geometries) and Visualizer.__module__.startswith("open3d.")
"""


def test_what_is_put_off_is_there_when_asked_for():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
