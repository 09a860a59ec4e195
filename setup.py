"""The pip route: instascene_core with its kernel, and the command `instascene`; no ROS involved.

Everything declarative is in pyproject.toml.  Here the C++ kernel is built with CMake into the
package's lib folder.  The libraries are plain C ABI loaded with ctypes, so that one wheel per
platform serves every Python 3.
"""

import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithKernel(build_py):
    """build_py, then the kernel beside the modules (in the sources for an editable install)."""

    def run(self) -> None:
        super().run()
        package = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        build = Path(self.get_finalized_command("build").build_temp).resolve() / "kernel"
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake", "-S", str(ROOT / "instascene_core" / "csrc"), "-B", str(build),
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DINSTASCENE_KERNEL_OUTPUT_DIR={package / 'instascene_core' / 'lib'}",
        ]  # fmt: skip
        for command in (configure, ["cmake", "--build", str(build), "--parallel"]):
            try:
                subprocess.run(command, check=True)
            except FileNotFoundError:
                sys.exit("The kernel needs CMake to build; install it (pip install cmake) and try again.")
            except subprocess.CalledProcessError:
                sys.exit("The kernel did not build; a C++17 compiler is needed, see the messages above.")


class PlatformWheel(bdist_wheel):
    """Tagged py3-none-<platform>."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class BinaryDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return True


setup(distclass=BinaryDistribution, cmdclass={"build_py": BuildWithKernel, "bdist_wheel": PlatformWheel})
