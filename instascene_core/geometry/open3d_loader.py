"""Import open3d on machines without the system's libusb (its Linux wheels link against it)."""

import ctypes
import sys

from instascene_core.errors import MissingDependencyError


def _load():
    if sys.platform == "linux":
        try:
            import libusb_package

            # Loaded globally under its soname, so that open3d's own lookup finds it already there.
            ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        except (ImportError, OSError):
            pass  # the system's libusb, if any, will do; open3d says so itself when there is none
    try:
        import open3d as module
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"open3d cannot be imported ({error}); install it with `pip install open3d-cpu libusb-package`."
        ) from error
    return module


open3d = _load()
