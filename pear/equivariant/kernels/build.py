"""The compiled functions of ``native/``, found or built at first use.

They are optional and need a C++ compiler only: calling them by ctypes, rather than as operators of
torch, keeps compilation under ten seconds and the library independent of torch's headers and
binary interface. The library is kept in the user's cache under a name that changes with sources,
compiler and processor. Where there is no compiler, or the build fails, a note is logged and the
layers run in torch alone. Linux only, where torch and the compiler share one OpenMP.

Environment: ``PEAR_NATIVE_KERNELS=0`` turns them off, ``PEAR_CACHE`` names another folder to keep
them in, ``CXX`` another compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from pear.environment import check_environment

_FOLDER: Final = Path(__file__).with_name("native")
_SOURCES: Final = ("window_attention.cpp", "pointwise.cpp", "mirror_block.cpp")
_HEADERS: Final = ("vector.h", "norm.h", "attention.h", "product.h")
_FLAGS: Final = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-shared",
    "-fPIC",
)
_SECONDS: Final = 120.0
_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Load the compiled functions, building them first if needed; None where that is impossible."""
    check_environment()
    if os.environ.get("PEAR_NATIVE_KERNELS", "1") == "0" or sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError) as error:
        details = getattr(error, "stderr", None) or error
        _log.warning("kernels could not be compiled, blocks run in torch alone: %s", details)
        return None


def require_library() -> ctypes.CDLL:
    """Load the compiled functions.

    Returns
    -------
    CDLL
        The functions.

    Raises
    ------
    RuntimeError
        If :func:`library` returns None.
    """
    if (native := library()) is None:
        raise RuntimeError("the compiled functions are not available on this machine")
    return native


def _built() -> Path:
    """Return the shared library for these sources and this machine, compiled if it is missing."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise OSError("no C++ compiler (c++, g++, clang++) on the path")
    version = _run([compiler, "--version"])
    texts = [(_FOLDER / name).read_text() for name in (*_SOURCES, *_HEADERS)]
    parts = (*texts, version, " ".join(_FLAGS), platform.machine(), _processor())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = _cache() / f"kernels-{key}.so"
    if not target.exists():
        # Built elsewhere and moved, so that other processes never load a partial file.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            fresh = Path(folder) / target.name
            _run([compiler, *_FLAGS, "-o", str(fresh), *(str(_FOLDER / name) for name in _SOURCES)])
            fresh.replace(target)
    return target


def _cache() -> Path:
    """Return the folder of built libraries, which other users must not be able to write to."""
    named = os.environ.get("PEAR_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(named) if named else Path(home) / "pear"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(f"{folder} is writable by others; no library is loaded from it")
    return folder


def _processor() -> str:
    """Return the features of the processor, for which ``-march=native`` builds."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    wanted = ("flags", "Features", "model name", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 (a compiler found on the path, and our own source)
        command, capture_output=True, text=True, check=True, timeout=_SECONDS
    )
    return done.stdout
