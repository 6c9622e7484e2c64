"""The process PEAR runs in: how memory is kept, how many threads work, and where they compute.

A step of PEAR asks for the same hundreds of megabytes again and again. glibc's ``malloc`` maps
every large block anew and gives it back at once, so that the kernel zeroes the same pages a
hundred times a step: more than half the time of the published network on a processor.
:func:`keep_memory` tells glibc to keep them. It works from inside a running process; no
environment variable is needed.
"""

from __future__ import annotations

import ctypes
import platform

import torch

from pear.errors import InputError

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# The largest glibc accepts: an int for both, half of a heap's bounds for mapping.
_NEVER_TRIM = 2**31 - 1
_MAP_ABOVE = 2**30


def keep_memory() -> bool:
    """Let this process keep the memory it has freed, for the next step to use.

    Blocks below 1 GiB come from the heap instead of a mapping of their own (``mallopt(3)``,
    ``M_MMAP_THRESHOLD``), and the heap's top is not given back (``M_TRIM_THRESHOLD``). Peak memory
    stays what it was; it is only not returned in between. For processes of PEAR's own (commands,
    workers): a library that was merely imported leaves the allocator alone.

    Returns
    -------
    bool
        Whether it took hold: False on systems without glibc, where nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAP_ABOVE) and mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))


def set_threads(threads: int | None) -> int:
    """Let tensors' operations use this many threads; None leaves torch's choice.

    Returns
    -------
    int
        The number of threads now in use.

    Raises
    ------
    InputError
        If the number is not positive.
    """
    if threads is not None:
        if threads < 1:
            raise InputError(
                f"{threads} threads cannot work", field="threads", hint="give 1 or more"
            )
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def choose_device(name: str | None = None, place: int = 0) -> torch.device:
    """Return where to compute.

    Parameters
    ----------
    name
        ``auto`` (or None): a CUDA device if there is one, else the processor; or ``cpu``,
        ``cuda``, ``cuda:1``.
    place
        Number of this process among those that share the machine: with several devices,
        ``auto`` and ``cuda`` deal them out in turn.

    Raises
    ------
    InputError
        If the name is unknown, or there is no such device.
    """
    wanted = (name or "auto").strip().lower()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not count):
        return torch.device("cpu")
    family, _, index = wanted.partition(":")
    if family not in ("auto", "cuda") or (index and (family == "auto" or not index.isdigit())):
        raise InputError(
            f"device {name!r} is unknown", field="device", hint="auto, cpu, cuda or cuda:1"
        )
    if not count or (index and int(index) >= count):
        raise InputError(
            f"there is no device {wanted}: torch sees {count} CUDA devices",
            field="device",
            hint="use cpu, or install torch with CUDA beside a driver that fits it",
        )
    return torch.device("cuda", int(index) if index else place % count)
