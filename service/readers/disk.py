"""Responses to requests that need more disk than there is, or a disk that cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Final

from service.http.errors import ProblemError

_FULL_BYTES: Final = 1024**2
"""Free space below which a failed write means a full disk; HDF5 does not pass the cause on."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_PROTECTED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_RETRY: Final = {"Retry-After": "60"}


class DiskFullError(ProblemError):
    """The disk of the data folder has no room for what a request needs."""

    def __init__(self, free: int) -> None:
        super().__init__(
            507,
            f"the disk of the data folder is full: {free / 1e6:.1f} MB are free",
            hint="select less, or make room",
            headers=_RETRY,
        )


class ProtectedDiskError(ProblemError):
    """The data folder cannot be written."""

    def __init__(self, why: str) -> None:
        super().__init__(
            503,
            f"the file cannot be written in the data folder: {why}",
            hint="the Zarr store of the run can be read without it",
            headers=_RETRY,
        )


def check_space(folder: Path, nbytes: int) -> None:
    """Check that a file may fit on the disk of a folder, before any work is done for it.

    Raises
    ------
    DiskFullError
        If not even a quarter of the bytes is free, which compression may save.
    """
    free = shutil.disk_usage(folder).free
    if free < nbytes // 4 + _FULL_BYTES:
        raise DiskFullError(free)


def disk_problem(error: Exception, folder: Path) -> ProblemError | None:
    """Return the response to a request whose file could not be written; None for other causes.

    Parameters
    ----------
    error
        What writing raised.
    folder
        Where the file was; asked for its free space before the file is removed.

    Returns
    -------
    ProblemError or None
    """
    free = shutil.disk_usage(folder).free if folder.is_dir() else None
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or (free is not None and free < _FULL_BYTES):
        return DiskFullError(free or 0)
    if number in _PROTECTED:
        return ProtectedDiskError(os.strerror(number).lower())
    return None
