"""The pictures of the report: files beside it, drawn once, and embedded in the page."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FOLDER = "pictures"
QUALITY = 82  # of WebP, 0 … 100
TYPES = {".webp": "image/webp", ".png": "image/png"}


def encoded(image: np.ndarray) -> bytes:
    """[H, W, 3 or 4] uint8 as WebP."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=QUALITY, alpha_quality=90, method=2)
    return file.getvalue()


class Pictures:
    """Those of a saved scene by name: `drawn` just now, else the file in its folder `pictures`."""

    def __init__(self, folder: Path, drawn: Mapping[str, bytes] | None = None) -> None:
        self._folder, self._drawn = folder / FOLDER, drawn or {}

    def read(self, name: str) -> bytes | None:
        """None where there is none."""
        path = self._folder / name
        return self._drawn.get(name) or (path.read_bytes() if path.is_file() else None)

    def url(self, name: str) -> str:
        """`data:…` of a picture; "" where there is none."""
        content = self.read(name)
        if not content:
            return ""
        return f"data:{TYPES[Path(name).suffix]};base64,{base64.b64encode(content).decode()}"

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of a picture; zeros where there is none."""
        from PIL import Image

        content = self.read(name)
        if not content:
            return 0, 0
        with Image.open(io.BytesIO(content)) as image:
            return image.size
