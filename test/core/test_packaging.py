"""What packages and machines are told about this repository, held against what it is.

package.xml, rosdep keys, CHANGELOG.rst, workflows, Dockerfile, the Foxglove layout, the quality declaration.
"""

import ast
import fnmatch
import json
import platform
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tools import changelog_rst, setup_environment  # noqa: E402

OWN = {"instascene", "instascene_core", "instascene_ros"}
# Python module, or distribution of PyPI → rosdep key; where there is none it is python3-NAME-pip.
KEYS = {
    "cv2": "python3-opencv", "opencv-python-headless": "python3-opencv", "pillow": "python3-pil",
    "scikit-image": "python3-skimage", "scikit-learn": "python3-sklearn", "open3d-cpu": "python3-open3d-pip",
    **{name: f"python3-{name}" for name in ("numpy", "scipy", "rich", "transforms3d")},
    "PyYAML": "python3-yaml", "yaml": "python3-yaml", "yourdfpy": "python3-yourdfpy-pip",
}  # fmt: skip


def package() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def dependencies(*kinds: str, conditional: bool | None = None) -> set[str]:
    """Names in package.xml of these kinds; conditional: only those with a condition, or without."""
    found = [e for kind in kinds for e in package().findall(kind)]
    return {e.text or "" for e in found if conditional is None or ("condition" in e.attrib) == conditional}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Top names imported when the file is loaded, and those only when some function is called."""
    at_once, later = set(), set()

    def visit(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom) and child.level == 0:
                names = [child.module or ""]
            (later if inside else at_once).update(name.partition(".")[0] for name in names)
            visit(child, inside or isinstance(child, ast.FunctionDef))

    visit(ast.parse(path.read_text()), False)
    known = set(sys.stdlib_module_names) | OWN
    return at_once - known, later - known - at_once


# ── package.xml ───────────────────────────────────────────────────────────────────────────────────


def files_with_ros() -> list[Path]:
    return sorted([*(ROOT / "instascene_ros").glob("*.py"), *(ROOT / "launch").glob("*.py")])


@pytest.mark.parametrize("path", files_with_ros(), ids=lambda path: path.name)
def test_what_a_node_imports_is_a_dependency(path):
    at_once, later = imports(path)
    always = dependencies("depend", "exec_depend", conditional=False)
    assert {KEYS.get(name, name) for name in at_once} <= always, "needed when the file is loaded"
    known = always | dependencies("exec_depend", conditional=True)
    assert {KEYS.get(name, name) for name in later} - {"python3-rclpy"} <= known


def test_imports_are_told_apart(tmp_path):
    path = tmp_path / "node.py"
    path.write_text(
        "import os, rclpy.node\nfrom . import near\ntry:\n    from a_msgs.msg import A\nexcept ImportError:\n"
        "    pass\ndef f():\n    import b_msgs.msg\n    from instascene.msg import C\n"
    )
    assert imports(path) == ({"rclpy", "a_msgs"}, {"b_msgs"})


def test_what_the_launch_file_starts_is_a_dependency():
    text = (ROOT / "launch" / "scene.launch.py").read_text()
    started = set(re.findall(r'"?package"?[=:]\s*"(\w+)"', text)) - OWN
    started |= {f"ros2{verb}" for verb in re.findall(r'\["ros2", "(\w+)"', text)}
    assert started == {"rviz2", "ros2bag"}
    assert started <= dependencies("exec_depend") and "ros2launch" in dependencies("exec_depend")


def test_messages_of_the_interfaces_are_dependencies_and_found_by_cmake():
    used = {"builtin_interfaces", "action_msgs"}
    for path in (*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv"), *ROOT.glob("action/*.action")):
        used |= set(re.findall(r"^\s*(\w+)/\w+", path.read_text(), re.MULTILINE))
    assert used == dependencies("depend")
    assert used <= set(re.findall(r"find_package\((\w+)", (ROOT / "CMakeLists.txt").read_text()))


def test_libraries_of_pip_are_dependencies():
    """Every dependency of pyproject.toml by a key of rosdep, ours or a public one."""
    wanted = [*project()["dependencies"], *project()["optional-dependencies"]["robot"]]
    keys = {KEYS.get(name, f"python3-{name}-pip") for name in names_of(wanted)}
    told = {k for k in dependencies("exec_depend") if k.startswith("python3-")} - {"python3-transforms3d"}
    assert told == keys


def test_linters_and_test_tools_of_cmake_are_dependencies():
    optional = set(re.findall(r"find_package\((\w+) QUIET\)", (ROOT / "CMakeLists.txt").read_text()))
    assert optional and optional <= dependencies("test_depend")


def test_ros_reads_the_package_file():
    parse = pytest.importorskip("catkin_pkg.package").parse_package
    warnings: list[str] = []
    found = parse(str(ROOT / "package.xml"), warnings=warnings)
    assert found.name == "instascene" and not warnings
    found.evaluate_conditions({"INSTASCENE_PIP": "yes"})
    chosen = {d.name for d in found.exec_depends if d.evaluated_condition}
    assert "python3-torch-pip" in chosen and "moveit_msgs" not in chosen


def test_installed_folders_are_there():
    for names in re.findall(
        r"install\(DIRECTORY ([\w ]+?) DESTINATION", (ROOT / "CMakeLists.txt").read_text()
    ):
        assert all((ROOT / name).is_dir() for name in names.split()), names


def test_one_version():
    cmake = re.search(r"project\(instascene VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    assert cmake and package().findtext("version") == project()["version"] == cmake[1]


# ── Python libraries ──────────────────────────────────────────────────────────────────────────────


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names_of(requirements: list[str]) -> list[str]:
    """Names of requirements, but for those of other machines than Linux on x86-64."""
    elsewhere = ("!= 'linux'",)
    here = [r for r in requirements if not any(r.endswith(word) for word in elsewhere) or "==" in r]
    return [re.split(r"[\s<>=;\[]", r, maxsplit=1)[0] for r in here]


def test_rosdep_keys_are_those_of_the_package_file():
    keys = yaml.safe_load((ROOT / "rosdep" / "instascene.yaml").read_text())
    wanted = dependencies("exec_depend", "test_depend")
    assert set(keys) == {key for key in wanted if key.endswith("-pip")}
    for key, systems in keys.items():
        assert set(systems) == {"debian", "ubuntu"}
        for rule in systems.values():
            assert rule == {"pip": {"packages": [key.removeprefix("python3-").removesuffix("-pip")]}}


def test_setup_asks_for_what_the_project_needs():
    """requirements/core.in, of which the locks are made, and pyproject.toml, with the same markers."""

    def with_markers(lines) -> set[tuple[str, str]]:
        pairs = [line.partition(";") for line in lines if line and not line.startswith("#")]
        return {(re.split(r"[\s<>=]", name.strip())[0], marker.strip()) for name, _, marker in pairs}

    asked = with_markers((ROOT / "requirements" / "core.in").read_text().splitlines())
    wanted = with_markers([*project()["dependencies"], *project()["optional-dependencies"]["synthetic"]])
    assert asked == wanted


@pytest.mark.parametrize(
    ("machine", "version", "suffix"),
    [("x86_64", (3, 12), ".txt"), ("x86_64", (3, 10), ".in"), ("aarch64", (3, 12), ".in")],
)
def test_locked_versions_only_where_they_exist(machine, version, suffix, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(setup_environment.sys, "version_info", (*version, 0))
    for system_ros, names in ((True, ["core", "dev"]), (False, ["core", "dev", "ros-wheels"])):
        files = setup_environment.requirement_files(system_ros)
        assert [file.stem for file in files] == names
        assert all(file.suffix == suffix and file.exists() for file in files)


@pytest.mark.skipif(not (ROOT / ".venv" / "bin" / "activate").exists(), reason="made by `make setup`")
def test_the_command_is_on_the_path_after_activation():
    script = ". tools/activate.sh && command -v instascene && instascene config --help"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "usage: instascene config" in done.stdout, done.stdout + done.stderr


# ── the changelog of ROS ──────────────────────────────────────────────────────────────────────────


def test_both_changelogs_agree():
    assert changelog_rst.is_current(), f"CHANGELOG.rst is outdated; run: {changelog_rst.COMMAND}"


MARKDOWN = """# Changelog
words
## [Unreleased]

### Added
- A `flag`s meaning: a*b and x_ of
  [a page](https://example.org/a_b).

## [1.2.0] - 2026-01-31

### Fixed
- One.
"""


def test_a_changelog_in_the_form_of_ros():
    text = "\n".join(changelog_rst.lines_of(MARKDOWN))
    assert "Forthcoming\n-----------" in text and "1.2.0 (2026-01-31)\n------------------" in text
    assert r"  * A ``flag``\ s meaning: a\*b and x\_ of" in text
    assert "    `a page <https://example.org/a\\_b>`__." in text
    with pytest.raises(ValueError, match="is not of the form"):
        list(changelog_rst.lines_of("## Next"))
    with pytest.raises(ValueError, match="neither a heading nor a bullet"):
        list(changelog_rst.lines_of("## [Unreleased]\nwords"))


def test_release_tools_of_ros_read_it():
    changelog = pytest.importorskip("catkin_pkg.changelog")
    pytest.importorskip("docutils")
    found = changelog.populate_changelog_from_rst(
        changelog.Changelog("instascene"), "\n".join(changelog_rst.lines_of(MARKDOWN))
    )
    ((version, date, items),) = list(found.foreach_version())
    assert (version, date.year, len(items)) == ("1.2.0", 2026, 1)


def test_the_changelog_is_plain_restructuredtext():
    core = pytest.importorskip("docutils.core")
    settings = {"report_level": 1, "halt_level": 1}  # the least remark is an error
    tree = core.publish_doctree(changelog_rst.TARGET.read_text(), settings_overrides=settings)
    assert "title_reference" not in tree.pformat(), "one backtick, where code has two"


# ── workflows, container, Foxglove ────────────────────────────────────────────────────────────────


def workflows() -> list[Path]:
    return sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", workflows(), ids=lambda path: path.name)
def test_workflows_are_whole(path):
    content = yaml.safe_load(path.read_text())
    assert content["name"] == path.stem and content[True] and content["permissions"] == {"contents": "read"}
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in content["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"] <= 360
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert set(re.findall(r"(?:^|&& )make ([a-z]+)", step.get("run", ""))) <= verbs
            for program in re.findall(r"\b(tools/\w+)", step.get("run", "")):
                assert (ROOT / program).exists()
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))


def test_workflows_cover_distributions_and_machines():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ros.yml").read_text())["jobs"]["colcon"]
    matrix = job["strategy"]["matrix"]
    assert matrix["distro"] == ["humble", "jazzy", "kilted", "rolling"]
    assert {entry["arch"] for entry in matrix["include"]} == set(matrix["arch"]) == {"x86-64", "aarch64"}
    assert all(
        entry["runner"].endswith("-arm") == (entry["arch"] == "aarch64") for entry in matrix["include"]
    )
    steps = " ".join(step.get("run", "") for step in job["steps"])
    assert "colcon test " in steps and "colcon test-result" in steps


def test_the_container_is_built_of_what_is_there():
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    words = [line.split() for line in lines if line.split() and not line.startswith("#")]
    instructions = {word[0] for word in words}
    assert instructions <= {
        "ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "ENTRYPOINT",
    }  # fmt: skip
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    for word in words:
        sources = [w for w in word[1:-1] if not w.startswith("--")] if word[0] == "COPY" else []
        for source in sources if "--from=build" not in word else ():
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, k) or source.startswith(f"{k}/") for k in kept), source
    installed = re.findall(r"install\(DIRECTORY ([\w ]+?) DESTINATION", (ROOT / "CMakeLists.txt").read_text())
    copied = " ".join(" ".join(word) for word in words if word[0] == "COPY")
    assert all(f"src/{name}" in copied for name in " ".join(installed).split())
    users = [word[1] for word in words if word[0] == "USER"]
    assert users and users[-1] != "root"


def test_the_foxglove_layout_shows_topics_that_there_are():
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text())
    panels = layout["configById"]

    def placed(node) -> list[str]:
        return [node] if isinstance(node, str) else [*placed(node["first"]), *placed(node["second"])]

    assert sorted(placed(layout["layout"])) == sorted(panels)
    rows = yaml.safe_load((ROOT / "docs" / "ros" / "topics.yaml").read_text())["scene_node"]
    known = {f"/{row['topic'].lstrip('/')}" for row in rows}
    text = json.dumps(panels)
    named = set(re.findall(r'"(/[\w/]+)', text)) - {"/segment_instances"}
    assert {"/markers", "/status", "/clicked_point", "/diagnostics", "/rendered/image"} <= named <= known
    fields = (ROOT / "msg" / "SceneStatus.msg").read_text()
    plotted = re.findall(r'"/status\.(\w+)"', text)
    assert plotted and all(re.search(rf"\b{field}\b", fields) for field in plotted)


def test_the_quality_declaration_answers_everything():
    """Each requirement of REP-2004 that a package can have, by its number."""
    text = (ROOT / "QUALITY_DECLARATION.md").read_text()
    wanted = {
        "1": 6, "2": 5, "3": 5, "4": 5, "5": 3, "7": 1,
    }  # fmt: skip
    roman = ("i", "ii", "iii", "iv", "v", "vi")
    for section, count in wanted.items():
        assert f"\n## {section}. " in text
        for number in roman[:count]:
            assert re.search(rf"\b{section}\.{number}\b", text), f"{section}.{number}"
    for link in re.findall(r"\]\(([\w./]+)[)#]", text):
        assert (ROOT / link).exists(), link
