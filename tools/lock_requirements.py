"""Write requirements/*.txt: every package of a working environment, with its version.

Run it with the Python of that environment after changing a `*.in` file:
`.venv/bin/python tools/lock_requirements.py`.  Each lock holds what its `.in` file asks for and
everything those packages require in turn, at the versions installed here.

uv and pip-compile resolve anew instead of recording what was tested, and lock torch's CUDA packages
(gigabytes) where this environment, and most robots, have a torch without CUDA.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
GROUPS = ("core", "dev", "ros-wheels")
NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([^\]]+)\])?")
EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def parse(requirement: str) -> tuple[str, frozenset[str]]:
    """Canonical name and extras of one requirement line."""
    found = NAME.match(requirement.strip())
    if found is None:
        raise ValueError(f"'{requirement}' is not a requirement.")
    name, extras = found.groups()
    return re.sub(r"[-_.]+", "-", name).lower(), frozenset((extras or "").replace(" ", "").split(","))


def installed_requirements(name: str, extras: frozenset[str]) -> list[str]:
    """What the installed package `name` requires here (markers judged by what is installed)."""
    wanted = []
    for line in metadata.requires(name) or []:
        requirement, _, marker = line.partition(";")
        extra = EXTRA.search(marker)
        if extra and extra.group(1) not in extras:
            continue
        try:
            metadata.version(parse(requirement)[0])
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        wanted.append(requirement)
    return wanted


def holds_here(line: str) -> bool:
    """Whether a line of a .in file is for this platform, that is, without a marker or installed."""
    requirement, _, marker = line.partition(";")
    try:
        metadata.version(parse(requirement)[0])
    except metadata.PackageNotFoundError:
        return not marker
    return True


def closure(lines: list[str]) -> dict[str, str]:
    """name → version of the packages in `lines` and all they need."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [parse(line) for line in lines]
    while queue:
        item = queue.pop()
        if item in seen:
            continue
        seen.add(item)
        name, extras = item
        versions[name] = metadata.version(name).split("+")[0]  # "+cpu" is this machine's choice
        queue += [parse(line) for line in installed_requirements(name, extras)]
    return versions


def main() -> int:
    done: set[str] = set()
    for group in GROUPS:
        text = (REQUIREMENTS / f"{group}.in").read_text()
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        lines = [line.partition(";")[0] for line in lines if holds_here(line)]
        versions = {k: v for k, v in closure(lines).items() if k not in done}
        done |= set(versions)
        header = f"# Locked from {group}.in by tools/lock_requirements.py; do not edit.\n"
        body = "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
        (REQUIREMENTS / f"{group}.txt").write_text(header + body)
        sys.stdout.write(f"requirements/{group}.txt: {len(versions)} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
