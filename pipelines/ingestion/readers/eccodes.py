"""ecCodes, loaded so that it keeps its libraries to itself.

The wheels of ecCodes bring a PROJ of their own, and `findlibs` opens everything they bring with
the symbols visible to all. A pyproj (and so a cartopy) that is loaded later calls that PROJ instead
of its own: it finds no database, and the process crashes when it ends. Opened privately, the two
live side by side in any order.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_WHEEL: Final = "eccodeslib"


def load() -> Any:
    """Return the module ``eccodes``, its shared libraries opened privately.

    Raises
    ------
    ImportError, RuntimeError
        If there is no ecCodes, or no library to go with it.
    """
    if "gribapi" not in sys.modules:
        with _privately():
            return importlib.import_module("eccodes")
    return importlib.import_module("eccodes")


def load_before_cfgrib() -> None:
    """Load ecCodes if there is a cfgrib, which xarray imports unasked whatever it opens."""
    if importlib.util.find_spec("cfgrib") is not None:
        load()


@contextmanager
def _privately() -> Iterator[None]:
    """Within it `findlibs` finds the wheel's library without opening anything beside it."""
    if importlib.util.find_spec(_WHEEL) is None:  # the system's ecCodes: nothing is bundled
        yield
        return
    wheel = importlib.import_module(_WHEEL)
    for name in getattr(wheel, "findlibs_dependencies", ()):
        _open(importlib.import_module(name))
    kept = {name: os.environ.get(name) for name in ("FINDLIBS_DISABLE_PACKAGE", "ECCODES_DIR")}
    os.environ |= {"FINDLIBS_DISABLE_PACKAGE": "yes", "ECCODES_DIR": str(_home(wheel))}
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _home(package: Any) -> Path:
    return Path(package.__file__).parent


def _open(package: Any) -> None:
    """Open a wheel's libraries, which ecCodes then finds by name; private is ctypes' default."""
    for folder in ("lib", "lib64"):
        for library in sorted((_home(package) / folder).glob("*.so")):
            ctypes.CDLL(str(library))
