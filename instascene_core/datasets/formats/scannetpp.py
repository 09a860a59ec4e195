"""ScanNet++: <scene>/dslr or <scene>/iphone, poses in nerfstudio/transforms.json (OpenGL's axes, metres).

Image names in it are relative to resized_images (DSLR, fisheye) or rgb (iPhone, extracted from the video),
masks of what was made anonymous to resized_anon_masks or rgb_masks; iPhone depth is depth/<image>.png in
millimetres at a lower resolution.  Frames marked is_bad are dropped and counted.
Source: https://scannetpp.mlsg.cit.tum.de/scannetpp/documentation, https://github.com/scannetpp/scannetpp
"""

from pathlib import Path

from instascene_core.datasets.nerfstudio import NerfstudioReader
from instascene_core.datasets.remarks import Remarks

TRANSFORMS = "nerfstudio/transforms.json"
# Device → (folders of its images, of its masks), the first that is there
FOLDERS = {
    "iphone": (("rgb",), ("rgb_masks",)),
    "dslr": (("resized_images", "original_images"), ("resized_anon_masks", "original_anon_masks")),
}


class ScanNetPlusPlusReader(NerfstudioReader):
    """Frames of one device of a scene."""

    kind = "ScanNet++"

    def __init__(
        self,
        folder: Path,
        use_depth: bool = True,
        use_masks: bool = True,
        masks: str | None = None,
        remarks: Remarks | None = None,
    ) -> None:
        """folder: what `find` gave."""
        super().__init__(folder / TRANSFORMS, use_depth, use_masks, masks, remarks, folder)
        if self._bad:
            self.dropped = {**self.dropped, "frames marked as bad": self._bad}
            self._remarks.say(f"{self._bad} frames marked as bad, left out")

    @classmethod
    def find(cls, path: Path) -> Path | None:
        """The folder of a device: `path`, or in the folder of a scene the iPhone's, which has depth, where
        its images are extracted, else the DSLR's."""
        for folder in (path, *(path / name for name in FOLDERS)):
            if (folder / TRANSFORMS).is_file() and _there(folder, 0) is not None:
                return folder
        return None

    def _entries(self, entries: list) -> list:
        images, masks = _there(self._folder, 0), _there(self._folder, 1)
        good = [e for e in entries if not (isinstance(e, dict) and e.get("is_bad"))]
        self._bad = len(entries) - len(good)
        return [self._with_folders(e, images, masks) if isinstance(e, dict) else e for e in good]

    def _with_folders(self, entry: dict, images: str | None, masks: str | None) -> dict:
        """The entry with its paths below the device's folder."""
        changed = dict(entry)
        name = entry.get("file_path")
        if isinstance(name, str):
            changed["file_path"] = f"{images}/{Path(name).name}"
            depth = f"depth/{Path(name).stem}.png"
            if (self._folder / depth).is_file():
                changed["depth_file_path"] = depth
        mask = changed.pop("mask_path", None)
        if isinstance(mask, str) and masks is not None:
            changed["mask_path"] = f"{masks}/{Path(mask).name}"
        return changed


def _there(folder: Path, what: int) -> str | None:
    """The name of the folder of images (0) or masks (1) that a device's folder holds."""
    names = [name for device in FOLDERS.values() for name in device[what]]
    return next((name for name in names if (folder / name).is_dir()), None)
