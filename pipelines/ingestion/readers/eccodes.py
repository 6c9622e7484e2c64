"""Loading of ecCodes without exposing its PROJ to other packages.

The wheels of ecCodes bring their own PROJ, and ``findlibs`` loads all their libraries with global
symbols. A pyproj (and so a cartopy) that is loaded later would call that PROJ instead of its own,
find no database and crash at exit. Loaded with local symbols, both work in any order.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from types import ModuleType


def load() -> ModuleType:
    """Import ``eccodes``, its shared libraries loaded with local symbols.

    ImportError or RuntimeError is raised if ecCodes or its library is not installed.

    Returns
    -------
    module
        The module ``eccodes``.
    """
    if importlib.util.find_spec("findlibs") is None:  # no wheel that it could find
        return importlib.import_module("eccodes")
    findlibs = importlib.import_module("findlibs")
    load_globally = getattr(findlibs, "_load_globally", None)  # since version 0.1
    findlibs._load_globally = ctypes.CDLL  # type: ignore[attr-defined]
    try:
        return importlib.import_module("eccodes")
    finally:
        findlibs._load_globally = load_globally  # type: ignore[attr-defined]


def load_before_cfgrib() -> None:
    """Load ecCodes if cfgrib is installed, which xarray imports whatever file it opens."""
    if importlib.util.find_spec("cfgrib") is not None:
        load()
