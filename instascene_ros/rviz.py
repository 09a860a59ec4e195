"""RViz' view of a scene, for the frame and the topics that the nodes were started with."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml


def write_view(template: Path, map_frame: str, topics: Mapping[str, str]) -> Path:
    """A copy of an RViz configuration in a temporary file, with another fixed frame and other topics.

    topics: name in the template → name to show; others stay.
    """
    view = yaml.safe_load(template.read_text())
    view["Visualization Manager"]["Global Options"]["Fixed Frame"] = map_frame
    for topic in _topics(view):
        topic["Value"] = topics.get(topic["Value"], topic["Value"])
    with tempfile.NamedTemporaryFile("w", prefix="instascene_", suffix=".rviz", delete=False) as file:
        yaml.safe_dump(view, file, sort_keys=False)
    return Path(file.name)


def _topics(part: Any) -> Iterator[dict]:
    """All `Topic` entries of a configuration."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "Topic" and isinstance(value, dict):
                yield value
            else:
                yield from _topics(value)
    elif isinstance(part, list):
        for value in part:
            yield from _topics(value)
