"""What the benchmarks of in-situ generation measure: images, time by stage, and peak memory of an object."""

import time
from pathlib import Path

import numpy as np

from instascene_core.errors import InputError

WINDOW = 7  # pixels, side of the windows in which images are compared for SSIM
LEAST = 100  # pixels of a kind that are compared; with fewer, there is no figure
FIGURES = ("psnr_unseen", "ssim_unseen", "psnr_known", "ssim_known")


class ImageScores:
    """PSNR (dB) and SSIM of made images against true ones, over the pixels that no camera saw and over those
    that one did, gathered image by image."""

    def __init__(self) -> None:
        self.totals = {"unseen": np.zeros(3), "known": np.zeros(3)}  # pixels, squared error, similarity

    def add(self, true: np.ndarray, made: np.ndarray, both: np.ndarray, seen: np.ndarray) -> None:
        """true, made: [H, W, 3] in [0, 1]; both: [H, W] bool, pixels that are compared; seen: [H, W] bool,
        pixels whose place a camera saw."""
        if not both.any():
            return
        rows, columns = (np.flatnonzero(both.any(axis=axis)) for axis in (1, 0))
        cut = np.s_[
            max(0, rows[0] - WINDOW) : rows[-1] + WINDOW + 1,
            max(0, columns[0] - WINDOW) : columns[-1] + WINDOW + 1,
        ]
        true, made, both, seen = true[cut], made[cut], both[cut], seen[cut]
        error, similar = ((true - made) ** 2).mean(axis=-1), similarity(true, made, both)
        for name, mask in (("unseen", both & ~seen), ("known", both & seen)):
            self.totals[name] += [mask.sum(), error[mask].sum(), similar[mask].sum()]

    def count(self, name: str) -> int:
        """Pixels that are compared, "unseen" or "known"."""
        return int(self.totals[name][0])

    def figures(self) -> dict[str, float]:
        """Those of FIGURES for which there are enough pixels."""
        result = {}
        for name, (count, error, similar) in self.totals.items():
            if count > LEAST:
                result[f"psnr_{name}"] = float(-10 * np.log10(max(error / count, 1e-9)))
                result[f"ssim_{name}"] = float(similar / count)
        return result


def similarity(true: np.ndarray, made: np.ndarray, both: np.ndarray) -> np.ndarray:
    """[H, W] structural similarity of images [H, W, 3] in [0, 1], mean of the channels; beside the pixels of
    `both` [H, W] the two are alike.  An image smaller than a window is continued by what is alike."""
    from skimage.metrics import structural_similarity

    missing = [(0, max(0, WINDOW - size)) for size in both.shape]
    blank, mask = np.float32(0.5), np.pad(both, missing)[..., None]
    a, b = (np.where(mask, np.pad(image, [*missing, (0, 0)]), blank) for image in (true, made))
    full = structural_similarity(a, b, channel_axis=-1, data_range=1.0, full=True, win_size=WINDOW)[1]
    return full.mean(axis=-1)[: both.shape[0], : both.shape[1]]


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._began = "", time.perf_counter()

    def enter(self, stage: str) -> None:
        """From now on, time is that of `stage`; "" = of none."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._began
        self._stage, self._began = stage, now

    def tell(self, stage: str, share: float, message: str = "") -> None:
        """A progress callback: its messages, without numbers and names, are the stages; all done is none."""
        name = message.partition(",")[0].partition(" with ")[0].partition(" instance")[0]
        self.enter("" if share >= 1 else name or stage)


STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Begin to look for the peak of this process's memory anew.  Raises InputError where Linux' /proc does
    not offer it."""
    try:
        CLEAR.write_text("5")
    except OSError as error:
        raise InputError(f"The peak of memory cannot be measured by object here ({error}).") from error


def peak_mb() -> float:
    """Most resident memory of this process since `forget_peak`, MB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
