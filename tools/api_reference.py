"""Writes docs/python.md, the Python API, from the sources: `tools/run python tools/api_reference.py`.

The public names are those of `instascene_core.__all__`.  Signatures, fields with their comments and
docstrings are taken as they are written, by `ast`: nothing is imported but the list of names, so that the
page does not depend on the Python that writes it.  `--check` writes nothing and fails where the page differs.
"""

import argparse
import ast
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import instascene_core  # noqa: E402

COMMAND = "tools/run python tools/api_reference.py"
PAGE = ROOT / "docs" / "python.md"
WIDTH = 92  # of a signature on one line
HEAD = f"""# Python API

<!-- written by `{COMMAND}`; do not edit -->

    import instascene_core as isc

Lengths are metres, angles radians, quaternions `wxyz`; the world frame is that of the given poses, z up
unless `Config.up` says otherwise; camera axes are OpenCV's (x right, y down, z forward). What is refused
raises `isc.InputError` with one sentence. A step is a function from frozen values to one frozen value;
`Scene` runs them in order and owns the results.
[examples/01_from_python.py](../examples/01_from_python.py) shows both.
"""
GROUPS = {
    "The whole job": (
        "Scene", "load_config", "Config", "open_dataset", "save_scene", "load_scene", "export_object",
    ),
    "Its steps": ("reconstruct", "decompose", "complete"),
    "What goes in": ("Frame", "PinholeCamera"),
    "What comes out": (
        "Reconstruction", "GaussianModel", "Decomposition", "InstanceMap", "Instance", "CompletedObject",
        "TriangleMesh", "Plane", "SceneState",
    ),
    "What goes wrong": ("InputError", "NotReadyError", "MissingDependencyError", "Cancelled"),
}  # fmt: skip

Definition = ast.ClassDef | ast.FunctionDef


def definition(name: str, module: str = "") -> tuple[Path, Definition]:
    """The file and the node of a public name, or of one that a module defines or imports."""
    module = module or f"instascene_core.{instascene_core._DEFINED_IN[name]}"
    while True:
        found = importlib.util.find_spec(module)
        assert found is not None and found.origin is not None, module
        path = Path(found.origin)
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, Definition) and node.name == name:
                return path, node
        module = _imported_from(tree, name)


def _imported_from(tree: ast.Module, name: str) -> str:
    """The module that a package's __init__ takes a name from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return node.module or ""
    raise SystemExit(f"{name} is defined nowhere")


def signature(node: ast.FunctionDef, name: str, of_class: bool = False) -> str:
    """`name(arguments) -> result`, an argument a line where it is long."""
    arguments = node.args
    if of_class:
        arguments.args = arguments.args[1:]  # self
    result = "" if node.returns is None or name[:1].isupper() else f" -> {ast.unparse(node.returns)}"
    text = f"{name}({ast.unparse(arguments)}){result}"
    if len(text) <= WIDTH:
        return text
    lines = [ast.unparse(ast.arguments([], [a], None, [], [], None, [])) for a in arguments.args]
    at = len(lines) - len(arguments.defaults)
    lines = [
        line if k < at else f"{line} = {ast.unparse(arguments.defaults[k - at])}"
        for k, line in enumerate(lines)
    ]
    if arguments.kwonlyargs:
        lines.append("*")
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults):
            lines.append(ast.unparse(argument) + ("" if value is None else f" = {ast.unparse(value)}"))
    return f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + f"){result}"


def fields(path: Path, node: ast.ClassDef) -> str:
    """The fields of a dataclass with their comments, as they stand in the source."""
    found = [child for child in node.body if isinstance(child, ast.AnnAssign)]
    if not found:
        return ""
    lines = path.read_text().splitlines()
    first = found[0].lineno - 1
    while lines[first - 1].strip().startswith("#"):
        first -= 1
    return textwrap.dedent("\n".join(lines[first : found[-1].end_lineno]))


def members(path: Path, node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Methods and properties of a class, and of the classes of ours that it is made of."""
    yield from (child for child in node.body if isinstance(child, ast.FunctionDef))
    tree = ast.parse(path.read_text())
    for base in node.bases:
        sources = [n.module for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names
                   if alias.name == ast.unparse(base)]  # fmt: skip
        if sources and (sources[0] or "").startswith("instascene_core"):
            where, found = definition(ast.unparse(base), sources[0] or "")
            assert isinstance(found, ast.ClassDef), base
            yield from members(where, found)


def text_of(node: Definition) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "")


def entry(name: str) -> Iterator[str]:
    """The lines of one public name."""
    path, node = definition(name)
    where = path.relative_to(ROOT).as_posix()
    yield f"### {name}\n"
    if isinstance(node, ast.FunctionDef):
        yield f"```python\n{signature(node, name)}\n```\n"
        yield f"{text_of(node)}\n"
        yield f"`{where}`\n"
        return
    yield f"{text_of(node)}\n"
    yield f"`{where}`\n"
    if told := fields(path, node):
        yield f"```python\n{told}\n```\n"
    for child in members(path, node):
        if child.name == "__init__" and len(child.args.args) > 1:
            yield f"```python\n{signature(child, name, of_class=True)}\n```\n"
        elif not child.name.startswith("_") and text_of(child):
            kind = {ast.unparse(decorator) for decorator in child.decorator_list}
            is_value = bool(kind & {"property", "cached_property"})
            told = child.name if is_value else signature(child, child.name, "staticmethod" not in kind)
            result = f": {ast.unparse(child.returns)}" if is_value and child.returns else ""
            yield f"```python\n{told}{result}\n```\n"
            yield f"{text_of(child)}\n"


def page() -> str:
    """The whole page."""
    listed = {name for names in GROUPS.values() for name in names}
    missing = set(instascene_core.__all__) ^ listed
    if missing:
        raise SystemExit(f"GROUPS of tools/api_reference.py and instascene_core.__all__ differ: {missing}")
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        for name in names:
            parts += entry(name)
    return "\n".join(parts).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page differs")
    text = page()
    if parser.parse_args().check:
        if PAGE.read_text() != text:
            sys.stderr.write(f"{PAGE.relative_to(ROOT)} is not of today's sources; {COMMAND} writes it.\n")
            return 1
        return 0
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
