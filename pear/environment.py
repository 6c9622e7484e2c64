"""Environment variables: how threads wait, how many there are, and names that have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pear.errors import InputError

RENAMED: Final = {
    "PEAR_COMPILED": "PEAR_NATIVE_KERNELS",
    "PEAR_LOG": "PEAR_LOG_LEVEL",
    "PEAR_MAX_AT_ONCE": "PEAR_MAX_CONCURRENT_REQUESTS",
    "PEAR_ANSWER_CACHE_BYTES": "PEAR_RESPONSE_CACHE_BYTES",
}
"""New names by old name."""

PASSIVE: Final = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Settings with which the threads of OpenMP sleep, instead of spinning, while they wait.

A thread that spins takes a core from the very thread that it waits for as soon as the machine has
other work: products of a few milliseconds then take seconds.
"""
LIBRARY_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CGROUP: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return the number of cores that this process may use: its affinity, and its cgroup's quota.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = _CGROUP.read_text().split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no control group, or no quota ("max")
    return max(1, cores)


def shared_cores(processes: int = 1) -> int:
    """Return the cores of each of several processes that together leave one core to others.

    Parameters
    ----------
    processes
        Number of processes that compute at the same time.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> shared_cores(1) == max(1, usable_cores() - 1), shared_cores(10_000)
    (True, 1)
    """
    return max(1, (usable_cores() - 1) // processes)


def explicit_threads() -> int | None:
    """Return the number of threads that a person chose, or None.

    Returns
    -------
    int or None
        ``PEAR_THREADS``; else ``OMP_NUM_THREADS``, unless PEAR itself set it.

    Raises
    ------
    InputError
        If ``PEAR_THREADS`` is not a positive number.
    """
    text = os.environ.get("PEAR_THREADS")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise InputError(
                f"PEAR_THREADS is {text!r}", field="PEAR_THREADS", hint="give a positive number"
            )
        return int(text)
    if "PEAR_MOST_THREADS" in os.environ:
        return None
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def thread_settings(most: int, explicit: int | None = None) -> dict[str, str]:
    """Return the environment of a process that computes beside others.

    Parameters
    ----------
    most
        Most threads of large work; small work, and all that is not a network, takes one.
    explicit
        Number of threads that a person chose, for everything.

    Returns
    -------
    dict
        Names and values.
    """
    settings = {**PASSIVE, **dict.fromkeys(LIBRARY_THREADS, str(explicit or 1))}
    if explicit is None:
        return {**settings, "PEAR_MOST_THREADS": str(most)}
    return {**settings, "PEAR_THREADS": str(explicit)}


def prepare_process() -> None:
    """Set threads up for a process of PEAR's own; call it before torch and numpy are imported.

    What the environment sets already stays: how threads wait, and their number.
    """
    chosen = {"PEAR_THREADS", "OMP_NUM_THREADS"} & os.environ.keys()
    settings = PASSIVE if chosen else thread_settings(shared_cores())
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def check_environment() -> None:
    """Check that no environment variable has an old name, and the number of threads.

    Raises
    ------
    InputError
        Names the new variable, or the number that is not one.

    Examples
    --------
    >>> from pear.environment import check_environment
    >>> check_environment()  # no variable has an old name
    """
    for old, new in RENAMED.items():
        if old in os.environ:
            raise InputError(
                f"environment variable {old} has been renamed", field=old, hint=f"set {new} instead"
            )
    explicit_threads()
