"""Loading of ecCodes without exposing its PROJ to other packages, and without its lines on stderr.

The wheels of ecCodes bring their own PROJ, and ``findlibs`` loads all their libraries with global
symbols. A pyproj (and so a cartopy) that is loaded later would call that PROJ instead of its own,
find no database and crash at exit. Loaded with local symbols, both work in any order.

What ecCodes finds wrong with a message it prints by itself, beside the error that it returns. The
error is what is reported; the lines go to the log, at the level of debugging.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
from types import ModuleType
from typing import BinaryIO, Final

_LOGGER: Final = logging.getLogger(__name__)


def _log(context: int | None, level: int, message: bytes | None) -> None:
    """Take a line of ecCodes."""
    _LOGGER.debug("ecCodes: %s", (message or b"").decode(errors="replace").rstrip())


# Kept as long as the process: ecCodes calls it at any time.
_LOG: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)(_log)


def load() -> ModuleType:
    """Import ``eccodes``, its shared libraries loaded with local symbols, its lines to the log.

    ImportError or RuntimeError is raised if ecCodes or its library is not installed.

    Returns
    -------
    module
        The module ``eccodes``.
    """
    codes = _import()
    bindings = importlib.import_module("gribapi.bindings")
    library = ctypes.CDLL(bindings.library_path)  # the one that is loaded already
    library.grib_context_set_logging_proc(None, _LOG)  # None: the only context there is
    return codes


def _import() -> ModuleType:
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
