"""Memory that the allocator keeps: fewer arenas, and free pages given back to the system.

glibc gives every thread an arena of its own, up to eight for each core, and keeps what was freed in
each. A service with forty threads then holds a multiple of what it uses.
"""

from __future__ import annotations

import ctypes
import resource
from functools import cache
from pathlib import Path
from typing import Final

_ARENA_MAX: Final = -8
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
ARENAS: Final = 2


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def limit_arenas() -> None:
    """Bound the arenas of this process, and map large blocks apart from them (glibc only)."""
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, ARENAS)
        # Fixed thresholds: glibc raises them to 32 MiB once blocks of that size were freed.
        library.mallopt(_MMAP_THRESHOLD, 256 * 1024)
        library.mallopt(_TRIM_THRESHOLD, 1024 * 1024)


def release_memory() -> None:
    """Give free pages of every arena back to the system (glibc only)."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of a process, bytes; 0 where it is not known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
