"""A hook of mkdocs: links from the pages to files of the repository become these files' names.

The pages are read in the repository as well, where such links work; the site holds docs/ alone.
"""

import re
from pathlib import PurePosixPath

LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page, **_: object) -> str:
    """Called by mkdocs for every page."""
    depth = len(PurePosixPath(page.file.src_uri).parent.parts)

    def named(match: re.Match) -> str:
        target = PurePosixPath(match[2])
        ups = sum(part == ".." for part in target.parts)
        if ups <= depth:  # within docs/
            return match[0]
        name = "/".join(part for part in target.parts if part != "..")
        return f"`{name}`" if match[1].strip("`") in (name, target.name) else f"{match[1]} (`{name}`)"

    return LINK.sub(named, markdown)
