"""Finding, choosing and calling the compiled kernel (`csrc/kernel.h`) through ctypes."""

import ctypes
import logging
import os
import sys
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

from instascene_core.errors import InputError, MissingDependencyError

logger = logging.getLogger(__name__)

# Beside the modules, or elsewhere: `colcon test` runs the sources with the kernel of the build folder.
LIBRARY_FOLDER = Path(os.environ.get("INSTASCENE_KERNEL_DIR") or Path(__file__).resolve().parents[1] / "lib")
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")  # best first
ISA_VARIABLE = "INSTASCENE_KERNEL_ISA"  # overrides the choice, for tests and comparisons


class Scene(ctypes.Structure):
    """`isk_scene`."""

    _fields_ = (
        [(name, c_int32) for name in ("num_gaussians", "channels", "width", "height", "num_threads")]
        + [(name, c_double) for name in ("fx", "fy", "cx", "cy")]
        + [("near_plane", c_float)]
        + [("world_from_camera", c_float * 12)]
        + [(name, c_void_p) for name in ("means", "quaternions", "log_scales", "logit_opacities")]
        + [(name, c_void_p) for name in ("colors", "background")]
    )


class Images(ctypes.Structure):
    """`isk_images`."""

    _fields_ = [
        (name, c_void_p) for name in ("color", "alpha", "depth", "median_depth", "normal", "distortion")
    ]


class Gradients(ctypes.Structure):
    """`isk_gradients`."""

    _fields_ = [
        (name, c_void_p)
        for name in (
            "means", "quaternions", "log_scales", "logit_opacities", "colors", "screen", "camera",
            "background",
        )
    ]  # fmt: skip


class Graph(ctypes.Structure):
    """`isk_graph`."""

    _fields_ = [("nodes", c_int32), ("begin", c_void_p), ("neighbours", c_void_p)]


_SIGNATURES = {
    "isk_instruction_set": (c_char_p, []),
    "isk_best_instruction_set": (c_char_p, []),
    "isk_lanes": (c_int, []),
    "isk_workspace_new": (c_void_p, []),
    "isk_workspace_free": (None, [c_void_p]),
    "isk_workspace_bytes": (c_int64, [c_void_p]),
    "isk_workspace_pairs": (c_int64, [c_void_p]),
    "isk_forward": (c_int, [c_void_p, POINTER(Scene), POINTER(Images)]),
    "isk_backward": (c_int, [c_void_p, POINTER(Scene), POINTER(Images), POINTER(Gradients)]),
    "isk_visible": (None, [c_void_p, POINTER(Scene), c_void_p]),
    "isk_trace_count": (c_int, [c_void_p, POINTER(Scene), c_float, c_float, c_void_p]),
    "isk_trace_write": (
        c_int,
        [c_void_p, POINTER(Scene), c_float, c_float, c_void_p, c_void_p, c_void_p, c_void_p],
    ),
    "isk_photometric": (
        c_int,
        [c_void_p] * 3 + [c_int32] * 3 + [c_float, c_int32, c_void_p, c_void_p],
    ),
    "isk_normal_consistency": (
        c_int,
        [c_int32, c_int32] + [c_void_p] * 5 + [c_float, c_int32] + [c_void_p] * 4,
    ),
    "isk_robust_depth": (
        c_int,
        [c_int64, c_void_p, c_void_p, c_void_p, c_float, c_float, c_int32, c_void_p, c_void_p],
    ),
    "isk_adam": (c_int, [c_int64, c_int32] + [c_void_p] * 5 + [c_float] * 6 + [c_int32]),
    "isk_patch_match": (c_int, [c_void_p] * 3),
    "isk_fuse_depth": (c_int, [c_void_p] * 2),
    "isk_widest_levels": (c_int, [POINTER(Graph), c_void_p, c_int32, c_float, c_void_p]),
    "isk_enclose": (c_int, [POINTER(Graph), c_void_p, c_int32, c_void_p]),
    "isk_sh_forward": (c_int, [c_int64, c_int32, c_int32, c_int32] + [c_void_p] * 4),
    "isk_sh_backward": (c_int, [c_int64, c_int32, c_int32, c_int32] + [c_void_p] * 8),
}


@cache
def load_instruction_set(name: str) -> ctypes.CDLL:
    """The kernel built for one instruction set; MissingDependencyError where it is not there."""
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    path = LIBRARY_FOLDER / f"libinstascene_kernel_{name}{suffix}"
    if not path.exists():
        raise MissingDependencyError(
            f"The compiled kernel {path.name} is missing; run `make setup` or `pip install .`."
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingDependencyError(
            f"The compiled kernel {path.name} does not load ({error}); run `make setup` or `pip install .`."
        ) from error
    for function, (result, arguments) in _SIGNATURES.items():
        entry = getattr(library, function)
        entry.restype, entry.argtypes = result, arguments
    return library


def best_instruction_set() -> str:
    """The best of INSTRUCTION_SETS that this processor runs and that has been built."""
    best = load_instruction_set("baseline").isk_best_instruction_set().decode()
    for name in INSTRUCTION_SETS[INSTRUCTION_SETS.index(best) :]:
        try:
            load_instruction_set(name)
        except MissingDependencyError:
            continue
        return name
    return "baseline"


def runnable_instruction_sets() -> tuple[str, ...]:
    """Those of INSTRUCTION_SETS that can be loaded and run here, best first."""
    return INSTRUCTION_SETS[INSTRUCTION_SETS.index(best_instruction_set()) :]


@cache
def _chosen(override: str | None) -> ctypes.CDLL:
    if override and override not in INSTRUCTION_SETS:
        raise InputError(f"{ISA_VARIABLE}={override} is not one of {', '.join(INSTRUCTION_SETS)}.")
    name = override or best_instruction_set()
    if override and INSTRUCTION_SETS.index(override) < INSTRUCTION_SETS.index(best_instruction_set()):
        raise InputError(f"{ISA_VARIABLE}={override} asks for instructions this processor does not have.")
    logger.debug("kernel instruction set: %s", name)
    return load_instruction_set(name)


def kernel() -> ctypes.CDLL:
    """The kernel for this processor, or for the instruction set named by INSTASCENE_KERNEL_ISA."""
    return _chosen(os.environ.get(ISA_VARIABLE) or None)


def num_threads() -> int:
    """Threads the kernel uses: torch's, hence OMP_NUM_THREADS or `torch.set_num_threads`."""
    return max(1, torch.get_num_threads())


def pointer(tensor: torch.Tensor | None) -> int | None:
    """Address of a contiguous CPU tensor, NULL for None."""
    return None if tensor is None else tensor.data_ptr()


def check(status: int) -> None:
    """Raise where a kernel function reports failure."""
    if status != 0:
        raise MemoryError("the Gaussian kernel ran out of memory")


class Workspace:
    """Buffers of one view inside the kernel; borrowed from a pool so that pages are reused.

    A workspace belongs to one view between its forward and its backward pass.
    """

    _pool: dict[str, list[int]] = {}  # noqa: RUF012  instruction set → free workspaces
    _POOLED = 4

    def __init__(self) -> None:
        self.library = kernel()
        self._key = self.library.isk_instruction_set().decode()
        free = self._pool.setdefault(self._key, [])
        try:
            self.handle = free.pop()
        except IndexError:
            self.handle = self.library.isk_workspace_new()
        if not self.handle:
            raise MemoryError("the Gaussian kernel ran out of memory")

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        return self.library.isk_workspace_bytes(self.handle)

    @property
    def pairs(self) -> int:
        """Gaussian × tile pairs of the last view."""
        return self.library.isk_workspace_pairs(self.handle)

    def __del__(self) -> None:
        handle, self.handle = getattr(self, "handle", None), None
        if not handle:
            return
        free = self._pool[self._key]
        if len(free) < self._POOLED:
            free.append(handle)
        else:
            self.library.isk_workspace_free(handle)
