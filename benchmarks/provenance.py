"""Which code, weights and machine made a figure.

Code is named by a hash of its sources: of the modules that a figure depends on and of everything that they
import.  The imports are followed, so that no list of them has to be kept.  A package that is imported but
does not contribute is named as `unused`.  One that is forgotten there makes figures look outdated too early,
never too late.  Comments and docstrings count.
"""

import ast
import functools
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ROOT = Path(__file__).resolve().parents[1]  # holds instascene_core and benchmarks
CORE, BENCHMARKS = "instascene_core", "benchmarks"
KERNEL_LOADER = f"{CORE}/rendering/library.py"  # calls what is compiled from csrc, without an import
KERNEL_SUFFIXES = (".cpp", ".hpp", ".h", ".txt")  # .txt: CMakeLists, with the compiler's flags
RECORDING = (f"{BENCHMARKS}.provenance", f"{BENCHMARKS}.records")  # describe figures, do not make them
UNKNOWN = "unknown"  # commit outside a checkout; code of figures from a cache that other code may have filled
DIGITS = 12  # of a hash, hexadecimal


@dataclass(frozen=True)
class Sources:
    """What figures depend on.  Dotted names of packages or modules, such as `instascene_core.association`."""

    packages: tuple[str, ...]  # these and all that they import
    unused: tuple[str, ...] = ()  # except these, which are imported but do not contribute


@dataclass(frozen=True)
class Provenance:
    """What made the figures of one row."""

    commit: str  # of the checkout; see `commit`
    code: str  # `source_hash` of the row's sources, or UNKNOWN
    weights: dict[str, str]  # `weights_hashes` of the row's sources
    machine: dict[str, object]  # see `machine`

    @classmethod
    def now(cls, sources: Sources, root: Path = ROOT) -> "Provenance":
        """Of figures that are measured now.  To be called before the measurement, not after it: the sources
        may be edited while it runs, and the load of the machine is to be that of other work."""
        return cls(commit(root), source_hash(sources, root), weights_hashes(sources, root), machine())

    def fields(self) -> dict[str, object]:
        """The fields that a row of results carries."""
        return asdict(self)


def source_hash(sources: Sources, root: Path = ROOT) -> str:
    """Hash of the names and contents of `source_files`."""
    files = source_files(sources, root)
    listing = [f"{path.relative_to(root).as_posix()} {digest(path.read_bytes())}" for path in files]
    return digest("\n".join(listing).encode())


def weights_hashes(sources: Sources, root: Path = ROOT) -> dict[str, str]:
    """Name → start of the SHA-256 of the weights that come with those packages that the sources use."""
    used = {path.parent for path in source_files(sources, root)}
    weights = sorted((root / CORE).glob("*/weights/*.safetensors"))
    return {path.stem: digest(path.read_bytes()) for path in weights if path.parent.parent in used}


def cache_key(sources: Sources, *configs: "DataclassInstance", root: Path = ROOT) -> str:
    """Names a result of these sources, of their weights and of these configurations (dataclasses)."""
    settings = [{type(config).__name__: asdict(config)} for config in configs]
    parts = [source_hash(sources, root), weights_hashes(sources, root), settings]
    return digest(json.dumps(parts, sort_keys=True).encode())


def commit(root: Path = ROOT) -> str:
    """Abbreviated commit of the checkout, with "+changes" where the sources differ from it; "unknown" outside
    a checkout.  Results on record are no sources."""
    sources = [CORE, BENCHMARKS, f":(exclude){BENCHMARKS}/results"]
    head = _git(root, "rev-parse", f"--short={DIGITS}", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *sources)
    if head is None or changes is None:
        return UNKNOWN
    return f"{head}+changes" if changes else head


def machine() -> dict[str, object]:
    """Processor and versions; nothing that names the host."""
    import torch

    from instascene_core.rendering import library

    model, flags = platform.processor() or platform.machine(), set()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    relevant = {"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl", "asimd"}
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "flags": sorted(flags & relevant),
        "threads": library.num_threads(),
        "load_before": round(os.getloadavg()[0], 1),  # of other work: above 0 wall times are too long
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


# ── the files that figures depend on ──────────────────────────────────────────────────────────────


def source_files(sources: Sources, root: Path = ROOT) -> list[Path]:
    """Python files of the packages and of everything they import of this repository; with the kernel's loader
    also the kernel's.  Raises ValueError for a name that is neither a package nor a module."""
    for name in sources.unused:
        _files_of(name, root)  # a misspelled one would be no error otherwise
    waiting = [path for name in sources.packages for path in _files_of(name, root)]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found or _is_within(_module_of(path, root), (*sources.unused, *RECORDING)):
            continue
        found.add(path)
        for name in _imports(path, root)[0]:
            waiting += _imported_files(name, root)
    if root / KERNEL_LOADER in found:
        kernel = (root / CORE / "csrc").rglob("*")
        found.update(path for path in kernel if path.suffix in KERNEL_SUFFIXES)
    return sorted(found)


def _files_of(name: str, root: Path) -> list[Path]:
    """All Python files of a package, or the one of a module."""
    path = root.joinpath(*name.split("."))
    if path.is_dir():
        return sorted(path.rglob("*.py"))
    if path.with_suffix(".py").is_file():
        return [path.with_suffix(".py")]
    raise ValueError(f"There is no package or module '{name}' in {root}.")


def _module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _imports(path: Path, root: Path) -> tuple[list[str], dict[str, str]]:
    """What a file imports when it runs, also inside functions, and what only type checkers see it import."""
    return _imports_of(path.read_text(), path.relative_to(root).parent.parts)


@functools.cache
def _imports_of(source: str, package: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Of `source`, a file of `package`: dotted names, and name within the file → dotted name.

    `from a.b import c` gives a.b.c, whether c is a module or not; so does a.b.c of a package a.b imported as
    one name.
    """
    tree = ast.parse(source)
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    blocks = [node for node in blocks if ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"]
    unexecuted = {inner for block in blocks for part in block.body for inner in ast.walk(part)}
    names: list[tuple[str, str]] = []
    unexecuted_names: dict[str, str] = {}
    for node in ast.walk(tree):
        found = _names_of(node, package)
        if node in unexecuted:
            unexecuted_names.update(found)
        else:
            names += found.items()
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    attributes = [
        f"{name}.{attribute}" for alias, name in names for owner, attribute in used if owner == alias
    ]
    return [*(name for _, name in names), *attributes], unexecuted_names


def _names_of(node: ast.AST, package: Sequence[str]) -> dict[str, str]:
    """Name within the file → dotted name, of an import; of any other node nothing."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else ()
        module = ".".join([*base, *([node.module] if node.module else [])])
        return {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    return {}


def _imported_files(name: str, root: Path) -> list[Path]:
    """What Python executes of this repository for an import of a.b.c: a/__init__.py, a/b/__init__.py and
    a/b/c.py or a/b/c/__init__.py; c may also be a name within a.b.

    A package may load its public names when they are first asked for, and import them for type checkers only.
    So c is looked up among these.
    """
    parts = name.split(".")
    if parts[0] not in (CORE, BENCHMARKS):
        return []
    paths = [root.joinpath(*parts[: length + 1]) for length in range(len(parts))]
    files = [file for path in paths for file in (path / "__init__.py", path.with_suffix(".py"))]
    files = [file for file in files if file.is_file()]
    if len(parts) > 1 and not paths[-1].is_dir() and not paths[-1].with_suffix(".py").is_file():
        later = _public_names(paths[-2], root).get(parts[-1])
        files += _imported_files(later, root) if later else []
    return files


def _public_names(package: Path, root: Path) -> dict[str, str]:
    """Names of a package that it imports for type checkers only."""
    path = package / "__init__.py"
    return _imports(path, root)[1] if path.is_file() else {}


def digest(content: bytes) -> str:
    """Start of the SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None where there is no git or no checkout."""
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None
