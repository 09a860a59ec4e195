"""A small transforms.json folder whose pixels can be checked by hand."""

import json

import numpy as np
from PIL import Image

W, H = 8, 6
LOOKING_DOWN_X = [[0.0, 0.0, -1.0, 5.0], [-1.0, 0.0, 0.0, 6.0], [0.0, 1.0, 0.0, 7.0], [0, 0, 0, 1]]


def write_scene(folder, frames=2, **meta):
    """A transforms.json folder whose pixels can be checked by hand; `meta` overrides global keys."""
    for name in ("rgb", "depth", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    entries = []
    for i in range(frames):
        Image.fromarray(np.full((H, W, 3), 10 * i + 5, np.uint8)).save(folder / f"rgb/{i}.png")
        Image.fromarray(np.full((H, W), 1500 + i, np.uint16)).save(folder / f"depth/{i}.png")
        labels = np.zeros((H, W), np.uint16)
        labels[:, W // 2 :] = 300
        Image.fromarray(labels).save(folder / f"masks/{i}.png")
        matrix = np.array(LOOKING_DOWN_X)
        matrix[2, 3] += i
        entries.append(
            {
                "file_path": f"rgb/{i}.png",
                "depth_file_path": f"depth/{i}.png",
                "label_file_path": f"masks/{i}.png",
                "transform_matrix": matrix.tolist(),
            }
        )
    content = {"fl_x": 10.0, "fl_y": 11.0, "cx": 4.5, "cy": 2.5, "w": W, "h": H, "frames": entries, **meta}
    content = {k: v for k, v in content.items() if v is not None}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def edit(folder, change):
    """Apply `change(meta)` to a transforms.json."""
    file = folder / "transforms.json"
    meta = json.loads(file.read_text())
    change(meta)
    file.write_text(json.dumps(meta))


def halve(file):
    """As a copy that was cut off leaves it."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
