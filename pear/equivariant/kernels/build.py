"""The compiled functions of ``native/``: optional, found or built at first use.

They need a C++ compiler and nothing else; the result is kept in the user's cache under a name that
changes with sources, compiler and processor. Where there is no compiler, or the build fails, a note
is logged and :mod:`pear.equivariant.kernels.attention` computes the same in torch. Linux only,
where torch
and the compiler share one OpenMP.

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
    """Load the compiled functions, building them if need be; None where that is not possible."""
    check_environment()
    if os.environ.get("PEAR_NATIVE_KERNELS", "1") == "0" or sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError) as error:
        details = getattr(error, "stderr", None) or error
        _log.warning("blocks run in torch alone; their kernels could not be compiled: %s", details)
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
    """Return the shared library, compiled now if there is none for this source and machine."""
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
        # Built under another name and moved: processes that start together do not see halves.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            fresh = Path(folder) / target.name
            _run([compiler, *_FLAGS, "-o", str(fresh), *(str(_FOLDER / name) for name in _SOURCES)])
            fresh.replace(target)
    return target


def _cache() -> Path:
    """Return the folder of built libraries, which nobody else may write to."""
    named = os.environ.get("PEAR_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(named) if named else Path(home) / "pear"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(f"{folder} can be written to by others; nothing is loaded from there")
    return folder


def _processor() -> str:
    """Return what the processor can do, since ``-march=native`` builds for just that."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    wanted = ("flags", "Features", "model name", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 (a compiler found on the path, and our own source)
        command, capture_output=True, text=True, check=True, timeout=_SECONDS
    )
    return done.stdout
