"""A folder as `save_scene` leaves it, as far as the report reads it, written by hand in no time."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from instascene_core.viewer.report import PICTURES
from instascene_core.viewer.report.images import encoded

EVIL = "<script>alert(1)</script><img src='https://example.org/x.png'>"
VOID = {"meta", "link", "img", "input", "br", "hr"}


def object_facts(number: int, **changes) -> dict:
    """object.json of an object."""
    return {
        "instance_id": number,
        "position_m": [0.1, 0.2, 0.7],
        "orientation_wxyz": [1.0, 0.0, 0.0, 0.0],
        "dimensions_m": [0.123, 0.081, 0.2044],
        "watertight": True,
        "volume_m3": 4.02e-4,
        "observed_fraction": 0.65,
        "uncertainty_m": 5e-4,
        "confidence": 0.9,
        "prior": "learned (Apache-2.0)",
        "duration_s": 12.0,
        "convex_parts": 1,
        "notes": ["The bottom was not seen."],
        "mass_kg": 0.16,
        "mass_range_kg": [0.026, 0.6],
        "material": "closed body",
        "friction": 0.8,
        **changes,
    }


def write_reported_scene(folder: Path, objects: list[dict], pictures: bool = True, **description) -> Path:
    """The descriptions, an empty mesh.glb of each object, and small grey pictures."""
    for facts in objects:
        place = folder / "objects" / str(facts["instance_id"])
        place.mkdir(parents=True)
        (place / "object.json").write_text(json.dumps(facts))
        (place / "mesh.glb").touch()
    instances = [{"id": facts["instance_id"], "kind": "object"} for facts in objects]
    told = {"source": "/data/kitchen", "frames": [{}] * 30, "instances": {"list": instances}, **description}
    folder.mkdir(exist_ok=True)
    (folder / "scene.json").write_text(json.dumps(told))
    if pictures:
        (folder / PICTURES).mkdir()
        sheet = np.full((32, 128, 4), 120, dtype=np.uint8)
        names = [f"object_{o['instance_id']}_{style}" for o in objects for style in ("color", "observed")]
        for name in ("scene_color", "view_1_input", "view_1_masks", *names):
            (folder / PICTURES / f"{name}.webp").write_bytes(encoded(sheet))
    return folder


class Page(HTMLParser):
    """What a page holds; ValueError where its tags do not close in order."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(content.decode())
        self.close()
        if self.open:
            raise ValueError(f"left open: {self.open}")

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            raise ValueError(f"</{tag}> closes another tag")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a person reads, with plain spaces."""
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def all(self, tag: str) -> list[dict]:
        """The attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]
