"""The kernel's sources on processors that are not this one."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from rendering_scenes import IMAGES, deviation, gradients, grazing_scene, huge_scene, random_scene, render

import instascene_core
from instascene_core.rendering import library

SOURCES = sorted((Path(instascene_core.__file__).parent / "csrc").glob("*.cpp"))
OPTIONS = ("-std=gnu++17", "-Wall", "-Wextra", "-Wno-psabi", "-fopenmp", "-ffp-contract=off")
FOR_ARM = shutil.which("aarch64-linux-gnu-g++")


@pytest.mark.skipif(FOR_ARM is None, reason="no compiler for aarch64 (g++-aarch64-linux-gnu) here")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_compiles_for_aarch64(source):
    command = [FOR_ARM, *OPTIONS, "-Werror", "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_any_intrinsics_it_is_still_the_twin(tmp_path, monkeypatch):
    """The plain vectors that NEON and unknown processors get, compiled and run here."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    target = tmp_path / "libinstascene_kernel_baseline.so"
    hidden = ("-U__SSE2__", "-U__AVX2__", "-U__AVX512F__")  # as if the compiler had none
    command = [
        compiler,
        *OPTIONS,
        *hidden,
        "-O2",
        "-fPIC",
        "-shared",
        "-fno-math-errno",
        "-fno-trapping-math",
    ]
    subprocess.run([*command, *map(str, SOURCES), "-o", str(target)], check=True)
    monkeypatch.setattr(library, "LIBRARY_FOLDER", tmp_path)
    library.load_instruction_set.cache_clear()
    library._chosen.cache_clear()
    monkeypatch.setattr(library.Workspace, "_pool", {})
    try:
        assert library.kernel().isk_lanes() == 4 and library.runnable_instruction_sets() == ("baseline",)
        for scene in (random_scene(), grazing_scene(), huge_scene(), random_scene(100, channels=33)):
            kernel, twin = render(scene, twin=False), render(scene, twin=True)
            upstream = {}
            for name in IMAGES:
                mask = twin.decided if twin.images[name].ndim == 2 else twin.decided[..., None]
                upstream[name] = torch.sin(100 * twin.images[name].detach()) * mask
                assert deviation(kernel.images[name] * mask, twin.images[name] * mask) < 1e-4
            truth = gradients(twin, upstream)
            assert all(deviation(g, truth[name]) < 1e-4 for name, g in gradients(kernel, upstream).items())
    finally:
        library.load_instruction_set.cache_clear()
        library._chosen.cache_clear()
