"""The pages of docs/: links and anchors lead somewhere, names are of today, the site has all of them."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro
import yaml
from PIL import Image

from instascene_core import cli
from instascene_core.config import Config
from instascene_core.config_file import settings_of

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tools import api_reference, docs_links, gallery  # noqa: E402

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
WRITTEN = [path for path in PAGES if path.parent == DOCS and path.name not in ("python.md", "benchmarks.md")]
IDS = [str(path.relative_to(ROOT)) for path in PAGES]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def anchors(path: Path) -> set[str]:
    """Of the headings of a page, as mkdocs and GitHub name them."""
    found = re.findall(r"^#+ +(.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip() for heading in found]
    return {re.sub(r"[\s]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", without_code(path.read_text())):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{link} of {path.name}"
        assert not anchor or anchor in anchors(target), f"{link} of {path.name}"


def test_every_page_is_in_the_site():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/]+\.md", str(site["nav"])))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert site["theme"]["font"] is False, "fonts would come from a network"


def test_the_method_names_files_that_there_are():
    core = ROOT / "instascene_core"
    text = (DOCS / "method.md").read_text()
    named = set(re.findall(r"[\w/]+/[\w/]*(?:\.py|\.cpp|\.md)|[\w/]+/(?=`)", text))
    assert len(named) > 25
    for name in named:
        assert any((root / name).exists() for root in (ROOT, core, DOCS)), name


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_settings_that_are_named_are_there(path):
    known = set(settings_of(Config()))
    sections = {".".join(name.split(".")[:k]) for name in known for k in range(1, name.count(".") + 1)}
    first = {name.partition(".")[0] for name in known if "." in name}
    for name in re.findall(r"`(?:--set )?([a-z_]+(?:\.[a-z_]+)+)(?=[`=:])", path.read_text()):
        if name.partition(".")[0] in first and not name.endswith(
            (".py", ".md", ".json", ".xml", ".ply", ".glb")
        ):
            assert name in known | sections, f"{name} in {path.name}"


def test_the_command_page_names_every_verb():
    text = (DOCS / "command.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| ", text, re.M)) >= set(cli.VERBS)


def test_the_api_page_is_todays():
    assert api_reference.PAGE.read_text() == api_reference.page(), f"run {api_reference.COMMAND}"


def test_the_gallery_is_of_its_script(tmp_path):
    assert gallery.PAGE.read_text() == gallery.page(), f"run {gallery.COMMAND}"
    run, images = tmp_path / "out", tmp_path / "images"
    run.mkdir(), images.mkdir()
    for name in ("overview.png", "objects.png"):
        Image.new("RGB", (3200, 800), (10, 20, 30)).save(run / name)
    gallery.take_pictures(gallery.ENTRIES["apc_shelf"], run, images)
    for name in gallery.ENTRIES["apc_shelf"].pictures:
        with Image.open(images / name) as picture:
            assert picture.size == (1600, 400)
    for entry in gallery.ENTRIES.values():
        assert all((DOCS / "images" / name).exists() for name in entry.pictures)


def commands() -> list[tuple[str, list[str]]]:
    """Page and words of every line that types the command; not those with words to be chosen by a person."""
    found = []
    for path in [*WRITTEN, ROOT / "README.md"]:
        for line in re.findall(r"^(?:    |\$ )instascene (.*)$", path.read_text(), re.M):
            line = re.split(r" #| \|| 2?> ", line)[0].replace("…", "x").replace(" ID", " 1")
            if not re.match(r"VERB|--", line):
                found.append((path.name, shlex.split(line)))
    return found


def test_every_command_that_is_shown_is_one(capsys):
    shown = commands()
    assert len(shown) > 20 and {words[0] for _, words in shown} <= set(cli.VERBS)
    for page, words in shown:
        try:
            tyro.extras.subcommand_cli_from_dict(cli.VERBS, args=words, prog="instascene")
        except SystemExit:
            pytest.fail(f"{page}: instascene {' '.join(words)}: {capsys.readouterr()}")


def test_links_out_of_the_pages_become_names():
    class Page:
        class file:
            src_uri = "ros/mujoco.md"

    text = "[a](../files.md) [`config/x.yaml`](../../config/x.yaml) [the file](../../Dockerfile)"
    expected = "[a](../files.md) `config/x.yaml` the file (`Dockerfile`)"
    assert docs_links.on_page_markdown(text, Page) == expected


@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="pip install '.[docs]'")
def test_the_site_asks_no_network(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        assert not re.findall(
            r"<(?:script|img|link)\b[^>]*?(?:src|href)=[\"']?https?:[^\"' >]+", page.read_text()
        )
