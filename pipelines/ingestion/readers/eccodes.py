"""ecCodes as the readers use it: loaded without harm, quiet, and field by field.

What ecCodes finds wrong with a message it prints by itself, beside the error that it returns. The
error is what is reported; the lines go to the log, at the level of debugging.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from types import ModuleType
from typing import BinaryIO, Final

from pear.grib_library import import_eccodes

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
    codes = import_eccodes()
    bindings = importlib.import_module("gribapi.bindings")
    library = ctypes.CDLL(bindings.library_path)  # the one that is loaded already
    library.grib_context_set_logging_proc(None, _LOG)  # None: the only context there is
    return codes


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
