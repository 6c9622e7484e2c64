"""Loading of ecCodes without exposing its PROJ to other packages.

The wheels of ecCodes bring their own PROJ, and ``findlibs`` loads all their libraries with global
symbols. A pyproj (and so a cartopy) that is loaded later would call that PROJ instead of its own,
find no database and crash at exit. Loaded with local symbols, both work in any order.

xarray imports every reader that is installed as soon as it opens any file, and cfgrib imports
ecCodes: where PEAR opens a file, ecCodes has to be there before.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from contextlib import suppress
from functools import cache
from types import ModuleType


def import_eccodes() -> ModuleType:
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


@cache
def import_before_xarray() -> None:
    """Import ecCodes, if cfgrib is installed, before xarray opens its first file."""
    if importlib.util.find_spec("cfgrib") is not None:
        with suppress(ImportError, RuntimeError):  # then cfgrib cannot import it either
            import_eccodes()
