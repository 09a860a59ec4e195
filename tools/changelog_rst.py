"""Writes CHANGELOG.rst, which ROS' release tools read:  tools/run python tools/changelog_rst.py

It is CHANGELOG.md in catkin's form (REP 132): a section a version, "Forthcoming" for what is not
released, nested bullets for Added, Changed and Fixed.  `--check` writes nothing and fails where the
file differs.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TARGET = ROOT / "CHANGELOG.md", ROOT / "CHANGELOG.rst"
COMMAND = "tools/run python tools/changelog_rst.py"
TITLE = "Changelog for package instascene"
VERSION = re.compile(r"## \[(?P<name>[^\]]+)\](?:\s*[-–]\s*(?P<date>\d{4}-\d{2}-\d{2}))?\s*$")
CODE = re.compile(r"(`[^`]+`)")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def restructured(text: str) -> str:
    """Inline Markdown as reStructuredText: code, links, and what would mean something there escaped."""
    parts = []
    for part in CODE.split(text):
        if CODE.fullmatch(part):
            parts.append(f"`{part}`")
            continue
        escaped = re.sub(r"([*_|\\])", r"\\\1", part)
        parts.append(LINK.sub(lambda link: f"`{link[1]} <{link[2]}>`__", escaped))
    # Inline markup must end before a space or punctuation: ``x``s would not.
    return re.sub(r"(``[^`]+``)(?=\w)", r"\1\\ ", "".join(parts))


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def lines_of(markdown: str) -> Iterator[str]:
    """The lines of the .rst; ValueError for a heading of another form."""
    bar = "^" * len(TITLE)
    yield f"{bar}\n{TITLE}\n{bar}\n"
    yield f".. written from CHANGELOG.md by ``{COMMAND}``; do not edit\n"
    inside = False  # below the first version
    for line in markdown.splitlines():
        if line.startswith("## "):
            found = VERSION.match(line)
            if found is None:
                raise ValueError(
                    f"'{line}' is not of the form '## [1.2.3] - 2026-01-31' or '## [Unreleased]'."
                )
            inside = True
            name = "Forthcoming" if found["name"].lower() == "unreleased" else found["name"]
            yield ("\n" if name else "") + heading(
                f"{name} ({found['date']})" if found["date"] else name, "-"
            )
        elif not inside:
            continue
        elif line.startswith("### "):
            yield f"* {line[4:].strip()}:\n"
        elif line.startswith("- "):
            yield f"  * {restructured(line[2:])}"
        elif line.startswith("  ") and line.strip():
            yield f"    {restructured(line.strip())}"
        elif line.strip():
            raise ValueError(f"'{line}' is neither a heading nor a bullet.")
        else:
            yield ""


def changelog() -> str:
    """The text of CHANGELOG.rst."""
    text = "\n".join(lines_of(SOURCE.read_text()))
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def is_current() -> bool:
    return TARGET.exists() and TARGET.read_text() == changelog()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is outdated")
    arguments = parser.parse_args()
    if is_current():
        return 0
    if not arguments.check:
        TARGET.write_text(changelog())
    sys.stdout.write(f"CHANGELOG.rst: {'outdated' if arguments.check else 'written'}\n")
    return 1 if arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
