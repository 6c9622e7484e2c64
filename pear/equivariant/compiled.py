"""Window attention as a compiled function: optional, found or built at first use.

``window_attention.cpp`` beside this file needs a C++ compiler and nothing else; the result is kept
in the user's cache under a name that changes with source, compiler and processor. Where there is no
compiler, or the build fails, a note is logged and :mod:`pear.equivariant.kernels` computes the same
in torch. Linux only, where torch and the compiler share one OpenMP.

Environment: ``PEAR_COMPILED=0`` turns it off, ``PEAR_CACHE`` names another folder to keep it in,
``CXX`` another compiler.
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
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

_SOURCE: Final = Path(__file__).with_name("window_attention.cpp")
_FLAGS: Final = (
    "-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp",
    "-shared", "-fPIC",
)  # fmt: skip
_SECONDS: Final = 120.0
_log = logging.getLogger(__name__)


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, masks: Tensor, runs: Sequence[int], scale: float
) -> Tensor | None:
    """Return softmax(q·kᵀ·scale + bias + mask)·v inside each window, or None if this cannot.

    Parameters
    ----------
    q, k, v
        (window, head, slot, d), float32 or bfloat16, features contiguous.
    bias, masks
        (head, slot, slot) and (mask, slot, slot).
    runs
        How many windows have no mask, then how many have each; repeated until all have one.
    scale
        Factor of the products.

    Returns
    -------
    Tensor or None
        (window, slot, head, d) in the type of q.
    """
    function = library()
    if function is None or q.dtype not in (torch.float32, torch.bfloat16):
        return None
    if any(t.stride(-1) != 1 for t in (q, k, v)):
        return None
    windows, heads, slots, d = q.shape
    bias, masks = bias.float().contiguous(), masks.float().contiguous()
    mask_of = _mask_of(tuple(runs), windows)
    strides = (ctypes.c_int64 * 9)(*(n for t in (q, k, v) for n in t.stride()[:3]))
    out = q.new_empty(windows, slots, heads, d)
    refused = function(
        q.dtype == torch.bfloat16, q.data_ptr(), k.data_ptr(), v.data_ptr(), strides,
        bias.data_ptr(), masks.data_ptr(), mask_of.data_ptr(), out.data_ptr(),
        windows, heads, slots, d, scale, torch.get_num_threads(),
    )  # fmt: skip
    return None if refused else out


@lru_cache(maxsize=64)
def _mask_of(runs: tuple[int, ...], windows: int) -> Tensor:
    """Number of each window's mask, -1 for none: (window,)."""
    one = torch.repeat_interleave(torch.arange(-1, len(runs) - 1), torch.tensor(runs))
    return one.repeat(windows // len(one)).to(torch.int32)


@lru_cache(maxsize=1)
def library() -> Callable[..., int] | None:
    """Load the compiled function, building it if need be; None where that is not possible."""
    if os.environ.get("PEAR_COMPILED", "1") == "0" or sys.platform != "linux":
        return None
    try:
        function: Any = ctypes.CDLL(str(_built())).pear_window_attention
    except (OSError, subprocess.SubprocessError) as error:
        details = getattr(error, "stderr", None) or error
        _log.warning("window attention runs in torch; it could not be compiled: %s", details)
        return None
    pointer, long = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = (
        ctypes.c_int, *[pointer] * 8, long, ctypes.c_int, long, ctypes.c_int, ctypes.c_float,
        ctypes.c_int,
    )  # fmt: skip
    function.restype = ctypes.c_int
    built: Callable[..., int] = function
    return built


def _built() -> Path:
    """Return the shared library, compiled now if there is none for this source and machine."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise OSError("no C++ compiler (c++, g++, clang++) on the path")
    version = _run([compiler, "--version"])
    parts = (_SOURCE.read_text(), version, " ".join(_FLAGS), platform.machine(), _processor())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = _cache() / f"window_attention-{key}.so"
    if not target.exists():
        # Built under another name and moved: processes that start together do not see halves.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            fresh = Path(folder) / target.name
            _run([compiler, *_FLAGS, "-o", str(fresh), str(_SOURCE)])
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
