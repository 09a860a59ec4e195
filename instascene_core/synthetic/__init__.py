"""Procedural scenes with exact ground truth: demo, test bed and training data.

`generate_scene(SyntheticConfig(seed=1))` drops household shapes onto a table with physics and
places cameras around them; `write_dataset(scene, folder)` renders them into a dataset folder.
"""

from instascene_core.config import SyntheticConfig
from instascene_core.synthetic.scene import SceneObject, SyntheticScene, generate_scene
from instascene_core.synthetic.writer import require_dataset_writable, write_dataset

__all__ = [
    "SceneObject",
    "SyntheticConfig",
    "SyntheticScene",
    "generate_scene",
    "require_dataset_writable",
    "write_dataset",
]
