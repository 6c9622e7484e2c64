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
from typing import BinaryIO


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


def next_field(codes: ModuleType, file: BinaryIO) -> int | None:
    """Return a handle of the next field of a GRIB file, also within a message of several fields.

    NCEP writes both components of a wind into one message, which ecCodes unfolds by a switch of
    the whole process. cfgrib turns the switch off, at its import (by any ``xarray.open_dataset``)
    and after each of its reads; the second component would then be passed over in silence.

    Parameters
    ----------
    codes
        The module of :func:`load`.
    file
        An open file, unbuffered where its position matters.

    Returns
    -------
    int or None
        The handle, to be released by the caller; None at the end of the file.
    """
    codes.codes_grib_multi_support_on()
    handle: int | None = codes.codes_grib_new_from_file(file)
    return handle
