"""Two libraries bring a PROJ each; which comes first decides whether a process ends well.

The wheels of ecCodes load theirs with its symbols open to all. A pyproj (and so a cartopy) that is
imported later takes those for its own, and the process crashes, at the latest when it ends. The
other way round both work. xarray imports ecCodes unasked wherever cfgrib is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import suppress


def load_first(only_beside: str | None = None) -> None:
    """Import pyproj, if there is one, before anything brings ecCodes.

    Parameters
    ----------
    only_beside
        Do so only if this package is installed.
    """
    if only_beside is not None and importlib.util.find_spec(only_beside) is None:
        return
    with suppress(ImportError):
        importlib.import_module("pyproj")
