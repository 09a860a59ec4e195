"""Import open3d without what nothing here needs of it, also on machines without the system's libusb.

Its Linux wheels link against libusb.  Its plots and its machine learning bring dash, plotly, pandas and
scikit-learn, more than half of what importing it takes; they are loaded when somebody first asks for them.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from instascene_core.errors import MissingDependencyError

LATER = ("open3d.ml", "open3d.visualization")


class _Late(ModuleType):
    """A module that is executed when somebody first asks for a name that it does not have yet.

    importlib's own LazyLoader executes one as soon as anything of it is looked at.  `inspect` looks at the
    file of every module there is, and importing torch calls that.
    """

    def __getattr__(self, name: str):
        if name.startswith("__"):  # a question about the module, not for what is in it
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        with _EXECUTING:
            if type(self) is _Late:
                self.__class__ = ModuleType  # type: ignore (a plain module from now on)
                spec = self.__spec__
                assert spec is not None and isinstance(spec.loader, _LateLoader)
                spec.loader.execute(self)
        return getattr(self, name)


_EXECUTING = threading.RLock()


class _LateLoader(Loader):
    """Makes a module as `loader` does, but executes it only when asked."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Late(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass

    def execute(self, module: ModuleType) -> None:
        self._loader.exec_module(module)


class _LateFinder(MetaPathFinder):
    """Finds the modules of LATER as such that are executed when something of them is first used."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target=None) -> ModuleSpec | None:
        if fullname not in LATER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)
        return spec


@contextmanager
def _putting_off() -> Iterator[None]:
    """Inside, the modules of LATER are imported without being executed."""
    finder = _LateFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _load():
    if sys.platform == "linux":
        try:
            import libusb_package

            # Loaded globally under its soname, so that open3d's own lookup finds it already there.
            ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        except (ImportError, OSError):
            pass  # the system's libusb, if any, will do; open3d says so itself when there is none
    try:
        with _putting_off():
            import open3d as module
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"open3d cannot be imported ({error}); install it with `pip install open3d-cpu libusb-package`."
        ) from error
    return module


open3d = _load()
