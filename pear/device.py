"""Process-level settings: allocator, thread count and device.

A step of PEAR allocates the same hundreds of megabytes over and over. glibc's ``malloc`` maps every
large block anew and returns it at once, so that the kernel zeroes the same pages a hundred times a
step: more than half the time of the published network on a CPU. :func:`keep_memory` makes glibc
keep them, from inside the running process and without environment variables.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from pear.environment import explicit_threads
from pear.errors import InputError

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# The largest values that glibc accepts.
_NEVER_TRIM: Final = 2**31 - 1
_MAP_ABOVE: Final = 2**30
SMALL_STEP: Final = 2_500_000_000
"""Multiply-adds of a model step up to which one thread is used.

Measured with threads that do not spin: a second thread adds 40 to 75 % to the processor time of
steps of 1.4 to 1.6 billion (nside 16, batches of 1 to 16), and 0 to 10 % from 3.5 billion on.
"""


def keep_memory() -> bool:
    """Keep freed memory in this process for the next step.

    Blocks below 1 GiB come from the heap instead of a mapping of their own (``mallopt(3)``,
    ``M_MMAP_THRESHOLD``), and the top of the heap is not returned (``M_TRIM_THRESHOLD``). Peak
    memory does not change. For commands and workers only: importing PEAR as a library leaves the
    allocator alone.

    Returns
    -------
    bool
        False on systems without glibc, where nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAP_ABOVE) and mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))


def set_threads(threads: int | None) -> int:
    """Set the number of threads that this process and its children use, whatever the work.

    Parameters
    ----------
    threads
        Number of threads; None leaves the choice to :func:`choose_threads`.

    Returns
    -------
    int
        The number of threads now in use.

    Raises
    ------
    InputError
        If the number is not positive.

    Examples
    --------
    >>> from pear.device import set_threads
    >>> set_threads(None) == torch.get_num_threads()
    True
    """
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads must be positive, got {threads}", field="threads")
        torch.set_num_threads(threads)
        os.environ["PEAR_THREADS"] = str(threads)
    return torch.get_num_threads()


def choose_threads(multiply_adds: int) -> int:
    """Return the number of threads for steps of a size.

    Parameters
    ----------
    multiply_adds
        Multiply-adds of one step of one state.

    Returns
    -------
    int
        What a person chose (:func:`pear.environment.explicit_threads`); else 1 for steps up to
        :data:`SMALL_STEP`; else torch's number, in PEAR's own processes all cores but one.

    Examples
    --------
    >>> choose_threads(1_000_000)
    1
    """
    explicit = explicit_threads()
    if explicit is not None:
        return explicit
    if multiply_adds <= SMALL_STEP:
        return 1
    return int(os.environ.get("PEAR_MOST_THREADS") or torch.get_num_threads())


@contextmanager
def threads_for(multiply_adds: int) -> Iterator[int]:
    """Use the number of threads that suits steps of a size; restore torch's number afterwards.

    Parameters
    ----------
    multiply_adds
        Multiply-adds of one step of one state.

    Yields
    ------
    int
        The number of threads.

    Examples
    --------
    >>> before = torch.get_num_threads()
    >>> with threads_for(1_000_000) as threads:
    ...     threads == torch.get_num_threads() == choose_threads(1_000_000)
    True
    >>> torch.get_num_threads() == before
    True
    """
    before, wanted = torch.get_num_threads(), choose_threads(multiply_adds)
    if wanted == before:
        yield wanted
        return
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)


def choose_device(name: str | None = None, place: int = 0) -> torch.device:
    """Choose the device to compute on.

    Parameters
    ----------
    name
        ``auto`` (or None): a CUDA device if there is one, else the CPU; or ``cpu``, ``cuda``,
        ``cuda:1``.
    place
        Number of this process among those on the machine; ``auto`` and ``cuda`` distribute
        several devices over the processes.

    Returns
    -------
    torch.device
        An existing device.

    Raises
    ------
    InputError
        If the name is unknown or there is no such device.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
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
            hint="use cpu, or install torch with CUDA and a matching driver",
        )
    return torch.device("cuda", int(index) if index else place % count)
